"""A run with every kind of item, sent by `lab sync`, read back by clearml's own SDK."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clearml_server.fixture import ClearMLServer
from helpers import Project, StoredRun
from torch_lab.recording.items import Item, items
from torch_lab.recording.machine import samples
from torch_lab.store.console_times import TimedLog
from torch_lab.store.journal import Row, rows
from torch_lab.store.paths import RunDirectory
from zygote import Zygote

READER = Path(__file__).parent / "read_with_sdk.py"
SECRET = "hunter2-of-the-test"
STATUSES = {
    "failed": ("failed", "for failed"),
    "aborted": ("stopped", "aborted: for aborted"),
    "incomplete": ("failed", "incomplete: for incomplete"),
    "running": ("failed", "lost: its process died without a word"),
}

MAIN = f'''
"""Records every kind of item."""

import math
from pathlib import Path

import plotly.graph_objects as go
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure

from torch_lab import record

PASSWORD = "{SECRET}"


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        return torch.full((3, 4, 4), i / 8)


class Net(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.net = torch.nn.Conv2d(3, 1, 4)
        self.rate = config["lr"]

    def training_step(self, batch, i):
        loss = self.net(batch).square().mean()
        self.log("loss/train", loss)
        self.log("part (train)/first", loss / 2)
        record().scalar("broken", math.nan if self.global_step % 4 == 1 else 1.0)
        print("step", self.global_step)
        return loss

    def validation_step(self, batch, i):
        self.log("loss/validate", self.net(batch).square().mean())
        record().image("seen", batch[:2], caption=["a cat", "a dog"])
        record().image("plain", batch[0])
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([1, 2])
        record().figure("curves/roc", figure)
        record().figure("curves/points", go.Figure(go.Scatter(y=[1, 2, 3])))
        record().table("per class", [{{"class": "cat", "f1": 0.5}}, {{"class": "dog", "f1": 1.0}}])
        record().text("answer", "forty-two")

    def on_train_end(self):
        record().artifact(Path(__file__), name="code")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.rate)


def train_config(config):
    loader = torch.utils.data.DataLoader(Data(), batch_size=4)
    return {{"module": Net(config), "train_dataloaders": loader, "val_dataloaders": loader}}
'''

HPARAMS = """
from pathlib import Path

hparams = {
    "task": {"project_name": "read/back", "tags": ["first", "second"], "task_type": "qc"},
    "checkpoint": {"every_n_steps": 2},
    "trainer": {"init": {
        "max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 1,
        "enable_progress_bar": False,
    }},
    "config": {
        "lr": 0.01, "betas": (0.9, 0.999), "model": {"width": 8, "extra": {}}, "names": [],
        "none": None, "on": True, "by_number": {1: "cat"}, "where": Path("data/raw"),
        "limit": float("inf"), "api_key": "abcdef123456",
    },
}
"""

CHILD = """
from torch_lab.hparams import extend

