"""Runs made by hand with all that can be sent, and whether a server has just that."""

from __future__ import annotations

import hashlib
import json
import math
import random
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from clearml_server.fixture import ClearMLServer
from torch_lab.mirror import events
from torch_lab.mirror.task import ending, run_tag
from torch_lab.recording.items import items
from torch_lab.recording.live import Position, RunRecorder
from torch_lab.recording.machine import began, samples
from torch_lab.store import journal
from torch_lab.store import record as records
from torch_lab.store.claim import claim, new_id
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import CheckpointEntry, Progress, Record, RecordWriter, Resume
from torch_lab.store.segments import Segment, encode

BEGAN = 1_750_000_000.0


@dataclass
class MadeRun:
    """A run that a test writes as `train` would: begun, gone on with, ended."""

    run: RunDirectory
    writer: RecordWriter
    lock: Lock
    recorder: RunRecorder
    seed: int = 0
    batch: int = 0

    @classmethod
    def begun(cls, artifacts: Path, prefix: str = "00_made-hparams", **fields: Any) -> MadeRun:
        run = claim(artifacts, prefix)
        lock = Lock.acquire(run, lost_after=60)
        fields = {"status": "running", "created": BEGAN, "started": BEGAN + 1} | fields
        fields = {"experiment": "00_made", "hparams": {"config": {"lr": 0.1}}} | fields
        fields = {"script": "made/experiments/00_made/hparams.py", "host": "box"} | fields
        writer = RecordWriter(run, lock, Record(name=run.name, id=new_id(), **fields))
        writer.update()
        run.environment_file.write_text(json.dumps({"format": 1, "packages": {"torch": "2.13"}}))
        run.checkpoints.mkdir()
        return cls(run, writer, lock, RunRecorder(run, after=0))

    def batches(self, count: int) -> MadeRun:
        """Log three numbers a batch, and print a line."""
        draw = random.Random(self.seed + self.batch)
        with (self.run.console()).open("a") as log:
            for batch in range(self.batch + 1, self.batch + count + 1):
                values = {"loss/train": draw.random(), "accuracy/validate": draw.random()}
                self.recorder.journal.append(batch, batch, 0, {**values, "lr": 1 / batch})
                log.write(f"batch {batch}: {values}\n")
        self.batch += count
        return self

    def items(self, count: int) -> MadeRun:
        """Record images, with captions some, a table, a text, and artifacts."""
        draw = np.random.default_rng(self.seed + self.batch)
        for i in range(count):
            self.recorder.position = lambda i=i: Position(self.batch, self.batch + i, 0)
            pixels = draw.integers(0, 255, (3, 8, 8), dtype=np.uint8)
            self.recorder.image("seen/here", pixels, caption=f"<{i}>" if i % 3 else None)
        self.recorder.table("table", {"a": [1, 2], "b": [3.5, 4.5]})
        self.recorder.text("text", "as it is")
        return self

    def artifact(self, name: str, *files: str) -> MadeRun:
        """Record a file as artifact, or a folder where there are several."""
        source = self.run.path.parent.parent / f"source-{name}"
        source.mkdir(parents=True, exist_ok=True)
        for file in files:
            (source / file).write_text(f"{name} {file} {self.batch} {self.seed}")
        self.recorder.artifact(source if len(files) > 1 else source / files[0], name=name)
        return self

    def checkpoint(self, *names: str, size: int = 1000) -> MadeRun:
        """Save one that goes by these names."""
        content = random.Random(self.seed + self.batch).randbytes(size)
        file = self.run.checkpoints / f"step-{self.batch}.ckpt"
        file.write_bytes(content)
        entry = CheckpointEntry(
            name=file.stem,
            file=f"checkpoints/{file.name}",
            kind="training",
            batch=self.batch,
            step=self.batch,
            epoch=0,
            metrics={"loss/validate": 0.5},
            sha256=hashlib.sha256(content).hexdigest(),
            size=size,
            saved=BEGAN + self.batch,
        )
        listed = [entry, *(replace(entry, name=name) for name in names)]
        kept = [each for each in self.writer.record.checkpoints if each.name not in names]
        self.writer.update(checkpoints=(*kept, *listed), progress=Progress(self.batch, self.batch))
        return self

    def use(self, count: int) -> MadeRun:
        """Note how much of the machine is in use."""
        segment = Segment(self.run.machine, None, "machine use in")
        for i in range(count):
            values = {"cpu_percent": float(i), "memory_bytes": float(2**30 * i)}
            segment.write(encode({"t": BEGAN + 10 * i, "values": values}))
        segment.close()
        return self

    def end(self, status: str = "completed", reason: str | None = None) -> MadeRun:
        """Close the books."""
        self.recorder.close()
        self.writer.update(
            status=status, reason=reason, ended=BEGAN + 1000, metrics=self.recorder.summary
        )
        self.lock.release()
        return self

    def resume(self, after: int) -> MadeRun:
        """Go on from a batch."""
        self.lock = Lock.acquire(self.run, lost_after=60)
        record = records.read(self.run)
        resumes = (*record.resumes, Resume(BEGAN + 2000 + after, after))
        self.writer = RecordWriter(self.run, self.lock, record)
        self.writer.update(status="running", reason=None, ended=None, resumes=resumes)
        self.recorder.close()
        self.recorder = RunRecorder(self.run, after)
        self.batch, self.seed = after, self.seed + 1
        return self


