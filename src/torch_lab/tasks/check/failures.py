"""An exception that came up while an experiment was built or tried, as a finding."""

from __future__ import annotations

from dataclasses import replace
from traceback import extract_tb

from torch_lab.errors import TorchLabError
from torch_lab.tasks.check.findings import Finding, error
from torch_lab.tasks.plan import Plan
from torch_lab.utils.paths import display
from torch_lab.utils.tracebacks import is_user_file, summary

_PARTS = (  # where the innermost of these is, an exception came up
    ("torch/optim/lr_scheduler.py", "scheduler"),
    ("torch/optim/", "optimizer"),
    ("torch/autograd/", "backward"),
    ("torch/_tensor.py", "backward"),
    ("torchmetrics/", "metric"),
)
_MODULES = "torch_lab/modules/"  # whose steps an optimizer calls
_LONGEST = 400  # characters of a message


def failure(
    raised: BaseException, code: str, stage: str | None = None, sure_of: str | None = None
) -> Finding:
    """What is to be said of it; `code` says what was under way, its traceback may say more,
    unless one is `sure_of` it."""
    where = f"{stage}: " if stage else ""
    code = sure_of or code_of(raised, code)
    return error(code, f"{where}{said(raised)}", place(raised), hint(raised))


def for_want_of_a_task(found: Finding, raised: BaseException, plan: Plan) -> Finding:
    """No more than a note where a run would have a ClearML task open, and a check has none."""
    none = isinstance(raised, AttributeError) and "'NoneType'" in str(raised)
    if not (none and plan.hparams.task.get("sdk")):
        return found
    return replace(found, level="note", hint="No ClearML task is open while it is checked.")


def code_of(raised: BaseException, code: str) -> str:
    """What was under way."""
    notes = getattr(raised, "__notes__", ())
    if any(text.startswith("in loss_function") for text in notes):
        return "loss"
    if metric_of(raised) is not None:
        return "metric"
    if any(text.startswith("in callback ") for text in notes):
        return "callback"
    for frame in reversed(extract_tb(raised.__traceback__)):
        if frame.name == "configure_optimizers":
            return "optimizer"
        if is_user_file(frame.filename) or _MODULES in frame.filename:
            break
        for part, name in _PARTS:
            if part in frame.filename and code not in ("data", "configuration"):
                return name
    return code


def metric_of(raised: BaseException) -> str | None:
    """The name of the metric of a TrainLabModule that an exception's note blames."""
    for text in getattr(raised, "__notes__", ()):
        for begin in ("in metric '", "metric '"):
            if text.startswith(begin):
                return str(text.removeprefix(begin).partition("'")[0])
    return None


def in_an_update(raised: BaseException) -> bool:
    """Whether a metric was given a batch that it can't take; else it may want more of them."""
    return any(text.startswith("in metric ") for text in getattr(raised, "__notes__", ()))


def callback_of(raised: BaseException) -> str | None:
    """The class of the callback that a note blames."""
    for text in getattr(raised, "__notes__", ()):
        if text.startswith("in callback "):
            return str(text.removeprefix("in callback ").partition(".")[0])
    return None


def said(raised: BaseException) -> str:
    """The exception in a line or two, with the notes that say what it was given."""
    text = raised.message if isinstance(raised, TorchLabError) else summary(raised)
    if isinstance(raised, KeyError):
        text = f"KeyError: {raised.args[0]!r}" if raised.args else "KeyError"
    text = text.strip()
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    notes = [note for note in getattr(raised, "__notes__", ()) if _tells(note)]
    return "\n".join([cut, *notes])


def _tells(note: str) -> bool:
    """Whether a note says more than which batch of the trial it was."""
    return not note.startswith(("in training, ", "in validation", "in testing, ", "in prediction"))


def place(raised: BaseException) -> str | None:
    """The user's line that led to it."""
    frames = [each for each in extract_tb(raised.__traceback__) if is_user_file(each.filename)]
    return f"{display(frames[-1].filename)}:{frames[-1].lineno}" if frames else None


def hint(raised: BaseException) -> str | None:
    """What a TorchLabError says to do."""
    return raised.hint if isinstance(raised, TorchLabError) else None