hparams = extend("hparams.py", {
    "checkpoint.checkpoint_task_id": "00_kinds-hparams_v0", "trainer.init.max_epochs": 4,
})
"""


@dataclass(frozen=True)
class Sent:
    """A run as it lies on disk, and as the SDK reads its task."""

    run: RunDirectory
    stored: StoredRun
    task: dict[str, Any]
    parent: dict[str, Any]
    others: dict[str, dict[str, Any]]  # by their status in the record

    @property
    def record(self) -> dict[str, Any]:
        return self.stored.record

    @property
    def rows(self) -> list[Row]:
        return list(rows(self.run))

    def items(self, name: str) -> list[Item]:
        return [item for item in items(self.run) if item.name == name]

    def plots(self, metric: str, variant: str) -> dict[int, Any]:
        """The plots of a series by their iterations."""
        return {
            plot["iter"]: json.loads(plot["plot_str"])
            for plot in self.task["plots"]
            if (plot["metric"], plot["variant"]) == (metric, variant)
        }

    def samples(self, metric: str, variant: str) -> dict[int, str]:
        """The addresses of the debug samples of a series by their iterations."""
        return {
            sample["iter"]: sample["url"]
            for sample in self.task["debug_samples"]
            if (sample["metric"], sample["variant"]) == (metric, variant)
        }


def make_project(folder: Path) -> Project:
    project = Project(folder)
    project.write("pyproject.toml", "")
    project.write("kinds/__init__.py", "")
    project.write("kinds/experiments/00_kinds/__main__.py", MAIN)
    project.write("kinds/experiments/00_kinds/hparams.py", HPARAMS)
    project.write("kinds/experiments/00_kinds/child.py", CHILD)
    remote = f"https://me:{SECRET}@example.com/team/kinds.git"
    commit = ("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "first")
    for words in (
        ("init", "-qb", "main"),
        ("remote", "add", "origin", remote),
        ("add", "."),
        commit,
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    project.write("kinds/__init__.py", "changed = True\n")
    return project


def task_of(run: StoredRun) -> str:
    return str(json.loads((run.path / "mirror.json").read_text())["task_id"])


def ended_otherwise(project: Project, run: StoredRun, status: str) -> StoredRun:
    """A run without checkpoints and items that is as the other but for its end."""
    name = f"00_kinds-{status}_v0"
    copied = project.run(name)
    copied.path.mkdir()
    for file in ("console.log", "console.times", "git.diff"):
        shutil.copy(run.path / file, copied.path)
    shutil.copytree(run.path / "metrics", copied.path / "metrics")
    changed = {"name": name, "id": hashlib.md5(name.encode()).hexdigest(), "status": status}
    changed |= {"reason": f"for {status}", "checkpoints": [], "parent": None}
    if status == "running":  # nobody holds its lock: it was killed
        changed |= {"reason": None, "ended": None}
    (copied.path / "run.json").write_text(json.dumps({**run.record, **changed}))
    return copied


def read(server: ClearMLServer, *tasks: str) -> dict[str, dict[str, Any]]:
    command = [sys.executable, str(READER), *tasks]
    environment = {**os.environ, **server.environment}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


@pytest.fixture(scope="module")
def sent(
    tmp_path_factory: pytest.TempPathFactory, zygote: Zygote, shared_clearml_server: ClearMLServer
) -> Sent:
    project = make_project(tmp_path_factory.mktemp("kinds"))
    log, server = project.root / "log", shared_clearml_server
    machine = {"TORCH_LAB_MACHINE_USE_SECONDS": "0.2"}
    for script, env in (("hparams", {}), ("child", machine)):
        path = f"kinds/experiments/00_kinds/{script}.py"
        pid = zygote.start("train", path, cwd=project.root, log=log, env=env)
        assert zygote.wait(pid) == 0, log.read_text()
    parent, run = (project.run(f"00_kinds-{name}_v0") for name in ("hparams", "child"))
    others = {status: ended_otherwise(project, parent, status) for status in STATUSES}
    names = [other.path.name for other in others.values()]
    project.command("lab", "sync", run.path.name, *names, env=server.environment)
    found = read(server, *map(task_of, (run, parent, *others.values())))
    return Sent(
        RunDirectory(run.path),
        run,
        found[task_of(run)],
        found[task_of(parent)],
        {status: found[task_of(other)] for status, other in others.items()},
    )


def test_a_run_is_known_by_name_project_type_and_tags(sent: Sent) -> None:
    assert sent.task["name"] == "00_kinds-child_v0"
    assert sent.task["project"] == "read/back"
    assert sent.task["type"] == "qc"
    assert sent.task["tags"] == ["first", "second"]
    assert sent.task["status"] == "completed"
    last = max(row.step for row in sent.rows)
    assert last <= sent.task["last_iteration"] <= sent.record["progress"]["step"]


def test_the_parent_that_was_local_only_was_sent_first(sent: Sent) -> None:
    assert sent.parent["name"] == "00_kinds-hparams_v0"
    assert sent.parent["status"] == "completed"
    assert sent.record["parent"]["name"] == sent.parent["name"]
    assert sent.parent["created"] <= sent.task["created"]


@pytest.mark.parametrize("status", STATUSES)
def test_a_run_has_its_true_status_and_reason(sent: Sent, status: str) -> None:
    task = sent.others[status]
    assert (task["status"], task["status_reason"]) == STATUSES[status]
    assert task["scalars"] == sent.parent["scalars"]


def test_hparams_are_read_whole_and_with_their_types(sent: Sent) -> None:
    config = sent.task["parameters_as_dict"]["hparams"]["config"]
    assert config == {
        "lr": 0.01,
        "betas": [0.9, 0.999],  # a tuple there, a list in the JSON that the test reads
        "model": {"width": 8, "extra": {}},
        "names": [],
        "none": None,
        "on": True,
        "by_number": {"1": "cat"},
        "where": "data/raw",
        "limit": math.inf,
        "api_key": "***",
    }
    assert sent.task["parameters"]["hparams/trainer/init/max_epochs"] == "4"


def test_scripts_code_and_packages_are_shown(sent: Sent) -> None:
    objects, script = sent.task["configuration"], sent.task["script"]
    assert objects["child.py"] == CHILD
    assert objects["__main__.py"] == MAIN.replace(SECRET, "***")
    assert json.loads(objects["environment"])["host"] == sent.record["host"]
    assert script["repository"] == "https://example.com/team/kinds.git"
    assert script["branch"] == "main"
    assert len(script["version_num"]) == 40
    assert "+changed = True" in script["diff"]
    assert "numpy==" in script["requirements"]["pip"]
    assert sent.task["runtime"]["hostname"] == sent.record["host"]


def test_numbers_have_their_true_steps_and_times(sent: Sent) -> None:
    logged: dict[str, dict[str, list[Any]]] = {}
    for row in sent.rows:
        for name, value in row.values.items():
            metric, _, variant = name.rpartition("/")
            if math.isfinite(value):
                place = logged.setdefault(
                    f"{metric or name}|{variant}", {"x": [], "y": [], "t": []}
                )
                place["x"].append(row.step)
                place["y"].append(value)
                place["t"].append(int(row.t * 1000))
    assert {"loss|train", "loss|validate", "part (train)|first", "broken|broken"} <= logged.keys()
    for name, expected in logged.items():
        metric, variant = name.split("|")
        found = sent.task["scalars"][metric][variant]
        assert (found["x"], found["y"]) == (expected["x"], expected["y"]), name
        assert sent.task["times"][metric][variant]["x"] == expected["t"], name


def test_what_is_no_number_is_left_out_and_said_once(sent: Sent) -> None:
    assert any(math.isnan(row.values.get("broken", 0.0)) for row in sent.rows)
    told = [line for line in sent.task["console"] if line.startswith("broken is nan")]
    assert len(told) == 1


def test_the_summary_has_the_last_and_the_best(sent: Sent) -> None:
    metrics = sent.record["metrics"]
    values = sent.task["single_values"]
    assert values["loss/train"] == metrics["loss/train"]["last"]
    assert values["best loss/validate"] == metrics["loss/validate"]["min"]


def test_the_console_is_whole_and_in_order(sent: Sent) -> None:
    printed = [line.text for line in TimedLog(sent.run.console(), 0.0).poll()]
    assert "step 5" in printed
    found = [line for line in sent.task["console"] if not line.startswith("broken is nan")]
    assert found == printed


def test_images_figures_tables_and_texts_are_shown(sent: Sent) -> None:
    for metric, variant in (("plain", "plain"), ("seen", "seen/0"), ("answer", "answer")):
        steps = {item.step for item in sent.items(metric)}
        assert sent.samples(metric, variant).keys() == steps
    captions = [each["layout"]["title"] for each in sent.plots("seen", "seen/1").values()]
    assert captions
    assert all("a dog" in caption for caption in captions)
    for plot in sent.plots("curves", "roc").values():
        assert plot["layout"]["images"][0]["source"].startswith("http")
    for plot in sent.plots("curves", "points").values():
        assert plot["data"][0]["type"] == "scatter"
    for plot in sent.plots("per class", "per class").values():
        assert plot["data"][0]["cells"]["values"] == [["cat", "dog"], ["0.5", "1.0"]]
    for name in ("curves/roc", "curves/points", "per class"):
        metric, _, variant = name.rpartition("/")
        found = sent.plots(metric or name, variant or name)
        assert found.keys() == {item.step for item in sent.items(name)}


def test_uploaded_files_are_those_of_the_run(
    sent: Sent, shared_clearml_server: ClearMLServer
) -> None:
    from urllib.request import urlopen

    (item,) = sent.items("plain")[:1]
    url = sent.samples("plain", "plain")[item.step]
    with urlopen(url, timeout=30) as answer:
        assert answer.read() == (sent.run.path / item.file).read_bytes()


def test_machine_use_is_shown_as_the_sdk_shows_it(sent: Sent) -> None:
    used = [sample.values["memory_bytes"] for sample in samples(sent.run)]
    found = sent.task["scalars"][":monitor:machine"]["memory_used_gb"]["y"]
    assert found
    assert found[-1] == round(used[-1] / 2**30, 3)


def test_models_are_the_checkpoints_of_the_run(sent: Sent) -> None:
    models = {model["name"]: model for model in sent.task["models"]["output"]}
    entries = {entry["name"]: entry for entry in sent.record["checkpoints"]}
    for kind in ("last", "best"):
        (model,) = [each for name, each in models.items() if kind in name]
        assert model["sha256"] == entries[kind]["sha256"]
        assert model["framework"] == "PyTorch"
        facts = {key: each["value"] for key, each in model["metadata"].items()}
        assert (facts["step"], facts["epoch"]) == ("8", "4")
        assert float(facts["loss/validate"]) == entries[kind]["metrics"]["loss/validate"]


def test_artifacts_are_the_source_the_record_and_the_users(sent: Sent) -> None:
    found = sent.task["artifacts"]
    (item,) = sent.items("code")
    files = [sent.run.source_bundle, sent.run.path / item.file]
    hashes = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert hashes <= {artifact["sha256"] for artifact in found.values()}
    assert any("run.json" in name for name in found)


def test_nothing_secret_was_sent(sent: Sent) -> None:
    text = json.dumps([sent.task, sent.parent])
    assert SECRET not in text
    assert "abcdef123456" not in text
