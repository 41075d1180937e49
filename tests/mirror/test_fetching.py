"""Checkpoints that only the server has: fetched once, verified, used by `train` and `infer`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import torch_lab
from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import HPARAMS, RUN, Outcome
from helpers import environment, wait_for
from mirror.elsewhere import OFF, Elsewhere, elsewhere, here
from mirror.mirrored_lab import MirroredLab, mirrored
from mirror.server_content import Content, facts_of
from torch_lab.mirror.fetcher import safe_name
from zygote import Zygote

__all__ = ["elsewhere", "here"]


def infer(lab: MirroredLab, checkpoint: str, **env: str) -> Outcome:
    return lab.do("infer", HPARAMS, "--checkpoint", checkpoint, env=env)


def entries(lab: MirroredLab, name: str = RUN) -> dict[str, str]:
    """The names and files of a run's checkpoints."""
    return {each["name"]: each["file"] for each in lab.run(name).record["checkpoints"]}


def files(lab: MirroredLab) -> list[str]:
    """What lies in the artifacts folder."""
    found = (each for each in lab.artifacts.rglob("*") if each.is_file())
    return sorted(str(each.relative_to(lab.artifacts)) for each in found)


def downloads(server: ClearMLServer) -> int:
    return server.counts().get("files.GET", 0)


