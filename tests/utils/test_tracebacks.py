from __future__ import annotations

import sys
import sysconfig

import pytest

from torch_lab.utils import tracebacks
from torch_lab.utils.tracebacks import format_exception, is_user_file, summary, user_place

PACKAGE = tracebacks.__file__
STDLIB = f"{sysconfig.get_paths()['stdlib']}/runpy.py"
INSTALLED = "/venv/lib/python3/site-packages/pytorch_lightning/trainer.py"
USER = "/home/me/project/experiments/00_a/__main__.py"


def frame(file: str, inner):
    """A function that calls `inner`, as if it stood in `file`."""
    code = compile("def call():\n    return inner()\n", file, "exec")
    names = {"inner": inner}
    exec(code, names)
    return names["call"]


def caught(call) -> BaseException:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test is about
        # This function's own frame led to all the others, as torch-lab's do.
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError("nothing raised")


def fail():
    raise ValueError("bad label")


def files_in(text: str) -> list[str]:
    return [line.split('"')[1] for line in text.splitlines() if line.startswith('  File "')]


def test_it_begins_at_the_users_first_frame():
    fails = frame(PACKAGE, frame(INSTALLED, frame(USER, frame(INSTALLED, fail))))
    text = format_exception(caught(fails))
    assert files_in(text)[0] == USER
    assert INSTALLED in files_in(text)  # what the user called is kept
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ValueError: bad label\n")


def test_the_exception_itself_stays_whole():
    error = caught(frame(PACKAGE, frame(USER, fail)))
    before = error.__traceback__
    format_exception(error)
    assert error.__traceback__ is before


def in_file(file: str, function):
    function.__code__ = function.__code__.replace(co_filename=file)
    return function


def test_without_a_users_frame_it_begins_where_others_were_called():
    def inner():
        compile("1 +", "<config>", "eval")

    inner = in_file(INSTALLED, inner)
    calls = frame(PACKAGE, frame(INSTALLED, frame(PACKAGE, frame(INSTALLED, inner))))
    text = format_exception(caught(calls))
    assert files_in(text)[:3] == [PACKAGE, INSTALLED, INSTALLED]
    assert "SyntaxError" in text


def test_a_metrics_failure_begins_in_the_metric():
    def inner():
        error = ValueError("shapes differ")
        error.add_note("in metric 'f1' (train), batch 1: y_pred …")
        raise error

    calls = frame(PACKAGE, frame(INSTALLED, frame(PACKAGE, in_file(INSTALLED, inner))))
    text = format_exception(caught(calls))
    assert files_in(text) == [INSTALLED]
    assert text.endswith("ValueError: shapes differ\nin metric 'f1' (train), batch 1: y_pred …\n")


def test_a_metric_of_torch_labs_own_that_fails_is_shown_from_the_beginning():
    def inner():
        error = ValueError("a mistake of ours")
        error.add_note("in metric 'f1' (train)")
        raise error

    text = format_exception(caught(frame(PACKAGE, frame(INSTALLED, in_file(PACKAGE, inner)))))
    assert files_in(text) == [PACKAGE, INSTALLED, PACKAGE]


def test_what_torch_lab_itself_raises_is_shown_from_its_beginning():
    def inner():
        raise TypeError("a mistake of ours")

    text = format_exception(caught(frame(PACKAGE, frame(INSTALLED, in_file(PACKAGE, inner)))))
    assert files_in(text) == [PACKAGE, INSTALLED, PACKAGE]


def test_chained_exceptions_are_trimmed_each():
    def second():
        try:
            frame(INSTALLED, frame(USER, fail))()
        except ValueError as error:
            raise RuntimeError("wrapped") from error

    second.__code__ = second.__code__.replace(co_filename=USER)
    text = format_exception(caught(frame(PACKAGE, second)))
    assert "direct cause" in text
    assert "bad label" in text
    assert text.index("bad label") < text.index("wrapped")
    assert PACKAGE not in files_in(text)


def test_groups_are_shown():
    def group():
        raise ExceptionGroup("two", [ValueError("first"), KeyError("second")])

    group.__code__ = group.__code__.replace(co_filename=USER)
    text = format_exception(caught(frame(PACKAGE, group)))
    assert "first" in text
    assert "second" in text


def test_a_loader_workers_own_traceback_takes_the_place_of_ours():
    message = (
        "Caught KeyError in DataLoader worker process 1.\n"
        "Original Traceback (most recent call last):\n"
        '  File "/v/lib/python3.12/site-packages/torch/utils/data/_utils/worker.py", line 3, in f\n'
        "    data = fetcher.fetch(index)\n"
        f'  File "{USER}", line 7, in __getitem__\n'
        '    return self.items["x"]\n'
        "KeyError: 'x'\n"
    )

    def reraise():
        raise RuntimeError(message)

    reraise.__code__ = reraise.__code__.replace(co_filename=INSTALLED)
    text = format_exception(caught(frame(PACKAGE, frame(INSTALLED, reraise))))
    assert text == (
        "Caught KeyError in DataLoader worker process 1.\n"
        "Original Traceback (most recent call last):\n"
        f'  File "{USER}", line 7, in __getitem__\n'
        '    return self.items["x"]\n'
        "KeyError: 'x'\n"
    )


SENT = (
    "Caught KeyError in DataLoader worker process 1.\n"
    "Original Traceback (most recent call last):\n"
    f'  File "{INSTALLED}", line 3, in fetch\n'
    "    return collate(data)\n"
    f'  File "{PACKAGE}", line 7, in collate\n'
    f'  File "{INSTALLED}", line 8, in stack\n'
    "KeyError: 'x'\n"
    "while loading sample 5\n"
)


def test_notes_follow_a_worker_s_traceback():
    def inner():
        error = RuntimeError(SENT)
        error.add_note("in training")
        raise error

    text = format_exception(caught(frame(PACKAGE, in_file(INSTALLED, inner))))
    assert files_in(text) == [PACKAGE, INSTALLED]
    assert text.endswith("KeyError: 'x'\nwhile loading sample 5\nin training\n")


def test_an_exception_in_a_line():
    assert summary(ValueError("bad\nlabel")) == "ValueError: bad\nlabel"
    assert summary(RuntimeError(SENT)) == "KeyError: 'x' (in DataLoader worker process 1)"


def test_the_users_line_that_led_to_an_exception():
    def wrong():
        raise ValueError("no such thing")

    wrong = in_file(PACKAGE, wrong)
    fails = frame(
        PACKAGE, frame(USER, frame("/home/me/project/models.py", frame(INSTALLED, wrong)))
    )
    assert (user_place(caught(fails)) or "").startswith("/home/me/project/models.py:2: ")
    assert user_place(caught(frame(PACKAGE, wrong))) is None

    def names_it():
        raise ValueError(f"{USER}:3: no such thing")

    assert user_place(caught(frame(USER, in_file(PACKAGE, names_it)))) is None


@pytest.mark.parametrize("file", [PACKAGE, STDLIB, INSTALLED, "<frozen runpy>", "<string>"])
def test_files_that_are_not_the_users(file):
    assert not is_user_file(file)


@pytest.mark.parametrize("file", [USER, __file__, "hparams.py", f"{sys.prefix}/../project/a.py"])
def test_files_that_are(file):
    assert is_user_file(file)
