"""Pauses after uploads that failed."""

from __future__ import annotations

from torch_lab.mirror.sending.uploads import Pause


def test_after_a_failure_nothing_is_uploaded_for_a_while():
    pause = Pause()
    assert pause.over
    pause.begin("the disk is full")
    assert not pause.over
    assert pause.problem == "the disk is full"


def test_a_pause_is_cut_short_by_who_is_in_a_hurry():
    pause = Pause()
    pause.begin("the disk is full")
    pause.cut_short()
    assert pause.over
    assert pause.problem == "the disk is full"  # nothing has succeeded yet


def test_a_success_ends_the_problem():
    pause = Pause()
    pause.begin("the disk is full")
    pause.forget()
    assert pause.problem is None
