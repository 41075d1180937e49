"""The record of the run under way, and the one that stands in where there is none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

Every = int | float | timedelta | None
Caption = str | Sequence[str] | None


class Recorder(Protocol):
    """Takes what experiment code wants kept with its run.

    `every` thins out what is called often: an int counts batches, a float seconds, since the last
    time that something of that name was taken.
    """

    def scalar(self, name: str, value: Any, *, every: Every = None) -> None:
        """A number, in the journal beside what Lightning logs."""

    def image(self, name: str, image: Any, *, caption: Caption = None, every: Every = None) -> None:
        """An image: a tensor or array (HxW, CxHxW or HxWxC), a PIL image, or a file's path.

        Several (NxCxHxW, or a list) are kept one by one; captions are given as a list then.
        Floats are 0 to 1, integers 0 to 255.
        """

    def figure(self, name: str, figure: Any, *, every: Every = None) -> None:
        """A figure of matplotlib (its axes will do) or plotly."""

    def table(
        self,
        name: str,
        rows: Sequence[Any] | Any,
        *,
        columns: Sequence[str] | None = None,
        every: Every = None,
    ) -> None:
        """A table: rows as dicts or sequences, a dict of columns, or a data frame."""

    def text(self, name: str, text: str, *, every: Every = None) -> None:
        """A text."""

    def artifact(
        self, path: str | os.PathLike[str], *, name: str | None = None, every: Every = None
    ) -> None:
        """A copy of a file or a folder."""


class NullRecorder:
    """Takes nothing: outside of a run, on ranks other than 0, in loader workers."""

    def scalar(self, name: str, value: Any, *, every: Every = None) -> None:
        """Do nothing."""

    def image(self, name: str, image: Any, *, caption: Caption = None, every: Every = None) -> None:
        """Do nothing."""

    def figure(self, name: str, figure: Any, *, every: Every = None) -> None:
        """Do nothing."""

    def table(
        self,
        name: str,
        rows: Sequence[Any] | Any,
        *,
        columns: Sequence[str] | None = None,
        every: Every = None,
    ) -> None:
        """Do nothing."""

    def text(self, name: str, text: str, *, every: Every = None) -> None:
        """Do nothing."""

    def artifact(
        self, path: str | os.PathLike[str], *, name: str | None = None, every: Every = None
    ) -> None:
        """Do nothing."""


_NOTHING = NullRecorder()
_current: Recorder = _NOTHING
_owner = 0  # the process that set it: forked loader workers have the variable too


def record() -> Recorder:
    """The record of the run under way in this process, else one that takes nothing."""
    return _current if os.getpid() == _owner else _NOTHING


def set_current(recorder: Recorder | None) -> None:
    """Make a recorder the one that `record()` returns; None: there is none any more."""
    global _current, _owner
    _current, _owner = recorder or _NOTHING, os.getpid()
