"""Join a task with the SDK as a training does: `join_with_sdk.py RUN SERVER SECONDS [STATE]`.

Its last line says which task, or why none; the process ends as a training would.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from torch_lab.errors import ServerError
from torch_lab.mirror.sdk import join
from torch_lab.mirror.senders import State
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record


def main() -> None:
    folder, server, seconds, *rest = sys.argv[1:]
    hparams = {"task": {"project_name": "tests"}}
    record = Record(
        name="00_alone-hparams_v0",
        id="",
        status="running",
        experiment="00_alone",
        script="hparams.py",
        hparams=hparams,
    )
    news = State(state=rest[0] if rest else "connected", server=server)
    try:
        sdk = join(RunDirectory(Path(folder)), record, lambda: news, float(seconds), print)
    except ServerError as error:
        time.sleep(2)  # what is going on in the background may do its worst
        print(f"{type(error).__name__}: {error.message}")
    else:
        print(sdk.task_id)
        sdk.close(5)


if __name__ == "__main__":
    main()
