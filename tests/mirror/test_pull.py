"""`lab pull`: a whole run from the server, as if it had been made here; its code needs trust."""

from __future__ import annotations

import json
import os
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import torch_lab
from e2e.tiny_project import HPARAMS, RUN
from helpers import StoredRun, wait_for
from mirror.elsewhere import OFF, Elsewhere, elsewhere, here
from mirror.mirrored_lab import MirroredLab
from mirror.server_content import Content
from torch_lab.errors import UsageError

__all__ = ["elsewhere", "here"]

SAME = ("source.tar.gz", "environment.json", "git.diff", "console.log", "metrics/0000.jsonl")


def outside(lab: MirroredLab) -> list[str]:
    """What is in reach of the command and not in its project."""
    known = (lab.root.name, "home", "elsewhere0")
    return [str(each) for each in lab.root.parent.iterdir() if each.name not in known]


def left(lab: MirroredLab) -> list[str]:
    """What a pull has not cleared away."""
    found = [*lab.artifacts.rglob(".fetching.json"), *lab.artifacts.rglob("*.tmp")]
    return [str(each) for each in [*found, *lab.artifacts.glob(".fetching/*")]]


def changed(run: Path, into: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a run directory, its record changed."""
    shutil.copytree(run, into)
    record = json.loads((into / "run.json").read_text())
    change(record)
    (into / "run.json").write_text(json.dumps(record))
    return into


def rename(identifier: str, name: str) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update(id=identifier * 16, name=name)


class TestAWholeRun:
    def test_is_as_it_was(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        done = here.done("lab", "pull", elsewhere.title)
        run, original = here.run(RUN), elsewhere.run
        assert f"run {RUN} (id {original.record['id'][:8]}, completed) in" in done.out
        assert "checkpoints   best, last" in done.out
        assert "not on the server" not in done.out
        for name in SAME:
            assert (run.path / name).read_bytes() == (original.path / name).read_bytes(), name
        assert run.rows() == original.rows()
        for name in ("last", "best"):
            assert run.weights(name) == original.weights(name)
        record, known = run.record, original.record
        assert record.pop("fetched")["whole"] is True
        listed = sorted(record.pop("checkpoints"), key=lambda each: each["name"])
        known["checkpoints"].sort(key=lambda each: each["name"])
        assert listed == [e for e in known.pop("checkpoints") if e["name"] in ("last", "best")]
        assert {**record, "sync": True} == {key: v for key, v in known.items() if key != "fetched"}
        assert left(here) == []

    def test_is_used_like_any_other(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        here.done("lab", "pull", elsewhere.task)
        away = {"env": OFF}
        here.done("infer", HPARAMS, "--checkpoint", RUN, **away)
        assert RUN in here.done("lab", "runs", **away).out
        assert "loss/train" in here.done("lab", "show", RUN, **away).out
        os.chdir(here.root)
        (run,) = torch_lab.runs()
        with pytest.raises(UsageError, match="would run the code that lies with it"):
            run.load_module()
        assert sum(1 for _ in run.load_module(trust=True).parameters()) == 2

    def test_once(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        here.done("lab", "pull", RUN)
        for text in (RUN, elsewhere.task, elsewhere.title):
            outcome = here.do("lab", "pull", text, env=OFF)
            assert outcome.status == 2
            assert f"run {RUN} is here already: data/artifacts/{RUN}" in outcome.err
        outcome = elsewhere.lab.do("lab", "pull", RUN)
        assert outcome.status == 2
        assert f"run {RUN} was made here" in outcome.err
        assert "What the server lacks of it, `lab sync` sends" in outcome.err

    def test_completes_what_was_fetched_in_part(
        self, here: MirroredLab, elsewhere: Elsewhere
    ) -> None:
        here.done("infer", HPARAMS, "--checkpoint", RUN)
        before = elsewhere.server.counts()["files.GET"]
        here.done("lab", "pull", RUN)
        assert here.run(RUN).rows() == elsewhere.run.rows()
        record = here.run(RUN).record
        assert record["fetched"]["whole"] is True
        assert [each["name"] for each in record["checkpoints"]] == ["best", "last"]
        # Record, journal, code, environment, git.diff; not the checkpoint again.
        assert elsewhere.server.counts()["files.GET"] - before == 5

    @pytest.mark.parametrize("after", [1, 5])
    def test_killed_and_started_again(
        self, here: MirroredLab, elsewhere: Elsewhere, after: int
    ) -> None:
        elsewhere.server.fault("hang", endpoints=["files.GET"], after=after)
        before = elsewhere.server.counts()["files.GET"]
        started = here.start_one("lab", "pull", RUN)
        wait_for(lambda: elsewhere.server.counts()["files.GET"] > before + after)
        os.killpg(started.pid, signal.SIGKILL)
        assert here.ended(started).status < 0
        elsewhere.server.heal()
        assert here.do("lab", "runs", env=OFF).out.startswith("no runs yet")
        here.done("lab", "pull", RUN)
        assert here.runs() == [RUN]
        assert here.run(RUN).rows() == elsewhere.run.rows()
        assert left(here) == []

    def test_two_at_once(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        started = [here.start_one("lab", "pull", RUN) for _ in range(2)]
        outcomes = [here.ended(each) for each in started]
        assert sorted(each.status for each in outcomes) == [0, 2]
        assert "is here already" in "".join(each.err for each in outcomes)
        assert here.runs() == [RUN]
        assert here.run(RUN).rows() == elsewhere.run.rows()


class TestWhatTheServerHasNot:
    def test_no_journal(self, here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path) -> None:
        """As of a run whose sender died before its end: the numbers come from the graphs."""
        name = "00_tiny-graphs_v0"
        run = changed(elsewhere.run.path, tmp_path / "elsewhere0" / name, rename("a1", name))
        Content(elsewhere.server).run(run, with_journal=False)
        done = here.done("lab", "pull", name)
        assert "metrics, from the server's graphs" in done.err
        values = [(step, values) for _, step, _, values in here.run(name).rows()]
        assert values == [(step, values) for _, step, _, values in elsewhere.run.rows()]

    def test_no_record_yet(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        """As of a run that is still under way: what its task says of it is told."""
        task = Content(elsewhere.server).task(
            "00_tiny-under_v0",
            "tests",
            system_tags=["torch-lab", f"torch-lab-run:{'b2' * 16}"],
            script={"entry_point": "tiny/experiments/00_tiny/under.py"},
        )
        elsewhere.server.call("tasks.started", task=task, force=True)
        done = here.done("lab", "pull", task)
        assert "running" in done.out
        assert "not on the server: environment.json, git.diff, source.tar.gz" in done.out
        record = here.run("00_tiny-under_v0").record
        assert (record["status"], record["experiment"]) == ("running", "00_tiny")
        assert "running" in here.done("lab", "runs", env=OFF).out
        elsewhere.server.call("tasks.failed", task=task, force=True, status_reason="a bad batch")
        here.done("lab", "pull", task)  # more may be there by now
        assert here.run("00_tiny-under_v0").record["reason"] == "a bad batch"
        assert here.do("lab", "pull", task).status == 2

    def test_no_such_run(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        outcome = here.do("lab", "pull", "00_other-hparams_v0")
        assert outcome.status == 2
        assert 'no run "00_other-hparams_v0" in' in outcome.err
        assert f"at {elsewhere.server.url} has no task of that name" in outcome.err
        assert "`lab runs --server` lists the runs that it has" in outcome.err

    def test_no_run_of_torch_lab_2(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        file = elsewhere.run.path / "checkpoints" / "step-4.ckpt"
        task = Content(elsewhere.server).old_task("an old one", "old", {"last": file})
        outcome = here.do("lab", "pull", task)
        assert outcome.status == 2
        assert f"task old/an old one ({task}) is no run of torch-lab 2: it has last" in outcome.err
        words = "Its checkpoints are fetched when they are named: --checkpoint"
        assert f"{words} {task}:last" in outcome.err
        bare = Content(elsewhere.server).old_task("an empty one", "old", {})
        outcome = here.do("lab", "pull", bare)
        assert f"({bare}) is no run of torch-lab 2: it has none\n" in outcome.err
        assert words not in outcome.err

    @pytest.mark.parametrize(("words", "got"), [((), ""), (("a", "b"), ", got 2")])
    def test_not_one_run(self, here: MirroredLab, words: tuple[str, ...], got: str) -> None:
        outcome = here.do("lab", "pull", *words)
        assert outcome.status == 2
        assert f"lab pull takes one run{got}\n" in outcome.err
        assert "`lab runs --server` lists them" in outcome.err

    def test_no_server(self, here: MirroredLab) -> None:
        outcome = here.do("lab", "pull", RUN, env=OFF)
        assert outcome.status == 2
        assert "http://127.0.0.1:9 can't be reached" in outcome.err
        outcome = here.do("lab", "show", RUN, env=OFF)  # asks nobody, and says who could know
        assert "`lab pull RUN` looks for it on the ClearML server" in outcome.err
        assert here.runs() == []


class TestAHostileServer:
    """It may say what it wants: nothing lands outside the run's directory, nothing runs."""

    def pulled(self, lab: MirroredLab, task: str) -> StoredRun:
        lab.do("lab", "pull", task)
        assert outside(lab) == []
        assert left(lab) == []
        (name,) = lab.runs()
        return lab.run(name)

    @pytest.mark.parametrize(
        "name", ["../../../evil", "/tmp/torch-lab-evil", ".\x1b[2J" + "x" * 300]
    )
    def test_a_name_that_leads_elsewhere(
        self, here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path, name: str
    ) -> None:
        run = changed(elsewhere.run.path, tmp_path / "elsewhere0" / "run", rename("c3", name))
        task = Content(elsewhere.server).run(run, project=f"evil/{tmp_path.name}")
        made = self.pulled(here, task)
        assert made.record["name"] == made.path.name
        assert made.path.name.isprintable()
        assert not Path("/tmp/torch-lab-evil").exists()

    def test_the_record_of_another_run(
        self, here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path
    ) -> None:
        run = changed(
            elsewhere.run.path, tmp_path / "elsewhere0" / "run", rename("d4", "00_a-b_v0")
        )
        other = {"run.json": elsewhere.run.path / "run.json"}
        task = Content(elsewhere.server).run(run, project="evil", instead=other)
        assert self.pulled(here, task).record["id"] == "d4" * 16

    def test_archives_that_lead_elsewhere(
        self, here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path
    ) -> None:
        run = changed(
            elsewhere.run.path, tmp_path / "elsewhere0" / "run", rename("e5", "00_c-d_v0")
        )
        (run / "media").mkdir()
        place = {"t": 1.0, "batch": 1, "step": 1, "epoch": 0, "kind": "image", "name": "seen"}
        files = ["../../evil.png", "/tmp/torch-lab-evil.png", "media/../../../evil", "run.json"]
        lines = [{"format": 1, "after": 0, "t": 1.0}, *({**place, "file": f} for f in files)]
        lines.append({**place, "file": "media/seen/000001.png"})
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        journal = tmp_path / "elsewhere0" / "journal.zip"
        link = zipfile.ZipInfo("console.log")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(journal, "w") as archive:
            archive.write(run / "metrics" / "0000.jsonl", "metrics/0000.jsonl")
            archive.writestr("media/0000.jsonl", text)
            archive.writestr(link, "/etc/passwd")
            for name in (
                "../evil",
                "/tmp/torch-lab-evil",
                "metrics/../../evil",
                "run.json",
                "lock",
            ):
                archive.writestr(name, "evil")
        other = {"journal": journal}
        task = Content(elsewhere.server).run(run, project="evil", with_journal=False, instead=other)
        outcome = here.do("lab", "pull", task)
        made = self.pulled(here, task)
        assert "4 recorded items whose file lies elsewhere, 1 recorded file" in outcome.out
        assert (made.path / "media" / "0000.jsonl").read_text().count("file") == 1
        assert not (made.path / "console.log").is_symlink()
        assert (made.path / "console.log").read_text() == "/etc/passwd"
        assert not (made.path / "lock").exists()
        assert made.rows() == elsewhere.run.rows()

    @pytest.mark.parametrize("broken", ["source", "journal", "checkpoint"])
    def test_a_file_that_is_another(
        self, here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path, broken: str
    ) -> None:
        name = f"00_other-{broken}_v0"
        run = changed(elsewhere.run.path, tmp_path / "elsewhere0" / "run", rename("f6", name))
        content = Content(elsewhere.server)
        task = content.run(run, project="evil")
        folder = elsewhere.server.root / "server" / "files" / "tests"
        wanted = {"source": "source.tar.gz", "journal": "*journal.zip", "checkpoint": "*.ckpt"}
        for file in folder.rglob(wanted[broken]):
            if task in str(file):
                file.write_bytes(bytes(file.stat().st_size))
        outcome = here.do("lab", "pull", task)
        assert outcome.status == 1
        assert "its SHA-256 is not the one that was registered" in outcome.out
        assert "can't be used: " in outcome.out
        made = self.pulled(here, task)
        assert made.record["fetched"]["whole"] is False
        assert (made.path / "source.tar.gz").exists() is (broken != "source")
        assert len(made.record["checkpoints"]) == (0 if broken == "checkpoint" else 2)
        assert [step for _, step, _, _ in made.rows()] == [s for _, s, _, _ in elsewhere.run.rows()]
        assert outside(here) == []


def test_recorded_files(here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Images and the like from where the page shows them, artifacts and folders as they were."""
    name = "00_tiny-media_v0"
    run = changed(elsewhere.run.path, tmp_path / "elsewhere0" / name, rename("ab", name))
    media = run / "media"
    for file in ("val/a picture é/000001.png", "weights/000001.bin", "note/000002.txt"):
        (media / file).parent.mkdir(parents=True, exist_ok=True)
        (media / file).write_bytes(f"content of {file}".encode())
    kinds = {
        "val/a picture é/000001.png": ("image", "val/a picture é"),
        "weights/000001.bin": ("artifact", "weights"),
        "note/000002.txt": ("text", "note"),
        "gone/000003.png": ("image", "gone"),
    }
    place = {"t": 1.0, "batch": 1, "step": 1, "epoch": 0}
    lines = [{"format": 1, "after": 0, "t": 1.0}]
    lines += [
        {**place, "kind": kind, "name": item, "file": f"media/{file}"}  # type: ignore[dict-item]
        for file, (kind, item) in kinds.items()
    ]
    (media / "0000.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    task = Content(elsewhere.server).run(run)
    done = here.done("lab", "pull", task)
    assert "not on the server: 1 recorded file\n" in done.out
    for file in list(kinds)[:3]:
        assert (here.run(name).path / "media" / file).read_bytes() == (media / file).read_bytes()
