from __future__ import annotations

import copy
import io
import os
from pathlib import Path

import pytest

from torch_lab.utils.streams import PipeProof, colorful, terminal_width


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_a_broken_pipe_swallows_the_rest():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        proof = PipeProof(stream)
        proof.write("first\n")
        proof.flush()
        proof.writelines(["second\n", "third\n"])
        proof.flush()


def test_a_stream_without_descriptor_is_given_up():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    proof = PipeProof(Gone())
    assert proof.write("text") == 4
    assert proof.write("text") == 4
    proof.flush()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error():
    stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    proof = PipeProof(stream)
    proof.write("text")
    with pytest.raises(OSError, match="No space"):
        proof.flush()
    with pytest.raises(OSError, match="No space"):
        stream.close()


def test_the_rest_is_the_streams():
    stream = io.StringIO()
    proof = PipeProof(PipeProof(stream))
    assert proof.stream is stream
    assert copy.copy(proof).stream is stream
    assert proof.getvalue() == ""
    with pytest.raises(AttributeError):
        proof.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("variables", "stream", "wanted"),
    [
        ({"TERM": "xterm"}, Screen(), True),
        ({"TERM": "xterm"}, io.StringIO(), False),
        ({"TERM": "dumb"}, Screen(), False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Screen(), False),
        ({"TERM": "xterm", "NO_COLOR": ""}, Screen(), True),
    ],
)
def test_colors_only_where_they_are_wanted(monkeypatch, variables, stream, wanted):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert colorful(stream) is wanted


def test_the_width_is_that_of_the_terminal_or_of_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "33")
    assert terminal_width(io.StringIO()) == 33
    monkeypatch.delenv("COLUMNS")
    assert terminal_width(io.StringIO()) is None
