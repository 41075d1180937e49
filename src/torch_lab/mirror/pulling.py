"""A whole run brought here from the server, into a directory as `train` would have left it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from torch_lab.errors import CheckpointError, ServerError, ServerUnreachable, UsageError
from torch_lab.mirror import archives, finding
from torch_lab.mirror.events import name_of
from torch_lab.mirror.fetcher import NOT_OVER, Fetcher, publish
from torch_lab.mirror.fetching import claimed, run_of, work
from torch_lab.mirror.finding import Model, Task, making_sense
from torch_lab.mirror.listing import NOT_METRICS
from torch_lab.mirror.patience import LOOK
from torch_lab.mirror.sending.places import Places
from torch_lab.mirror.server import Server
from torch_lab.recording.items import Item
from torch_lab.recording.items import parse as parse_item
from torch_lab.store.failures import storing
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import QUEUED, UNFINISHED, CheckpointEntry, Record
from torch_lab.store.segments import content_of, encode, segments
from torch_lab.utils.files import write_atomic
from torch_lab.utils.paths import display
from torch_lab.utils.text import format_size, plural

JOURNAL = "journal"  # the artifact that holds the files of lines
# What a journal may hold: names of another form would be put anywhere.
_LINES = re.compile(
    r"(metrics|media|machine|summaries)/\d{4,9}\.jsonl|console(\.\d{1,9})?\.(log|times)", re.ASCII
)
_PAGE = 5000  # events in one answer
_MOST_PAGES = 4000


@dataclass
class Pulled:
    """What was brought here, what the server has not got, and what of it could not be used."""

    directory: RunDirectory
    record: Record
    missing: list[str]
    failed: list[str]


def pull(
    server: Server, task: Task, artifacts: Path, *, lost_after: float, say: Callable[[str], None]
) -> Pulled:
    """Bring a run here; one that was cut off before goes on where it was.

    UsageError where it is here already, as a run of this machine or as a fetched one.
    """
    with work(artifacts, task, lost_after, LOOK) as folder:
        fetcher = Fetcher(server, task, folder)
        here = run_of(task, artifacts)
        if here is not None:
            refuse_whole(here)
            _refuse_waiting(here, task)
        place = nullcontext(here.directory) if here else None
        with place or claimed(artifacts, task, fetcher.record()) as directory:
            say(f"{task.title} ({task.id}) from {server.host} to {display(directory.path)}")
            with making_sense(server):
                return _Pull(fetcher, directory, say).run()


def refuse_whole(here: StoredRun) -> None:
    """Refuse a run that is here, but one that was fetched in part, or while it was under way."""
    record, place = here.record, display(here.directory.path)
    if record.status == QUEUED:
        return  # an agent may have run it on a machine of its own
    if record.fetched is None:
        raise UsageError(
            f"run {record.name} was made here: {place}",
            hint="What the server lacks of it, `lab sync` sends.",
        )
    if record.fetched.get("whole") and record.status not in UNFINISHED:
        raise UsageError(f"run {record.name} is here already: {place}")


def _refuse_waiting(here: StoredRun, task: Task) -> None:
    """Refuse a run that was queued here, until it has ended."""
    status = task.content.get("status")
    if here.record.status == QUEUED and status in NOT_OVER:
        raise UsageError(
            f"run {here.record.name} has not ended yet: the ClearML server calls it {status}",
            hint="`lab runs` says when it has.",
        )


@dataclass
class _Pull:
    fetcher: Fetcher
    directory: RunDirectory
    say: Callable[[str], None]
    missing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self) -> Pulled:
        record = self.fetcher.record()
        for key, target in self._code().items():
            with self._going_on(target.name):
                if not self.fetcher.artifact(key, target):
                    self.missing.append(target.name)
        self._lines()
        self._media()
        entries = self._checkpoints()
        fetched = {**(record.fetched or {}), "whole": not self.failed}
        record = replace(record, checkpoints=entries, fetched=fetched)
        publish(self.directory, record)
        return Pulled(self.directory, record, self.missing, self.failed)

    @contextmanager
    def _going_on(self, what: str) -> Iterator[None]:
        """Bring the rest here where one file is not what was announced, or is gone."""
        try:
            yield
        except ServerUnreachable:
            raise
        except (ServerError, CheckpointError) as error:
            self.failed.append(f"{what}: {error.message}")

    def _code(self) -> dict[str, Path]:
        directory = self.directory
        return {
            "environment.json": directory.environment_file,
            "git.diff": directory.git_diff,
            "source": directory.source_bundle,
        }

    def _checkpoints(self) -> tuple[CheckpointEntry, ...]:
        listed: tuple[CheckpointEntry, ...] = ()
        known = finding.models(self.fetcher.server, self.fetcher.task)
        for model in sorted(known, key=lambda each: each.name):
            if model.missing:
                self.missing.append(f"checkpoint {model.name} ({model.missing})")
                continue
            self.say(f"  checkpoint {model.name}{_size(model)}")
            with self._going_on(f"checkpoint {model.name}"):
                _, entry = self.fetcher.checkpoint(self.directory, listed, model)
                listed = (*listed, entry)
        return listed

    # -- what was logged -------------------------------------------------------------------------

    def _lines(self) -> None:
        """The files of lines as they were; where they were not sent, from the server's graphs."""
        archive = self.fetcher.folder / f"{JOURNAL}.zip"
        with self._going_on(JOURNAL):
            if self.fetcher.artifact(JOURNAL, archive):
                for name in archives.members(archive):
                    if _LINES.fullmatch(name):
                        archives.unpack(archive, name, self.directory.path / name)
                return
        self.say("  metrics, from the server's graphs")
        rows = _rows(self.fetcher.server, self.fetcher.task)
        header = {"format": 1, "after": 0, "t": rows[0]["t"] if rows else self._began()}
        text = "".join(f"{encode(line)}\n" for line in [header, *rows])
        target = self.directory.metrics / "0000.jsonl"
        with storing("write", target):
            target.parent.mkdir(exist_ok=True)
            write_atomic(target, text.encode())

    def _began(self) -> float:
        return self.fetcher.record().created

    # -- what was recorded -----------------------------------------------------------------------

    def _media(self) -> None:
        """The files that the index names and the server has."""
        items = list(self._items())
        if not items:
            return
        shown, lost = _addresses(self.fetcher.server, self.fetcher.task), 0
        for item in items:
            for file in filter(None, (item.file, item.data)):
                lost += not self._file(item, file, shown)
        if lost:
            self.missing.append(f"{plural(lost, 'recorded file')}")

    def _items(self) -> Iterator[Item]:
        """The index's items, those alone whose files are to lie in media/."""
        for segment in segments(self.directory.media):
            kept, found = [], 0
            for line in segment.read_bytes().splitlines(keepends=True):
                content = content_of(line) or {}
                item = parse_item(content)
                if item is not None and not _is_media(item):
                    found += 1
                    continue
                kept.append(line)
                if item is not None:
                    yield item
            if found:
                with storing("write", segment):
                    write_atomic(segment, b"".join(kept))
                self.missing.append(f"{plural(found, 'recorded item')} whose file lies elsewhere")

    def _file(self, item: Item, file: str, shown: Mapping[str, str]) -> bool:
        """Bring a file here that the server has as an artifact, or shows; whether it has it."""
        target, url = self.directory.path / file, shown.get(_shown_as(file))
        if target.exists():
            return True
        with self._going_on(file):
            if url is None:
                return item.kind == "artifact" and self._artifact(item, target)
            self.fetcher.bring(url, target)
        return True

    def _artifact(self, item: Item, target: Path) -> bool:
        """What `record().artifact` was given; of several by one name the server has the last."""
        listed = self.fetcher.task.artifacts.get(item.name)
        name = PurePosixPath(_path(str(listed["uri"]))).name if listed else ""
        if name == target.name:
            return self.fetcher.artifact(item.name, target)
        if name != f"{target.name}.zip":
            return False
        archive = self.fetcher.folder / "folder.zip"
        self.fetcher.artifact(item.name, archive)
        for member in archives.members(archive):
            if archives.is_inside(member):
                archives.unpack(archive, member, target / member)
        return True