def whole_run(
    artifacts: Path, batches: int = 1500, size: int = 3_000_000, **fields: Any
) -> MadeRun:
    """A finished run with all there is, which was resumed once."""
    made = MadeRun.begun(artifacts, **fields).batches(batches).items(4).artifact("notes", "a.txt")
    made.checkpoint("best", size=size).batches(50).items(2).end("aborted", "SIGTERM")
    made.resume(batches).batches(batches).items(6).artifact("folder", "a.txt", "b.txt").use(50)
    made.recorder.journal.append(made.batch, made.batch, 0, {"loss/train": math.nan})
    return made.checkpoint("last", size=size // 2).end()


# -- what the server has ----------------------------------------------------------------------


def assert_same(server: ClearMLServer, run: RunDirectory, status: str | None = None) -> None:
    """The server has the run as it is on disk, and nothing twice."""
    record = records.read(run)
    task = task_of(server, record)
    assert status_of(task) == expected_status(record, status)
    assert server.scalars(task["id"]) == expected_scalars(run, record)
    assert console_of(server, task["id"]) == run.console().read_text().splitlines()
    assert samples_of(server, task["id"]) == expected_samples(server, run, task["id"])
    assert models_of(server, task) == expected_models(record)
    assert artifacts_of(server, task) == expected_artifacts(run)


def task_of(server: ClearMLServer, record: Record) -> dict[str, Any]:
    """The one task of a run."""
    tag = run_tag(record.id)
    (task,) = [each for each in server.tasks() if tag in each["system_tags"]]
    return task


def status_of(task: dict[str, Any]) -> tuple[str, str]:
    return task["status"], task["status_reason"]


def expected_status(record: Record, status: str | None) -> tuple[str, str]:
    endpoint, body = ending(status or record.status, record.reason)
    return endpoint.rpartition(".")[2], body["status_reason"]


def expected_scalars(
    run: RunDirectory, record: Record
) -> dict[tuple[str, str], list[tuple[int, float]]]:
    found: dict[tuple[str, str], dict[int, float]] = {}
    for event in _scalar_events(run, record):
        place = found.setdefault((event["metric"], event["variant"]), {})
        place[event["iter"]] = event["value"]
    return {name: sorted(values.items()) for name, values in found.items()}


def _scalar_events(run: RunDirectory, record: Record) -> Iterator[dict[str, Any]]:
    said: set[str] = set()
    for row in journal.rows(run):
        yield from (e for e in events.scalars("", row, said, "") if "value" in e)
    for sample in samples(run):
        yield from events.machine("", sample, began(run) or 0)
    yield from events.summary("", record)


def console_of(server: ClearMLServer, task: str) -> list[str]:
    """What was printed, without what tells of numbers that are none."""
    return [each["msg"] for each in server.events(task, "log") if each["level"] == "INFO"]


def warnings_of(server: ClearMLServer, task: str) -> list[str]:
    return [each["msg"] for each in server.events(task, "log") if each["level"] == "WARNING"]


def samples_of(server: ClearMLServer, task: str) -> set[tuple[Any, ...]]:
    """Images, plots and the like, and what the files hold that they show."""
    found = server.events(task, "training_debug_image") + server.events(task, "plot")
    return {(e["metric"], e["variant"], e["iter"], _shown(server, e)) for e in found}


def _shown(server: ClearMLServer, event: dict[str, Any]) -> str:
    url = event.get("url")
    return event["plot_str"] if url is None else hashlib.sha256(stored(server, url)).hexdigest()


def expected_samples(server: ClearMLServer, run: RunDirectory, task: str) -> set[tuple[Any, ...]]:
    shown = {e["variant"]: e["url"] for e in server.events(task, "training_debug_image")}
    base = next(iter(shown.values())).partition("/media/")[0] if shown else ""
    files: dict[str, Path] = {}

    def upload(path: Path, name: str) -> str:
        files[f"{base}/{name}"] = path
        return f"{base}/{name}"

    found = set()
    for item in items(run):
        for event in events.item("", run, item, upload):
            url = event.get("url")
            text = event["plot_str"] if url is None else _digest(files[url].read_bytes())
            found.add((event["metric"], event["variant"], event["iter"], text))
    return found


def models_of(server: ClearMLServer, task: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The task's models: their names, what their files hold, and what is said of them."""
    documents = {each["id"]: each for each in server.models(task["id"])}
    listed = task["models"]["output"]
    assert len(documents) == len(listed)
    return {each["name"]: _model(server, documents[each["model"]]) for each in listed}


def _model(server: ClearMLServer, document: dict[str, Any]) -> tuple[Any, ...]:
    facts = {key: each["value"] for key, each in document["metadata"].items()}
    content = _digest(stored(server, document["uri"]))
    return document["name"], content, facts["sha256"], facts["step"], facts["size"]


def expected_models(record: Record) -> dict[str, tuple[Any, ...]]:
    return {
        each.name: (f"{record.name} {each.name}", each.sha256, each.sha256, *_told(each))
        for each in record.checkpoints
        if each.name in ("last", "best")
    }


def _told(entry: CheckpointEntry) -> tuple[str, str]:
    return str(entry.step), str(entry.size)


def artifacts_of(server: ClearMLServer, task: dict[str, Any]) -> dict[str, Any]:
    """The task's artifacts: what their files hold."""
    found = {}
    for each in task["execution"]["artifacts"]:
        content = stored(server, each["uri"])
        assert each["key"] not in found
        assert (_digest(content), len(content)) == (each["hash"], each["content_size"])
        found[each["key"]] = _unpacked(content) if each["type"] == "archive" else content
    return found


def _unpacked(content: bytes) -> dict[str, bytes]:
    from io import BytesIO

    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def expected_artifacts(run: RunDirectory) -> dict[str, Any]:
    own = {"source": run.source_bundle, "environment.json": run.environment_file}
    own |= {"git.diff": run.git_diff, "run.json": run.record_file}
    found: dict[str, Any] = {k: path.read_bytes() for k, path in own.items() if path.exists()}
    for item in items(run):
        if item.kind == "artifact":
            path = run.path / item.file
            found[item.name] = _folder(path) if path.is_dir() else path.read_bytes()
    patterns = ("metrics/*.jsonl", "media/*.jsonl", "machine/*.jsonl", "summaries/*.jsonl")
    lines = [each for pattern in (*patterns, "console*") for each in run.path.glob(pattern)]
    found["journal"] = {each.relative_to(run.path).as_posix(): each.read_bytes() for each in lines}
    return found


def _folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stored(server: ClearMLServer, url: str) -> bytes:
    """A file on the server, by its address."""
    return (server.root / "server" / "files" / unquote(urlsplit(url).path).lstrip("/")).read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
