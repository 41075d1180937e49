"""`train --queue`: what goes into the queue, and the run that an agent makes of it."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_server.fixture import ClearMLServer
from e2e.tiny_project import EXPERIMENT, HPARAMS, MAIN
from helpers import wait_for
from mirror.mirrored_lab import mirrored
from mirror.queued_lab import WORKER, QueuedLab, section
from torch_lab.errors import ServerError
from torch_lab.mirror import queued as agent_questions
from torch_lab.mirror import requirements
from torch_lab.mirror.state import Mirror
from torch_lab.store.record import Record
from torch_lab.store.values import Opaque
from torch_lab.tasks import queued as agent_side
from torch_lab.tasks import resolved
from torch_lab.tasks.queued import Order
from zygote import Zygote

V0 = "00_tiny-hparams_v0"
MORE = """
import os
from torch import nn

hparams["config"] |= {
    "act": nn.ReLU,
    "betas": (0.9, 0.99),
    "where": os.environ.get("WHERE", "here"),
    "api_key": os.environ.get("MY_KEY", "nothing"),
}
"""


@pytest.fixture
def queued(
    tmp_path: Path, zygote: Zygote, shared_clearml_server: ClearMLServer
) -> Iterator[QueuedLab]:
    # A project of its own on the server: names there are counted by project.
    with mirrored(tmp_path / "tiny", zygote, shared_clearml_server.environment) as lab:
        made = QueuedLab(lab, shared_clearml_server, tmp_path / "agent")
        script = (lab.root / HPARAMS).read_text()
        lab.write(HPARAMS, script.replace('"tests"', f'"{made.queue}"'))
        yield made
        made.end_senders()


# -- into the queue ---------------------------------------------------------------------------


def test_the_task_holds_all_that_an_agent_needs(queued: QueuedLab) -> None:
    queued.lab.write(HPARAMS, (queued.lab.root / HPARAMS).read_text() + MORE)
    outcome = queued.lab.done("train", HPARAMS, "--queue", queued.queue, "-s", "width=5")
    record = queued.lab.run(V0).record
    task = queued.server.task(record["queued"]["task"])
    assert f"run {V0} (id {record['id'][:8]})" in outcome.out
    assert f"queued in {queued.queue}: http" in outcome.out
    assert "config.api_key: secrets aren't sent" in outcome.err
    assert (record["status"], record["reason"], record["queued"]["agent"]) == ("queued", None, None)
    assert queued.waiting() == [task["id"]]
    assert (task["name"], task["status"]) == (V0, "queued")
    assert task["script"]["repository"] == ""
    assert "from torch_lab.cli.queued import main" in task["script"]["diff"]
    assert "\ntorch-lab==" in task["script"]["requirements"]["pip"]
    shown = section(task)
    assert shown["config/width"] == ("5", "int")
    assert shown["config/betas"] == ("[0.9, 0.99]", "tuple")
    assert shown["config/api_key"] == ("***", "str")
    artifacts = {each["key"]: each for each in task["execution"]["artifacts"]}
    assert {key: each["mode"] for key, each in artifacts.items()} == {
        "queued": "input",
        "queued-source": "input",
    }
    assert queued.status(V0) == "queued"
    pulled = queued.lab.do("lab", "pull", V0)
    assert f"run {V0} has not ended yet: the ClearML server calls it queued" in pulled.err
    assert "`lab runs` says when it has" in pulled.err
    away = {"CLEARML_API_HOST": "http://127.0.0.1:9"}
    listed = queued.lab.done("lab", "runs", env=away)
    assert "queued runs are shown as the server told last: " in listed.err
    queued.server.call("tasks.dequeue", task=task["id"])
    wait_for(lambda: queued.status(V0) == "draft")
    assert "draft" in queued.lab.done("lab", "runs", env=away).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-g", "0"], "-g can't be given with --queue: the queue's agent has its own GPUs"),
        (["-g", "0"], "trainer.init.devices says how many of them the run is to use"),
        (["-o"], "--offline can't be given with --queue: a queue is on the server"),
        (["-s", "api_key=abc"], "--set api_key=*** is a secret, which isn't sent"),
        (
            ["-s", "api_key=abc"],
            "Let the script read it from the environment, and set it where the agent runs.",
        ),
        (["-s", "widht=3"], 'config has no widht; did you mean "width"?'),
        (["-s", "seed=-1"], "seed: expected an int from 0 to 4294967295"),
    ],
)
def test_what_makes_no_sense_there_is_refused_here(
    queued: QueuedLab, words: list[str], said: str
) -> None:
    outcome = queued.lab.do("train", HPARAMS, "--queue", queued.queue, *words)
    assert outcome.status == 2
    assert said in outcome.err
    assert queued.lab.runs() == []


def test_a_run_is_not_resumed_in_a_queue(queued: QueuedLab) -> None:
    outcome = queued.lab.do("train", "--resume", V0, "--queue", queued.queue)
    assert outcome.status == 2
    assert "--queue takes a new run, and --resume goes on with one" in outcome.err
    hint = "To train on in a queue, start a run from its checkpoint: checkpoint.checkpoint_task_id."
    assert hint in outcome.err


def test_an_unknown_queue_is_named_with_those_there_are(queued: QueuedLab) -> None:
    outcome = queued.lab.do("train", HPARAMS, "--queue", queued.queue[:-1])
    assert outcome.status == 2
    assert f"there is no queue {queued.queue[:-1]!r} on the ClearML server at" in outcome.err
    assert f'did you mean "{queued.queue}"?' in outcome.err
    assert queued.lab.runs() == []


def test_without_a_server_there_is_no_queue(queued: QueuedLab) -> None:
    words = ("train", HPARAMS, "--queue", "gpu")
    away = queued.lab.do(*words, env={"CLEARML_API_HOST": "http://127.0.0.1:9"})
    assert (away.status, "can't be reached" in away.err) == (2, True)
    offline = queued.lab.do(*words, env={"TORCH_LAB_OFFLINE": "true"})
    assert "--queue needs the ClearML server, and the setting `offline` is true" in offline.err
    none = {name: "" for name in queued.server.environment if name.startswith("CLEARML_")}
    unknown = queued.lab.do(*words, env=none)
    assert "--queue needs a ClearML server, and none is configured" in unknown.err
    assert "`clearml-init` writes a clearml.conf; docs/clearml.md has the rest." in unknown.err
    assert [away.status, offline.status, unknown.status] == [2, 2, 2]
    assert queued.lab.runs() == []


def test_a_checkpoint_that_lies_only_here_is_none_for_an_agent(queued: QueuedLab) -> None:
    lab = queued.lab
    lab.done("train", HPARAMS, "-o", "-s", "trainer.init.max_epochs=1")
    fine = ("-s", "checkpoint.checkpoint_task_id=00_tiny/hparams")
    outcome = lab.do("train", HPARAMS, "--queue", queued.queue, *fine)
    assert outcome.status == 2
    only_here = "is not on the ClearML server, and an agent may not see this machine's files"
    assert f"checkpoint 00_tiny/hparams {only_here}" in outcome.err
    assert f"`lab sync {V0}` sends the last and the best one of a run" in outcome.err
    path = lab.run(V0).path / "checkpoints" / "step-4.ckpt"
    key = "checkpoint.checkpoint_task_id"
    lab.done("train", HPARAMS, "--queue", queued.queue, "-s", f"{key}={path}")
    assert lab.run("00_tiny-hparams_v1").record["hparams"]["checkpoint"][key[11:]] == str(path)
    lab.done("lab", "sync", V0)
    # The newest run of the script is pinned: another may be the newest when the agent begins.
    lab.done("train", HPARAMS, "--queue", queued.queue, "-s", f"{key}={V0}")
    pinned = lab.run("00_tiny-hparams_v2").record
    assert pinned["hparams"]["checkpoint"][key[11:]] == lab.run(V0).record["id"]
    assert pinned["parent"]["name"] == V0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_moment_nothing_half_made_is_in_the_queue(queued: QueuedLab) -> None:
    lab = queued.lab
    for _ in range(8):
        started = lab.start_one("train", HPARAMS, "--queue", queued.queue)
        time.sleep(random.uniform(0.2, 4.0))
        os.killpg(started.pid, signal.SIGKILL)
        lab.ended(started)
    records = [lab.run(name).record for name in lab.begun()]
    ready = {each["queued"].get("task") for each in records if each["status"] == "queued"}
    wait_for(lambda: set(queued.waiting()) <= ready)  # a process may still be asking
    for each in records:
        if each["status"] != "queued":
            shown = lab.done("lab", "show", each["name"]).out
            assert "lost" in shown.splitlines()[0]
            assert f"it was on the way into the queue {queued.queue}" in shown
    for task in queued.waiting()[:1]:
        assert "completed after 8 batches" in queued.train(task)


# -- where the agent is -----------------------------------------------------------------------


def test_an_agent_that_sees_the_folder_begins_the_run_there(queued: QueuedLab) -> None:
    lab = queued.lab
    queued.lab.write(HPARAMS, (lab.root / HPARAMS).read_text() + MORE)
    task = queued.put("-s", "pause=0.0", "-s", "width=5")
    placeholder = lab.run(V0).record
    queued.edit(task, config__width="wide")
    assert "config/width: expected an int" in queued.train(task, status=2)
    assert lab.run(V0).record == placeholder
    queued.edit(task, config__width="7", config__betas="[0.8, 0.95]", trainer__init__max_epochs="3")
    # What is changed here by now is not what was queued.
    lab.write(MAIN, "raise SystemExit('not this code')\n")
    said = queued.train(task, {"WHERE": "there", "MY_KEY": "sesame"})
    assert "completed after 12 batches" in said
    record, config = lab.run(V0).record, lab.run(V0).record["hparams"]["config"]
    assert (record["id"], record["status"]) == (placeholder["id"], "completed")
    assert record["queued"]["agent"] == WORKER
    assert config["width"] == 7
    # What to type next gives the edited values too.
    assert "--set pause=0.0 --set width=7 --set 'betas=(0.8, 0.95)'" in said
    assert record["queued"]["edited"]["config.width"] == 7
    shown = [line.split() for line in lab.done("lab", "show", V0).out.splitlines()]
    assert ["config.width", "7", "(edited", "in", "ClearML)"] in shown
    assert ["trainer.init.max_epochs", "3", "(edited", "in", "ClearML)"] in shown
    assert ["config.pause", "0.0", "(--set)"] in shown
    assert config["betas"] == {"$type": "tuple", "value": [0.8, 0.95]}
    assert config["act"] == {"$type": "repr", "value": "torch.nn.modules.activation.ReLU"}
    assert config["where"] == "here"  # as it was resolved, whatever the agent's environment says
    assert lab.run(V0).checkpoint()["state_dict"]["hidden.0.weight"].shape == (7, 2)
    assert "sesame" not in (lab.run(V0).path / "run.json").read_text()
    sent = queued.server.task(task)
    assert (sent["id"], sent["name"], sent["status"]) == (task, V0, "completed")
    assert "torch_lab.cli.queued" in sent["script"]["diff"]  # a copy of the task runs it again
    losses = [row[3]["loss/train"] for row in lab.run(V0).rows() if "loss/train" in row[3]]
    assert [value for _, value in queued.server.scalars(task)[("loss", "train")]] == losses
    assert queued.server.logs(task) == []  # what is printed is the agent's to send
    assert sent["runtime"]["_abort_callback_timeout"] > 30
    assert queued.status(V0) == "completed"


def test_an_agent_with_a_file_system_of_its_own_makes_the_same_run(queued: QueuedLab) -> None:
    lab = queued.lab
    task = queued.put("-s", "width=5", "--dev-run", "2")
    # Its number is one more than others have in the project "test" of this server.
    (name,) = [each.name for each in lab.artifacts.iterdir() if each.name.startswith("dev_")]
    identity = lab.run(name).record["id"]
    with queued.elsewhere() as folder:
        assert "completed after 4 batches" in queued.train(task)
        there = json.loads((folder / "data" / "artifacts" / name / "run.json").read_text())
    assert (there["id"], there["name"], there["dev_run"]) == (identity, name, 2)
    assert queued.server.task(task)["status"] == "completed"
    assert lab.run(name).record["status"] == "queued"
    wait_for(lambda: queued.status(name) == "completed")
    assert "completed" in lab.done("lab", "show", name).out.splitlines()[0]
    outcome = lab.do("train", "--resume", name)
    assert outcome.status == 2
    said = f"run {name} is queued: an agent begins it\n`lab show {name}` says how far it is."
    assert said in outcome.err
    assert "has a task of its own: there is nothing to send" in lab.do("lab", "sync", name).err
    assert "weights from" in lab.infer(name, "width=5").err
    assert lab.run(name).record["status"] == "completed"  # what was fetched took its place


def test_a_secret_that_the_agent_lacks_is_missed(queued: QueuedLab) -> None:
    lab = queued.lab
    script = (lab.root / HPARAMS).read_text()
    lab.write(HPARAMS, script + 'hparams["config"]["api_key"] = "hunter2hunter2"\n')
    task = queued.put()
    said = queued.train(task, status=2)
    assert "config.api_key: a secret isn't sent, and the script has none here" in said
    assert b"hunter2hunter2" not in b"".join(  # the server has what other tests sent, too
        file.read_bytes() for file in (queued.server.root / "server").rglob("*") if file.is_file()
    )


def test_a_task_that_is_copied_in_the_web_page_is_another_run(queued: QueuedLab) -> None:
    task = queued.put()
    copy = queued.server.call("tasks.clone", task=task, new_task_name="my copy")["id"]
    queued.edit(copy, config__width="3")
    said = queued.train(copy)
    assert f"{V0} is another run here: this one is 00_tiny-hparams_v1" in said
    first, second = queued.lab.run(V0).record, queued.lab.run("00_tiny-hparams_v1").record
    assert first["id"] != second["id"]
    assert second["hparams"]["config"]["width"] == 3
    made = queued.server.task(copy)
    assert made["name"] == "00_tiny-hparams_v1"
    assert f"torch-lab-run:{second['id']}" in made["system_tags"]
    assert f"torch-lab-run:{first['id']}" not in made["system_tags"]


def test_an_interrupted_run_goes_on_when_its_task_is_queued_again(queued: QueuedLab) -> None:
    lab = queued.lab
    task = queued.put("-s", "pause=0.4")
    pid = queued.begin(task)
    wait_for(lambda: (lab.run(V0).path / "checkpoints" / "last.ckpt").exists())
    os.killpg(pid, signal.SIGTERM)
    assert lab.zygote.wait(pid) == 254  # what clearml-agent takes for stopped
    assert lab.run(V0).record["status"] == "aborted"
    wait_for(lambda: queued.server.task(task)["status"] == "stopped")
    said = queued.train(task)
    assert "from step-" in said
    assert "completed after 8 batches" in said
    assert len(lab.run(V0).record["resumes"]) == 1
    again = queued.train(task)  # a task that is run once more when it was completed
    assert f"{V0} is another run here: this one is 00_tiny-hparams_v1" in again


def test_an_agent_without_a_task_is_told(queued: QueuedLab, tmp_path: Path) -> None:
    script = queued.lab.write("script.py", "from torch_lab.cli.queued import main\nmain()\n")
    log = tmp_path / "log"
    assert (
        queued.lab.zygote.wait(queued.lab.zygote.start_script(script, cwd=tmp_path, log=log)) == 2
    )
    assert "CLEARML_TASK_ID is not set: only a ClearML agent runs a queued task" in log.read_text()


def test_a_task_that_nobody_queued_is_no_run(queued: QueuedLab) -> None:
    script = {"diff": "from torch_lab.cli.queued import main\nmain()\n"}
    made = queued.server.call("tasks.create", name="foreign", type="training", script=script)
    task = made["id"]
    said = queued.train(task, status=2)
    assert f"task {task} has no artifact 'queued': `train --queue` didn't make it" in said
    assert "Queue the run again with `train --queue`." in said


def test_the_order_of_a_newer_torch_lab_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "queued.json"
    file.write_text(json.dumps({"format": 2, "torch_lab": "9.0"}))
    with pytest.raises(ServerError) as caught:
        agent_questions._read(file)
    assert "the task was queued by torch-lab 9.0, which is newer than this" in str(caught.value)
    assert "Update torch-lab where the agent runs." in str(caught.value)


def test_a_folder_can_be_given_for_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_LAB_PROJECT_FOLDER", str(tmp_path / "folder"))
    monkeypatch.delenv("TORCH_LAB_ARTIFACTS", raising=False)
    sent = {"root": "/no/where", "artifacts": "/no/where/runs"}
    sent |= {"pyproject": '[tool.torch-lab]\nartifacts = "runs"\n', "task": "t"}
    order = Order("t", sent, Record(V0, "1", "queued"), tmp_path, Mirror(), untouched=True)
    root, settings = agent_side._home(order)
    assert root == tmp_path / "folder"
    assert settings.artifacts == root / "runs"


# -- what the record holds, and what it doesn't -----------------------------------------------


def test_recorded_values_go_before_the_scripts() -> None:
    here = {"lr": 0.1, "act": "ReLU", "new": 1, "list": [1, "abc"], "key": "sesame"}
    recorded = {"lr": 0.2, "act": Opaque("nn.ReLU"), "list": [3, "***"], "key": "***"}
    problems: list[str] = []
    laid = resolved._laid_over(here, recorded, (), problems)
    assert laid == {"lr": 0.2, "act": "ReLU", "list": [3, "abc"], "key": "sesame"}
    assert problems == []


def test_what_neither_has_is_named() -> None:
    problems: list[str] = []
    recorded = {"config": {"act": Opaque("nn.ReLU"), "pair": (1, "***")}}
    resolved._laid_over({"config": {"pair": (1, 2, 3)}}, recorded, (), problems)
    assert problems == [
        "config.act: nn.ReLU can't be sent, and the script has none here",
        "config.pair.1: a secret isn't sent, and the script has none here",
    ]


def test_requirements_are_what_pip_can_install_elsewhere() -> None:
    vcs = {"vcs": "git", "commit_id": "abc"}
    line = requirements._line
    assert line("torch", "2.9.0+cu126", None) == "torch==2.9.0"
    assert line("torch-lab", "2.0", {"url": "file:///src", "dir_info": {}}) == "torch-lab==2.0"
    assert line("mine", "1.0", {"url": "file:///mine", "dir_info": {"editable": True}}) is None
    url = {"url": "https://user:secret@example.com/a.git", "vcs_info": vcs}
    assert line("a", "1.0", url) == "a @ git+https://***@example.com/a.git@abc"
    assert line("b", "1.0", {"url": "https://example.com/b.whl"}) == "b @ https://example.com/b.whl"


# -- clearml-agent itself ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_clearml_agent_trains_what_is_queued_and_stops_what_is_aborted(queued: QueuedLab) -> None:
    lab = queued.lab
    first = queued.put("-s", "width=5")
    queued.edit(first, config__width="6")
    second = queued.put("-s", "pause=0.2", "-s", "trainer.init.max_epochs=100")
    with queued.daemon() as log:

        def status(task: str) -> str:
            return str(queued.server.task(task)["status"])

        def ended(task: str) -> bool:
            assert "Traceback" not in log.read_text(errors="replace"), log.read_text()
            return status(task) in ("completed", "stopped", "failed")

        wait_for(lambda: ended(first), timeout=120, every=0.5)
        assert status(first) == "completed", log.read_text()
        record = lab.run(V0).record
        assert (record["status"], record["queued"]["agent"]) == ("completed", WORKER)
        assert record["hparams"]["config"]["width"] == 6
        name = "00_tiny-hparams_v1"
        saved = lab.run(name).path / "checkpoints" / "last.ckpt"
        wait_for(saved.exists, timeout=120, every=0.2)
        queued.server.abort(second)
        wait_for(lambda: ended(second), timeout=120, every=0.5)
    record = lab.run(name).record
    assert (record["status"], status(second)) == ("aborted", "stopped")
    assert record["reason"] == "aborted in ClearML (SIGTERM)"
    lines = "".join(queued.server.logs(first)).splitlines()
    assert len([line for line in lines if line.startswith("completed after 8 batches")]) == 1
    assert EXPERIMENT in "".join(lines)