def _is_media(item: Item) -> bool:
    files = [item.file] if item.data is None else [item.file, item.data]
    return all(
        isinstance(file, str) and file.startswith("media/") and archives.is_inside(file)
        for file in files
    )


def _size(model: Model) -> str:
    return "" if model.size is None else f" ({format_size(model.size)})"


# -- what the server shows ------------------------------------------------------------------------


def _events(server: Server, task: Task, kind: str) -> Iterator[Mapping[str, Any]]:
    """All events of a kind, page by page."""
    which: dict[str, Any] = {"task": task.id, "event_type": kind, "order": "asc"}
    for _ in range(_MOST_PAGES):
        answer = server.call("events.get_task_events", batch_size=_PAGE, **which)
        yield from answer["events"]
        which["scroll_id"] = answer.get("scroll_id")
        if not answer["events"] or not which["scroll_id"]:
            return


def _rows(server: Server, task: Task) -> list[dict[str, Any]]:
    """The rows of a journal whose numbers are the server's; what was logged together is one."""
    rows: dict[tuple[int, int], dict[str, float]] = {}
    for event in _events(server, task, "training_stats_scalar"):
        if event["metric"] not in NOT_METRICS and event["iter"] >= 0:
            name = name_of(str(event["metric"]), str(event["variant"]))
            place = int(event["timestamp"]), int(event["iter"])
            rows.setdefault(place, {})[name] = float(event["value"])
    return [
        {"t": t / 1000, "batch": step, "step": step, "epoch": 0, "values": rows[t, step]}
        for t, step in sorted(rows)
    ]


def _addresses(server: Server, task: Task) -> dict[str, str]:
    """Where the files are that the web page shows, by their paths below the task's folder."""
    urls = [str(each.get("url")) for each in _events(server, task, "training_debug_image")]
    for event in _events(server, task, "plot"):
        images = json.loads(event["plot_str"]).get("layout", {}).get("images") or ()
        urls += [str(each.get("source")) for each in images]
    return {_path(url).partition(f".{task.id}/")[2]: url for url in urls}


def _shown_as(file: str) -> str:
    """The path below the task's folder of what lies in the run directory."""
    return Places("file:///", "", "-").shown(file).partition("/-/")[2]


def _path(url: str) -> str:
    return unquote(urlsplit(url).path)
