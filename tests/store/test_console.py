from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from torch_lab.errors import HparamsError, Stopped
from torch_lab.store.console import Console, LiveLine, current

FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self):
        return True


@pytest.fixture
def log(tmp_path):
    return tmp_path / "console.log"


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    return Screen()


@contextmanager
def standard(out, err):
    """Standard streams for a while; pytest puts its own back before each test's body."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def broken_pipe():
    """A stream whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


def test_nothing_goes_to_the_log_of_a_run_that_is_anothers(log, capfd):
    held = [True]

    def run():
        with Console(log, lambda: held[0]):
            print("ours")
            held[0] = False
            print("not ours")
            raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        run()
    assert log.read_text() == "ours\n"
    assert capfd.readouterr().out == "ours\nnot ours\n"


def test_both_streams_go_to_the_terminal_and_to_the_log(log, capfd):
    with Console(log):
        print("one")
        print("two", file=sys.stderr)
        print("three", end="")
    out, err = capfd.readouterr()
    assert (out, err) == ("one\nthree", "two\n")
    assert log.read_text() == "one\ntwo\nthree\n"


def test_a_second_console_appends(log, capfd):
    for text in ("first", "second"):
        with Console(log):
            print(text)
    assert log.read_text() == "first\nsecond\n"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("plain\n", "plain\n"),
        ("\n", "\n"),
        ("crlf\r\n", "crlf\n"),
        ("10%\r20%\r100%\n", "100%\n"),
        ("\r 10%\r 20%\n", " 20%\n"),
        ("\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[m\n", "red and green\n"),
        ("bar\r\x1b[Kdone\n", "done\n"),
        ("bar\r\x1b[K\n", "\n"),
        ("\x1b[2Kbar\x1b[2K\rdone\n", "done\n"),
        ("\x1b]0;a title\x07text\n", "text\n"),
        ("\x1b]8;;https://a.org\x1b\\link\x1b]8;;\x1b\\\n", "link\n"),
        ("two\nlines\n", "two\nlines\n"),
        ("no end", "no end\n"),
        ("half\rwhole", "whole\n"),
        ("umlaut ä ━\n", "umlaut ä ━\n"),
    ],
)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_the_log_keeps_the_final_state_of_each_line(log, capfd, written, kept, in_pieces):
    with Console(log):
        for piece in written if in_pieces else [written]:
            sys.stdout.write(piece)
    assert log.read_bytes().decode() == kept
    assert capfd.readouterr().out == written


def test_a_bar_that_never_ends_its_line_does_not_pile_up(log, capfd):
    with Console(log):
        for i in range(10_000):
            sys.stderr.write(f"\rbatch {i}")
        assert len(sys.stderr._pending) < 20
    assert log.read_text() == "batch 9999\n"


def test_secrets_are_masked_in_the_log_alone(log, capfd):
    with Console(log):
        print("cloning https://me:hunter2hunter2@example.org/repo.git, password=hunter2")
    assert "hunter2" not in log.read_text()
    assert "hunter2" in capfd.readouterr().out


def test_the_streams_stay_what_they_were(log, capfd):
    before = sys.stdout
    with Console(log) as console:
        assert sys.stdout is not before
        assert sys.stdout.isatty() == before.isatty()
        assert sys.stdout.fileno() == before.fileno()
        assert sys.stdout.encoding == before.encoding
        assert current() is console
        sys.stdout.writelines(["a\n", "b\n"])
        console.terminal.write("not logged\n")
        kept = sys.stdout
    assert sys.stdout is before
    assert current() is None
    print("after", file=kept)  # somebody kept a reference: it must go on working
    assert log.read_text() == "a\nb\n"
    assert capfd.readouterr().out == "a\nb\nnot logged\nafter\n"


def test_a_reader_that_goes_away_ends_nothing(log):
    with broken_pipe() as pipe, standard(pipe, pipe):
        with Console(log):
            for i in range(3):
                print("line", i)
        print("after")
        sys.stdout.flush()
    assert log.read_text() == "line 0\nline 1\nline 2\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_terminal_ends_nothing(log):
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    with standard(full, full), Console(log):
        print("goes on")
    assert log.read_text() == "goes on\n"
    with pytest.raises(OSError, match="No space"):
        full.close()


@pytest.mark.parametrize("path", ["/dev/full", "/no/such/folder/console.log"])
def test_a_log_that_cannot_be_written_is_said_once(path, capfd):
    with Console(Path(path)):
        print("one")
        print("two")
    out, err = capfd.readouterr()
    assert out == "one\ntwo\n"
    assert err.count(f"{path} can't be written") == 1
    assert err.count("\n") == 1


def test_closed_standard_streams_are_no_error(log):
    with standard(None, None), Console(log):
        print("logged")
        tees = (sys.stdout, sys.stderr)
    for tee in tees:
        tee.terminal.close()
    assert log.read_text() == "logged\n"


def test_a_terminal_without_the_characters_shows_question_marks(log):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with standard(stream, stream), Console(log):
        print("bar ━")
        assert raw.getvalue() == b"bar ?\n"
    assert log.read_text() == "bar ━\n"


