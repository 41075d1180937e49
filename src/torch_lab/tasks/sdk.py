"""`"task": {"sdk": True}`: ClearML's own SDK open in the training process, or a word on why not."""

from __future__ import annotations

from torch_lab.errors import ServerError
from torch_lab.mirror import senders
from torch_lab.mirror.sdk import Sdk, join
from torch_lab.mirror.senders import AWAY, State
from torch_lab.settings import Settings
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record
from torch_lab.tasks.plan import say
from torch_lab.utils.text import format_duration

_NONE = "Task.current_task() is None in this run"
_OPENING = 20.0  # seconds
_HOPE = 3.0  # seconds for the SDK to send what it has while the sender can't reach the server
_AFTER_SIGNAL = 5.0


def opened(run: RunDirectory, record: Record, settings: Settings) -> Sdk | None:
    """The run's task in ClearML's SDK, where hparams ask for it and a server answers."""
    if not record.hparams.get("task", {}).get("sdk"):
        return None
    if not record.sync:
        say(f"task.sdk: no ClearML server is configured, or --offline is set; {_NONE}")
        return None
    try:
        return join(run, record, lambda: _news(settings), _OPENING, say)
    except ServerError as error:
        say(f"warning: task.sdk: {error.message}; {_NONE}")
        return None


def close(sdk: Sdk, settings: Settings, status: str | None) -> None:
    """Close it in a bounded time; what the SDK could not send by then is lost, and that is said.

    `status` is how the run ended; None where that could not even be recorded.
    """
    seconds = 0.0 if status is None else settings.sync_wait
    if status == "aborted":
        seconds = min(seconds, _AFTER_SIGNAL)
    if _news(settings).state in AWAY:
        seconds = min(seconds, _HOPE)
    if not sdk.close(seconds):
        say(
            f"warning: ClearML's SDK had not sent all after {format_duration(seconds)}: what the"
            " code gave to it itself may be missing there; the run's record is sent as ever"
        )


def _news(settings: Settings) -> State:
    return senders.current(settings.artifacts, settings.lost_after)
