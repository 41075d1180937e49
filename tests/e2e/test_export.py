"""`lab export` in the tiny project: the files it writes, and what it says where it writes none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_project import MAIN, RUN, Lab

from helpers import environment
from zygote import Zygote

PLAIN = "00_tiny-hparams_v1"
BARE = """\
import sys

import torch

extra = {"torch-lab.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
x = torch.linspace(0, 1, 10).reshape(5, 2)
torch.save((program(x), extra), sys.argv[2])
strangers = {name for name in sys.modules if name.split(".")[0] in ("torch_lab", "tiny")}
assert not strangers, strangers
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, zygote: Zygote) -> Lab:
    """A run of a TrainLabModule, and one of a plain LightningModule; tests only read them."""
    lab = Lab.copied(tmp_path_factory.mktemp("export") / "my project", zygote)
    assert lab.train().status == lab.train("module=plain").status == 0
    return lab


@pytest.fixture
def copied(trained: Lab, tmp_path: Path) -> Lab:
    shutil.copytree(trained.root, tmp_path / "copied")
    return Lab(tmp_path / "copied", trained.zygote)


def weights(lab: Lab, run: str = RUN, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = lab.run(run).checkpoint(name)["state_dict"]
    return found


def test_a_program_runs_with_torch_alone(trained: Lab, tmp_path: Path) -> None:
    out = tmp_path / "some where" / "net.pt2"
    words = ("lab", "export", "00_tiny/hparams", "--set", "depth=1", "--out", out)
    done = trained.do(*words, env={"TMPDIR": str(tmp_path)})
    assert (done.status, done.err) == (0, "")
    module = "tiny.experiments.00_tiny.__main__"
    record = trained.run(PLAIN).record
    size, *lines = done.out.splitlines()
    assert size.startswith(f"{out}, ")
    assert lines == [
        f"  run       {PLAIN} ({record['id'][:8]}), checkpoint last (epoch 2, step 8)",
        f"  model     {module}.Network, 12 parameters",
        "  input     x float32 (batch, 2)",
        "  output    float32 (batch, 1)",
        "  compared  with the module on 1, 2 and 4 samples of train_dataloaders:"
        " equal, bit for bit",
    ]
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert list(tmp_path.glob("*hparams*")) == []  # nor what was unpacked
    answer = tmp_path / "answer.pt"
    words = [sys.executable, "-I", "-c", BARE, out, answer]
    subprocess.run(words, cwd=tmp_path, env=environment(), check=True)
    found, extra = torch.load(answer, weights_only=True)
    about = json.loads(extra["torch-lab.json"])
    entry = next(each for each in record["checkpoints"] if each["name"] == "last")
    assert (about["run_id"], about["checkpoint_sha256"]) == (record["id"], entry["sha256"])
    layer = {k.rpartition(".")[2]: v for k, v in weights(trained, PLAIN).items()}
    x = torch.linspace(0, 1, 10).reshape(5, 2)
    assert torch.equal(found, (x @ layer["weight"].T + layer["bias"]).mean(1, keepdim=True))


@pytest.mark.parametrize("run", [RUN, PLAIN])
def test_weights_are_those_of_the_checkpoint(trained: Lab, tmp_path: Path, run: str) -> None:
    from safetensors.torch import load_file

    out = tmp_path / "net.safetensors"
    done = trained.do("lab", "export", f"{run}:step-3", "--out", out, "--json")
    said = json.loads(done.out)
    assert said["file"] == str(out)
    assert said["size"] == out.stat().st_size
    assert said["compared"] == {
        "samples": [1, 2, 4],
        "of": "train_dataloaders",
        "apart": 0.0,
        "problem": "",
    }
    assert said["metadata"]["checkpoint"] == "step-3"
    expected, found = weights(trained, run, "step-3"), load_file(out)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_checkpoint_file_names_its_run(trained: Lab, tmp_path: Path) -> None:
    folder = trained.artifacts / RUN / "checkpoints"
    out = tmp_path / "net.safetensors"
    done = trained.do("lab", "export", folder / "last.ckpt", "--out", out, "--json")
    assert json.loads(done.out)["metadata"]["run"] == RUN
    shutil.copy(folder / "last.ckpt", tmp_path)
    done = trained.do("lab", "export", tmp_path / "last.ckpt", "--out", out)
    assert done.status == 2
    assert "lies in no run's directory: which code it is of isn't known" in done.err
    assert "Name a run, or a checkpoint of it: `lab export RUN:NAME`." in done.err


def test_without_its_data_a_model_is_exported_with_an_example(copied: Lab, tmp_path: Path) -> None:
    main = copied.root / MAIN
    main.write_text(main.read_text().replace("return 16", "return int(Path('count').read_text())"))
    copied.write("count", "16")
    assert copied.train().status == 0
    (copied.root / "count").unlink()
    run = copied.newest().path.name
    out = tmp_path / "net.pt2"
    done = copied.do("lab", "export", run, "--out", out)
    assert (done.status, out.exists()) == (2, False)
    assert f"train_config of run {run} failed (FileNotFoundError" in done.err
    assert "  predict_dataloaders: FileNotFoundError: " in done.err
    assert "\nGive an example of the model's input: --input FILE.npy" in done.err
    np.save(copied.root / "x.npy", np.zeros((3, 2), np.float32))
    done = copied.do("lab", "export", run, "--out", out, "--input", "x.npy")
    assert done.status == 0, done.err
    assert "with the module on 1, 2 and 3 samples of x.npy: equal, bit for bit" in done.out
    done = copied.do("lab", "export", run, "--out", tmp_path / "net.safetensors")
    assert "  compared  tensor by tensor: equal, bit for bit\n            not on data: " in done.out


def test_what_the_record_lacks_is_asked_for(copied: Lab, tmp_path: Path) -> None:
    run = copied.run(RUN)
    record = run.record
    record["hparams"]["config"]["depth"] = {"$type": "repr", "value": "<a depth>"}
    record["hparams"]["config"]["made"] = {"$type": "repr", "value": "<made>"}
    (run.path / "run.json").write_text(json.dumps(record))
    words = ("lab", "export", RUN, "--out", tmp_path / "net.pt2")
    done = copied.do(*words, "--set", "made=[1, 2]")
    assert done.status == 2
    assert done.err == (
        f"error: the record of run {RUN} doesn't hold config.depth (only its repr was kept:"
        " <a depth>)\nGive what it lacks: --set config.depth=VALUE.\n"
    )
    assert copied.do(*words, "--set", "made=[1, 2]", "--set", "config.depth=1").status == 0


def test_code_from_elsewhere_is_run_when_it_is_trusted(copied: Lab, tmp_path: Path) -> None:
    run = copied.run(RUN)
    (run.path / "run.json").write_text(json.dumps(run.record | {"fetched": {"task_id": "1"}}))
    out = tmp_path / "net.pt2"
    done = copied.do("lab", "export", RUN, "--out", out)
    assert (done.status, out.exists()) == (2, False)
    assert done.err == (
        f"error: run {RUN} is not of this project (data/artifacts): lab export would run the code"
        " that lies with it\nIf you know where it comes from: --trust.\n"
    )
    assert copied.do("lab", "export", RUN, "--out", out, "--trust").status == 0
    assert out.exists()


def test_a_model_that_torch_can_not_read_is_told_with_its_line(copied: Lab) -> None:
    main = copied.root / MAIN
    forward = "        if x.sum() > 0:\n            x = -x\n        return self.hidden(x)"
    main.write_text(main.read_text().replace("        return self.hidden(x)", forward))
    assert copied.train().status == 0
    copied.write("net.pt2", "what was there")
    done = copied.do("lab", "export", copied.newest().path, "--out", "net.pt2")
    assert done.status == 2
    line = main.read_text()[: main.read_text().index("if x.sum()")].count("\n") + 1
    assert f"\n  at {MAIN}:{line}: if x.sum() > 0:\n" in done.err
    assert "Traceback" not in done.err
    assert (copied.root / "net.pt2").read_text() == "what was there"
    assert not list(copied.root.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "error: lab export takes one run\n`lab runs` lists the runs\n"),
        (("a", "b", "--out", "x.pt2"), "error: lab export takes one run, got 2\n"),
        ((RUN,), f"lab export needs --out FILE\nfor instance `lab export {RUN} --out model.pt2`\n"),
        ((RUN, "--out", "net.onnx"), "expected a name that ends in .safetensors, .pt2, "),
        ((RUN, "--out", "tiny"), f"is a folder\nwrite --out tiny/{RUN}.safetensors\n"),
        ((RUN, "--out", "x.pt2", "--set", "widht=3"), 'config has no widht; did you mean "width"'),
        ((RUN, "--out", "x.pt2", "--batch-size", "0"), "--batch-size takes a positive number"),
        ((f"{RUN}:bst", "--out", "x.pt2"), f"run {RUN} has no checkpoint 'bst'"),
        (("00_tiny-hparms", "--out", "x.pt2"), "Did you mean "),
    ],
    ids=["none", "two", "out", "ending", "folder", "key", "count", "checkpoint", "run"],
)
def test_mistakes(trained: Lab, words: tuple[str, ...], said: str) -> None:
    done = trained.do("lab", "export", *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert not (trained.root / "x.pt2").exists()


def test_a_server_may_have_a_run_that_is_unknown(trained: Lab) -> None:
    env = {"CLEARML_API_HOST": "http://127.0.0.1:1"}
    done = trained.do("lab", "export", "nothing", "--out", "x.pt2", env=env)
    assert "`lab pull RUN` looks for it on the ClearML server." in done.err