class TestARunOfAnotherMachine:
    @pytest.mark.parametrize("words", ["name", "title", "task", "id"])
    def test_by_its_names(self, here: MirroredLab, elsewhere: Elsewhere, words: str) -> None:
        named = {
            "name": RUN,
            "title": f"{elsewhere.title}:best",
            "task": f"{elsewhere.task}:last.ckpt",
            "id": elsewhere.record["id"],
        }
        outcome = infer(here, named[words])
        assert outcome.status == 0, outcome
        server = elsewhere.server.url
        name = "best" if words == "title" else "last"
        assert f"fetching {name} (" in outcome.err
        assert f"of {elsewhere.title} ({elsewhere.task}) from {server}" in outcome.err
        assert f"weights from data/artifacts/{RUN}/checkpoints/step-8.ckpt" in outcome.err
        assert files(here) == [f"{RUN}/checkpoints/step-8.ckpt", f"{RUN}/run.json"]

    def test_its_record_says_where_it_is_from(
        self, here: MirroredLab, elsewhere: Elsewhere
    ) -> None:
        assert infer(here, RUN).status == 0
        record, original = here.run(RUN).record, elsewhere.record
        fetched = record.pop("fetched")
        assert fetched["task_id"] == elsewhere.task
        assert (fetched["server"], fetched["whole"]) == (elsewhere.server.url, False)
        (last,) = record.pop("checkpoints")
        assert last in original["checkpoints"]
        assert (record.pop("sync"), original["sync"]) == (False, True)
        for key in ("fetched", "checkpoints", "sync"):
            original.pop(key, None)
        assert record == original
        there, fetched_file = elsewhere.run.path / last["file"], here.run(RUN).path / last["file"]
        assert there.read_bytes() == fetched_file.read_bytes()
        shown = here.done("lab", "show", RUN)
        assert f"fetched     from {elsewhere.server.url}, task {elsewhere.task}" in shown.out

    def test_once_and_then_without_the_server(
        self, here: MirroredLab, elsewhere: Elsewhere
    ) -> None:
        assert infer(here, RUN).status == 0
        before = downloads(elsewhere.server)
        assert infer(here, f"{RUN}:best").status == 0  # the same file by another name
        assert downloads(elsewhere.server) <= before + 1  # the record alone
        assert entries(here) == dict.fromkeys(("last", "best"), "checkpoints/step-8.ckpt")
        for text in (f"{elsewhere.task}:best", elsewhere.title, elsewhere.record["id"][:8]):
            outcome = infer(here, text, **OFF)
            assert outcome.status == 0, outcome
            assert "fetching" not in outcome.err

    def test_many_at_once(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        elsewhere.server.fault("slow", endpoints=["files.*"], seconds=0.5)
        before = downloads(elsewhere.server)
        words = ("infer", HPARAMS, "--checkpoint", elsewhere.task)
        started = [here.start_one(*words) for _ in range(4)]
        for outcome in [here.ended(each) for each in started]:
            assert outcome.status == 0, outcome
        assert downloads(elsewhere.server) - before == 2  # run.json and the checkpoint
        assert files(here) == [f"{RUN}/checkpoints/step-8.ckpt", f"{RUN}/run.json"]

    def test_a_run_that_starts_from_it(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        setting = f"checkpoint.checkpoint_task_id={elsewhere.task}"
        done = here.done("train", HPARAMS, "-s", setting, "-s", "trainer.init.max_epochs=3")
        assert f"from data/artifacts/{RUN}/checkpoints/step-8.ckpt" in done.out
        (new,) = set(here.runs()) - {RUN}
        expected = {"id": elsewhere.record["id"], "name": RUN, "checkpoint": "step-8"}
        record = here.run(new).record
        assert record["parent"] == expected
        assert record["progress"]["batch"] == 12
        task = elsewhere.server.task(here.mirror(new).task_id or "")
        assert task["parent"] == elsewhere.task

    def test_by_ckpt_path(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        settings = (
            "-s",
            f"trainer.fit.ckpt_path={elsewhere.title}",
            "-s",
            "trainer.init.max_epochs=3",
            "-o",
        )
        outcome = here.do("train", HPARAMS, *settings)
        assert outcome.status == 2  # --offline asks nobody
        assert f'no run "{elsewhere.title}" in' in outcome.err
        assert "(--set trainer.fit.ckpt_path)" in outcome.err
        here.done("train", HPARAMS, *settings[:-1])

    def test_it_is_not_resumed_here(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        assert infer(here, RUN).status == 0
        outcome = here.do("train", "--resume", RUN)
        assert outcome.status == 2
        words = "was fetched from a ClearML server: it is resumed where it was made"
        assert words in outcome.err
        assert (
            "To train on here, start a new run from it: checkpoint.checkpoint_task_id"
            in outcome.err
        )

    def test_a_name_that_is_not_there(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        outcome = infer(here, f"{RUN}:bset")
        assert outcome.status == 2
        title = f"task {elsewhere.title} ({elsewhere.task}) on {elsewhere.server.url}"
        assert f"{title} has no checkpoint 'bset': it has" in outcome.err
        assert files(here) == []
        assert infer(here, RUN).status == 0
        outcome = infer(here, f"{RUN}:bset")  # now it is here, and has more there
        assert f"run {RUN} has no checkpoint 'bset' in" in outcome.err
        assert f", and {title} has no checkpoint 'bset'" in outcome.err

    def test_beside_a_run_of_that_name(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        here.done("train", HPARAMS, "-o")
        own = here.run(RUN).record["id"]
        assert infer(here, RUN).err.count("fetching") == 0
        assert infer(here, elsewhere.task).status == 0
        other = elsewhere.record["id"]
        assert here.run(f"{RUN}-{other[:8]}").record["id"] == other
        assert here.run(RUN).record["id"] == own
        assert infer(here, other, **OFF).status == 0
        shutil.rmtree(here.artifacts / f"{RUN}-{other[:8]}")
        for name in (f"{RUN}-{other[:8]}", f"{RUN}-{other}"):
            shutil.copytree(here.artifacts / RUN, here.artifacts / name)
        outcome = infer(here, elsewhere.task)
        assert f"has other runs in every place for {RUN}" in outcome.err

    def test_from_python(
        self, here: MirroredLab, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert infer(here, RUN).status == 0
        for name, value in here.environment.items():
            monkeypatch.setenv(name, value)
        (run,) = torch_lab.runs(here.root)
        assert run.checkpoints == ["last"]
        with pytest.warns(UserWarning, match=rf"fetching best \(.*\) of {elsewhere.title} "):
            best = run.checkpoint("best")
        assert best == run.checkpoint("last")
        (run,) = torch_lab.runs(here.root)
        assert run.checkpoints == ["last", "best"]


class TestRunsThatAreHere:
    def test_by_the_id_of_their_task(self, elsewhere: Elsewhere) -> None:
        for text in (elsewhere.task, elsewhere.title):
            outcome = infer(elsewhere.lab, text, **OFF)
            assert outcome.status == 0, outcome
            assert "fetching" not in outcome.err

    @pytest.mark.parametrize("loss", ["damaged", "gone"])
    def test_what_they_lost_comes_back(
        self, here: MirroredLab, elsewhere: Elsewhere, loss: str
    ) -> None:
        shutil.copytree(elsewhere.run.path, here.artifacts / RUN)
        file = here.artifacts / RUN / "checkpoints" / "step-8.ckpt"
        whole = file.read_bytes()
        for path in (file, *file.parent.glob("[lb]*.ckpt")):
            path.unlink()
        if loss == "damaged":
            file.write_bytes(whole[:-100])
        outcome = infer(here, RUN, **OFF)
        assert outcome.status == 0, outcome
        assert "asking the ClearML server for it" in outcome.err
        assert "refuses connections" in outcome.err or "can't be reached" in outcome.err
        assert "trying the one before it" in outcome.err
        assert "step-7.ckpt" in outcome.err
        outcome = infer(here, RUN)
        assert outcome.status == 0, outcome
        assert f"weights from data/artifacts/{RUN}/checkpoints/step-8.ckpt" in outcome.err
        assert file.read_bytes() == whole

    def test_what_the_server_has_in_another_state(
        self, here: MirroredLab, elsewhere: Elsewhere
    ) -> None:
        """As when the newest checkpoint was never sent: the record says which one it was."""
        shutil.copytree(elsewhere.run.path, here.artifacts / RUN)
        place = here.artifacts / RUN
        record = here.run(RUN).record
        for each in record["checkpoints"]:
            if each["batch"] == 8:
                each["sha256"] = "0" * 64
        (place / "run.json").write_text(json.dumps(record))
        outcome = infer(here, RUN)
        assert outcome.status == 0, outcome
        words = f"run {RUN} has not saved what the server has as 'last'; trying the one before it"
        assert words in outcome.err
        assert "step-7.ckpt" in outcome.err


class TestTasksOfOldVersions:
    """They know their checkpoints by name, and nothing else of them."""

    @pytest.fixture
    def task(self, elsewhere: Elsewhere, tmp_path: Path) -> str:
        name = f"00_waves-hparams-{tmp_path.parent.name}-{tmp_path.name}"
        folder = elsewhere.run.path / "checkpoints"
        content = Content(elsewhere.server)
        checkpoints = {"last": folder / "step-4.ckpt", "epoch=1-step=7": folder / "step-7.ckpt"}
        marked = {"best": "failed_uploading", "next": "uploading_file"}
        return content.old_task(name, "old/waves", checkpoints, marked)

    def test_where_1_x_kept_them(self, here: MirroredLab, elsewhere: Elsewhere, task: str) -> None:
        name = elsewhere.server.task(task)["name"]
        folder = f"{name}-{task}/train/model_weights"
        outcome = infer(here, f"old/waves/{name}")
        assert outcome.status == 0, outcome
        assert f"weights from data/artifacts/{folder}/last.ckpt" in outcome.err
        assert infer(here, f"{name}:epoch=1-step=7").status == 0
        assert files(here) == [f"{folder}/epoch=1-step=7.ckpt", f"{folder}/last.ckpt"]
        for each in ("last", "epoch=1-step=7"):
            outcome = infer(here, f"{task}:{each}", **OFF)
            assert outcome.status == 0, outcome
            assert "fetching" not in outcome.err
        file = here.artifacts / folder / "last.ckpt"
        file.write_bytes(file.read_bytes()[:-50])
        assert "last.ckpt is damaged: " in infer(here, task, **OFF).err
        assert infer(here, task).status == 0

    def test_the_parent_of_a_run(self, here: MirroredLab, elsewhere: Elsewhere, task: str) -> None:
        setting = f"checkpoint.checkpoint_task_id={task}"
        here.done("train", HPARAMS, "-s", setting, "-s", "trainer.init.max_epochs=3")
        (new,) = [name for name in here.runs() if name.startswith("00_tiny")]
        parent = here.run(new).record["parent"]
        assert (parent["id"], parent["checkpoint"]) == (task, "last")
        assert elsewhere.server.task(here.mirror(new).task_id or "")["parent"] == task

    @pytest.mark.parametrize(
        ("name", "why"),
        [("best", "its upload failed"), ("next", "its upload is not finished")],
    )
    def test_uploads_that_never_ended(
        self, here: MirroredLab, task: str, name: str, why: str
    ) -> None:
        outcome = infer(here, f"{task}:{name}")
        assert outcome.status == 2
        assert f"is not there: {why}" in outcome.err
        assert "it has last, epoch=1-step=7, " in outcome.err
        assert files(here) == []

    def test_its_only_one_by_another_name(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        file = elsewhere.run.path / "checkpoints" / "step-4.ckpt"
        task = Content(elsewhere.server).old_task("one of another name", "old", {"weights": file})
        outcome = infer(here, task)
        assert outcome.status == 2
        assert f"It is taken by its name: --checkpoint {task}:weights" in outcome.err
        assert infer(here, f"{task}:a weights").status == 0  # the model's own name


class TestNames:
    def test_of_several_tasks(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        content = Content(elsewhere.server)
        tasks = [content.task("hparams-many", f"many/{n}") for n in range(2)]
        outcome = infer(here, "hparams-many")
        assert outcome.status == 2
        assert '"hparams-many" names 2 tasks on' in outcome.err
        for number, task in enumerate(tasks):
            assert f"many/{number}/hparams-many  {task}" in outcome.err

    def test_of_nothing(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        outcome = infer(here, "00_tinny-hparams_v0")
        assert outcome.status == 2
        server = elsewhere.server.url
        assert f"and the ClearML server at {server} has no task of that name" in outcome.err
        assert files(here) == []

    def test_of_a_run_that_has_another_project_here(
        self, here: MirroredLab, elsewhere: Elsewhere
    ) -> None:
        """As when its task was moved in the web page: the run is here under its id."""
        shutil.copytree(elsewhere.run.path, here.artifacts / RUN)
        content = Content(elsewhere.server)
        body = {"task": elsewhere.task, "project": content.project("moved/there"), "force": True}
        elsewhere.server.call("tasks.edit", **body)
        try:
            outcome = infer(here, f"moved/there/{RUN}")
        finally:
            body["project"] = content.project("tests")
            elsewhere.server.call("tasks.edit", **body)
        assert outcome.status == 0, outcome
        assert "fetching" not in outcome.err

    def test_that_could_lead_elsewhere(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        file = elsewhere.run.path / "checkpoints" / "step-4.ckpt"
        content = Content(elsewhere.server)
        name = "../../../../evil"
        task = content.old_task("../../evil", "odd", {name: file})
        outcome = infer(here, f"{task}:{name}")
        assert outcome.status == 0, outcome
        (only,) = files(here)
        assert only == f"_.._evil-{task}/train/model_weights/_.._.._.._evil.ckpt"


class TestFaults:
    def test_a_server_that_is_away(self, here: MirroredLab) -> None:
        started = time.monotonic()
        outcome = infer(here, "00_other-hparams_v0", **OFF)
        assert time.monotonic() - started < 60  # it says so within seconds, on a busy machine too
        assert outcome.status == 2
        assert 'no run "00_other-hparams_v0" in' in outcome.err
        assert "http://127.0.0.1:9 can't be reached" in outcome.err
        assert "so that only what is here is known" in outcome.err
        assert "There are no runs there yet" in outcome.err

    def test_without_a_server(self, tmp_path: Path, zygote: Zygote) -> None:
        with mirrored(tmp_path / "tiny", zygote, {}) as lab:
            outcome = infer(lab, "00_other-hparams_v0")
        assert outcome.status == 2
        assert "ClearML" not in outcome.err

    def test_files_that_are_away(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        elsewhere.server.fault("files", status=503)
        outcome = infer(here, RUN)
        assert outcome.status == 2
        assert "503" in outcome.err
        assert here.runs() == []
        elsewhere.server.heal()
        assert infer(here, RUN).status == 0
        assert files(here) == [f"{RUN}/checkpoints/step-8.ckpt", f"{RUN}/run.json"]

    @pytest.mark.parametrize("fact", ["hash", "size", "damaged"])
    def test_a_file_that_is_another(
        self, here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path, fact: str
    ) -> None:
        whole = (elsewhere.run.path / "checkpoints" / "step-4.ckpt").read_bytes()
        content = Content(elsewhere.server)
        sent = tmp_path / "sent.ckpt"
        sent.write_bytes(whole[:-50] + bytes(50) if fact == "damaged" else whole)
        facts = {
            "hash": facts_of(sent) | {"sha256": "0" * 64},
            "size": facts_of(sent) | {"size": len(whole) - 1},
            "damaged": {},
        }[fact]
        task = content.task(f"wrong {fact}", "tests/wrong")
        content.model(task, "last", content.file(f"wrong/{fact}.ckpt", sent.read_bytes()), facts)
        outcome = infer(here, task)
        assert outcome.status == 2
        words = {
            "hash": "its SHA-256 is not the one that was registered",
            "size": "than the",
            "damaged": f"({task}) is damaged on the server",
        }
        assert words[fact] in outcome.err
        assert files(here) == []

    def test_killed_while_it_is_on_its_way(self, here: MirroredLab, elsewhere: Elsewhere) -> None:
        elsewhere.server.fault("hang", endpoints=["files.GET"], after=1)
        started = here.start_one("infer", HPARAMS, "--checkpoint", RUN)
        place = here.artifacts / RUN
        wait_for(lambda: (place / ".fetching.json").exists())
        kill_group(started.pid)
        assert here.ended(started).status < 0
        elsewhere.server.heal()
        outcome = here.do("lab", "runs")
        assert outcome.out.startswith("no runs yet")
        assert infer(here, RUN).status == 0
        assert files(here) == [f"{RUN}/checkpoints/step-8.ckpt", f"{RUN}/run.json"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("epoch=1-step=7", "epoch=1-step=7"),
        ("00_digits-hparams_v3", "00_digits-hparams_v3"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "_"),
        ("", "_"),
        (".hidden", "hidden"),
        ("a\x1b[2J\0b", "a_2J_b"),
        ("größe 1", "größe_1"),
        ("x" * 300, "x" * 160),
    ],
)
def test_names_of_files_for_names_from_elsewhere(name: str, file: str) -> None:
    assert safe_name(name) == file


def test_a_task_that_clearmls_own_sdk_made(
    here: MirroredLab, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """As torch-lab 1.x used it: OutputModel, by the name of the checkpoint."""
    file = elsewhere.run.path / "checkpoints" / "step-4.ckpt"
    done = subprocess.run(
        [sys.executable, "-c", SDK, str(file)],
        env=environment(**here.environment, **ALONE),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    task = done.stdout.split()[-1]
    outcome = infer(here, "with/the sdk/made by it:step-4")
    assert outcome.status == 0, outcome
    (only,) = files(here)
    assert only == f"made_by_it-{task}/train/model_weights/step-4.ckpt"
    assert (here.artifacts / only).read_bytes() == file.read_bytes()


# Its close waits ten seconds for a process that reports beside it.
ALONE = {"CLEARML__SDK__DEVELOPMENT__REPORT_USE_SUBPROCESS": "false"}
SDK = """
import sys
from clearml import OutputModel, Task
task = Task.init("with/the sdk", "made by it", auto_resource_monitoring=False,
                 auto_connect_frameworks=False, auto_connect_streams=False)
model = OutputModel(task=task, name="step-4")
model.update_weights(sys.argv[1], auto_delete_file=False)
task.flush(wait_for_uploads=True)
task.close()
print(task.id)
"""


def kill_group(pid: int) -> None:
    """End a command and what it asks, as a machine that is switched off."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if b"torch_lab.mirror.answering" in (each / "cmdline").read_bytes() and (
                f"PPid:\t{pid}\n" in (each / "status").read_text()
            ):
                os.kill(int(each.name), signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)