@FORKS
def test_what_forked_workers_print_is_logged_once(log, capfd):
    with Console(log):
        sys.stdout.write("parent's ")
        child = os.fork()
        if child == 0:
            print("child's line")
            sys.stdout.write("child's rest")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
        print("line")
    assert log.read_text() == "child's line\nchild's rest\nparent's line\n"


@FORKS
def test_a_fork_while_another_thread_prints_does_not_hang(log, capfd):
    with Console(log) as console:
        held, done = threading.Event(), threading.Event()

        def hold():
            with console.lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            print("child")
            os._exit(0)
        os.waitpid(child, 0)
        done.set()
        thread.join()
    assert log.read_text() == "child\n"


def test_loggers_write_to_the_log_while_it_is_open(log, capfd):
    logger = logging.getLogger("pytorch_lightning.test")
    old = logging.StreamHandler(sys.stderr)
    logger.addHandler(old)
    before = sys.stderr
    try:
        with Console(log):
            new = logging.StreamHandler()
            logger.addHandler(new)
            logger.warning("hello")
        assert (old.stream, new.stream) == (before, before)
    finally:
        logger.removeHandler(old)
        logger.removeHandler(new)
    assert log.read_text() == "hello\nhello\n"


def test_warnings_and_the_logs_of_libraries_are_logged(log, tmp_path):
    script = f"""
import logging, sys, warnings
from pathlib import Path
from torch_lab.store.console import Console

logging.getLogger("early").addHandler(logging.StreamHandler())
with Console(Path({str(log)!r})):
    logging.getLogger("early").warning("from a handler that was there")
    logging.getLogger("plain").warning("from no handler")
    warnings.warn("careful")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert log.read_text() == done.stderr
    for text in ("from a handler that was there", "from no handler", "UserWarning: careful"):
        assert text in done.stderr


def test_the_log_ends_with_the_error(log, capfd):
    def work():
        with Console(log):
            print("working")
            int("no number")

    with pytest.raises(ValueError, match="no number"):
        work()
    text = log.read_text()
    assert text.startswith("working\nTraceback (most recent call last):\n")
    assert text.endswith("ValueError: invalid literal for int() with base 10: 'no number'\n")
    assert capfd.readouterr().err == ""  # the terminal gets it from who ends the command


def test_a_mistake_is_logged_without_a_traceback(log, capfd):
    with pytest.raises(HparamsError), Console(log):
        raise HparamsError("hparams.py", ["config is missing"])
    assert log.read_text() == "error: hparams.py: 1 problem in hparams\n  config is missing\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stopped(15), SystemExit(3)])
def test_an_end_that_was_asked_for_is_no_error(log, capfd, error):
    with pytest.raises(type(error)), Console(log):
        raise error
    assert log.read_text() == ""


def test_the_live_line_gives_way_to_whoever_prints(log, screen):
    with standard(screen, screen), Console(log) as console:
        console.line.draw("batch 1")
        print("hello")
        console.line.draw("batch 2")
        print("to stderr", file=sys.stderr)
        console.line.draw("batch 3")
    assert screen.getvalue() == (
        "\rbatch 1\x1b[K\r\x1b[Khello\n\rbatch 2\x1b[K\r\x1b[Kto stderr\n\rbatch 3\x1b[K\r\x1b[K"
    )
    assert log.read_text() == "hello\nto stderr\n"


def test_the_live_line_waits_for_a_line_that_is_not_finished(log, screen):
    with standard(screen, screen), Console(log) as console:
        print("loading ", end="")
        console.line.draw("batch 1")
        print("done")
        console.line.draw("batch 2")
    assert screen.getvalue() == "loading done\n\rbatch 2\x1b[K\r\x1b[K"


def test_the_live_line_fits_the_terminal_however_it_is_resized(screen, monkeypatch):
    line = LiveLine(screen)
    line.draw("x" * 100)
    monkeypatch.setenv("COLUMNS", "10")
    line.draw("y" * 100)
    assert screen.getvalue() == f"\r{'x' * 39}\x1b[K\r{'y' * 9}\x1b[K"


@pytest.mark.parametrize("stream", [io.StringIO(), Screen()])
def test_no_live_line_without_a_terminal_that_can(stream, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    line = LiveLine(stream)
    line.draw("batch 1")
    line.erase()
    assert not line.possible
    assert stream.getvalue() == ""


@FORKS
def test_a_worker_takes_its_parents_live_line_away(log, tmp_path, monkeypatch):
    shown = tmp_path / "screen"
    monkeypatch.setenv("TERM", "xterm")
    with shown.open("w") as file, standard(_Tty(file), sys.stderr), Console(log) as console:
        console.line.draw("batch 1")
        child = os.fork()
        if child == 0:
            print("from a worker")
            os._exit(0)
        os.waitpid(child, 0)
    assert "\x1b[K\r\x1b[Kfrom a worker\n" in shown.read_bytes().decode()


class _Tty:
    """A file that says it is a terminal."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def isatty(self):
        return True
