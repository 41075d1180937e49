"""`lab diff`: what it finds, and how it says so."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from torch_lab.cli import diff as cli
from torch_lab.errors import RunNotFound, UsageError
from torch_lab.store import environment, source
from torch_lab.store.claim import new_id
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Best, MetricSummary, Parent, Record, RecordWriter
from torch_lab.store.values import Opaque
from torch_lab.tasks import diff as task
from torch_lab.tasks.diff import Side
from torch_lab.tasks.table import printable

PACKAGE = "lab_project"
FOLDER = f"{PACKAGE}/experiments/00_digits"
MAIN = f"{FOLDER}/__main__.py"
HPARAMS = f"{FOLDER}/hparams.py"
CODE = "def train_config(config):\n    return {}\n"


def values(**config) -> str:
    return f'hparams = {{"task": {{}}, "config": {config!r}}}\n'


@pytest.fixture
def lab(project, monkeypatch):
    """A project with an experiment, in which one stands."""
    project.write(MAIN, CODE)
    project.write(HPARAMS, values(lr=0.1, width=8))
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("COLUMNS", "100")
    return project


def stored(lab, name: str, **fields) -> RunDirectory:
    """A run of the code as it is now."""
    directory = RunDirectory(lab.artifacts / name)
    directory.path.mkdir(parents=True)
    fields = {"id": new_id(), "status": "completed", "experiment": "00_digits"} | fields
    fields = {"script": HPARAMS, "seed": 0} | fields
    lock = Lock.acquire(directory, lost_after=60)
    RecordWriter(directory, lock, Record(name=name, **fields)).update()
    environment.write(directory, lab.root)
    source.bundle(lab.root / fields["script"].rpartition("/")[0], lab.root, directory.source_bundle)
    lock.release()
    return directory


def said(capsys, *words: str) -> str:
    assert cli.command(words) == 0
    return capsys.readouterr().out


def found(capsys, *words: str) -> dict:
    return json.loads(said(capsys, *words, "--json"))


def changed(directory: RunDirectory, **changes) -> None:
    """Change what a run recorded of its machine."""
    content = json.loads(directory.environment_file.read_text())
    directory.environment_file.write_text(json.dumps(content | changes))


def test_two_runs_that_are_alike(lab, capsys):
    stored(lab, "a_v0", hparams={"config": {"lr": 0.1}}, metrics={"loss": MetricSummary(1, 1, 1)})
    stored(lab, "a_v1", hparams={"config": {"lr": 0.1}}, metrics={"loss": MetricSummary(1, 1, 1)})
    text = said(capsys, "a_v0", "a_v1")
    assert text.startswith("A  a_v0  ")
    assert text.splitlines()[1].startswith("B  a_v1  ")
    same = "the same: hparams, metrics, environment, packages, code (3 files)"
    assert text.splitlines()[2:] == ["", same]
    data = found(capsys, "a_v0", "a_v1")
    assert [data[key] for key in ("hparams", "metrics", "environment", "packages")] == [{}] * 4
    assert data["code"] == []
    assert data["a"]["name"] == "a_v0"
    assert data["a"]["kind"] == "run"
    assert data["b"]["directory"] == str(lab.artifacts / "a_v1")


def test_hyperparameters_key_by_key(lab, capsys):
    nan = float("nan")
    a = {"same": 1, "nan": nan, "lr": 1e-3, "betas": (0.9, 0.99), "gone": "x", "on": True}
    b = {"same": 1, "nan": nan, "lr": 3e-3, "betas": [0.9, 0.99], "deep": {"new": None}, "on": 1}
    stored(lab, "a_v0", hparams={"config": a})
    stored(lab, "a_v1", hparams={"config": b})
    lines = said(capsys, "a_v0", "a_v1").splitlines()
    start = lines.index("hparams")
    assert [line.split(maxsplit=1) for line in lines[start + 1 : start + 7]] == [
        ["A", "B"],
        ["config.lr", "0.001        0.003"],
        ["config.betas", "(0.9, 0.99)  [0.9, 0.99]"],
        ["config.gone", "'x'          -"],
        ["config.on", "True         1"],
        ["config.deep.new", "-            None"],
    ]
    data = found(capsys, "a_v0", "a_v1")["hparams"]
    assert data["config.gone"] == {"a": "x"}
    assert data["config.deep.new"] == {"b": None}  # there, and null
    assert set(data) == {f"config.{key}" for key in ("lr", "betas", "gone", "on", "deep.new")}


def test_a_section_that_one_side_leaves_empty_is_no_value(lab, capsys):
    stored(lab, "a_v0", hparams={"task": {}, "config": {"a": {}, "b": {}}})
    stored(lab, "a_v1", hparams={"task": {"name": "x"}, "config": {"a": {}, "b": 1}})
    assert found(capsys, "a_v0", "a_v1")["hparams"] == {
        "task.name": {"b": "x"},
        "config.b": {"a": {}, "b": 1},
    }


def test_what_can_only_be_shown_is_compared_by_its_text(lab, capsys):
    stored(lab, "a_v0", hparams={"config": {"act": Opaque("torch.nn.ReLU")}})
    stored(lab, "a_v1", hparams={"config": {"act": Opaque("torch.nn.ReLU")}})
    stored(lab, "a_v2", hparams={"config": {"act": Opaque("torch.nn.GELU")}})
    assert found(capsys, "a_v0", "a_v1")["hparams"] == {}
    data = found(capsys, "a_v0", "a_v2")["hparams"]
    assert data == {"config.act": {"a": "torch.nn.ReLU", "b": "torch.nn.GELU"}}


def test_what_a_run_was_begun_with(lab, capsys):
    lab.write(f"{FOLDER}/small.py", values(lr=0.1))
    parent = Parent("aa" * 16, "a_v0", "best")
    stored(lab, "a_v0", seed=1)
    stored(lab, "a_v1", seed=2, parent=parent, dev_run=3, script=f"{FOLDER}/small.py")
    run = found(capsys, "a_v0", "a_v1")["run"]
    assert run == {
        "script": {"a": HPARAMS, "b": f"{FOLDER}/small.py"},
        "seed": {"a": 1, "b": 2},
        "dev run": {"b": 3},
        "parent": {"b": "a_v0 (aaaaaaaa), best"},
    }


def test_a_seed_that_hparams_give_is_said_once(lab, capsys):
    stored(lab, "a_v0", hparams={"seed": 1}, seed=1)
    stored(lab, "a_v1", hparams={"seed": 2}, seed=2)
    data = found(capsys, "a_v0", "a_v1")
    assert data["hparams"] == {"seed": {"a": 1, "b": 2}}
    assert data["run"] == {}


def test_metrics(lab, capsys):
    nan = float("nan")
    common = {"loss": MetricSummary(nan, 0.5, 2.0), "same": MetricSummary(1, 1, 1)}
    stored(
        lab,
        "a_v0",
        metrics={**common, "accuracy": MetricSummary(0.5, 0.1, 0.75)},
    )
    stored(
        lab,
        "a_v1",
        metrics={
            **common,
            "accuracy": MetricSummary(0.75, 0.1, 0.875),
            "odd": MetricSummary(1, 0, 2),
        },
        best=Best("odd", "max"),
    )
    lines = [line.split() for line in said(capsys, "a_v0", "a_v1").splitlines()]
    assert ["accuracy", "0.5", "0.75", "+0.25", "0.75", "0.875"] in lines
    assert ["odd", "-", "1", "-", "-", "2"] in lines  # as the run says, not as the name does
    assert ["metrics,", "their", "last", "values", "(2", "more", "are", "the", "same)"] in lines
    data = found(capsys, "a_v0", "a_v1")["metrics"]
    assert data["odd"] == {"b": {"last": 1, "min": 0, "max": 2}}
    assert set(data) == {"accuracy", "odd"}  # NaN is NaN


def test_machine_and_packages(lab, capsys):
    a, b = stored(lab, "a_v0"), stored(lab, "a_v1")
    gpu = {"index": "0", "name": "H100", "memory": 8 * 10**10, "driver": "550", "uuid": "x"}
    changed(a, host="box", packages={"torch": "2.6", "zlib": "1", "gone": "1"}, gpus=[gpu, gpu])
    passing = {
        "MASTER_PORT": "1",
        "PL_GLOBAL_SEED": "3",
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/torchinductor",
        "TORCH_LAB_X": "1",
        "OMP_NUM_THREADS": "7",
    }
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}
    changed(b, host="bex", packages={"torch": "2.7", "zlib": "1", "attrs": "2"}, slurm=slurm)
    content = json.loads(b.environment_file.read_text())
    changed(b, variables={**content["variables"], **passing}, time=0.0)
    data = found(capsys, "a_v0", "a_v1")
    assert data["environment"]["host"] == {"a": "box", "b": "bex"}
    assert data["environment"]["gpus"] == {"a": "2 x H100"}
    assert data["environment"]["driver"] == {"a": "550"}
    assert data["environment"]["SLURM_NTASKS"] == {"b": "2"}
    assert data["environment"]["OMP_NUM_THREADS"]["b"] == "7"
    assert not {"time", "MASTER_PORT", "PL_GLOBAL_SEED", "SLURM_JOB_ID"} & set(data["environment"])
    assert "TORCH_LAB_X" not in data["environment"]
    assert list(data["packages"]) == ["torch", "gone", "attrs"]  # what matters first
    assert "  torch  2.6  2.7\n" in said(capsys, "a_v0", "a_v1")


def test_many_packages_are_cut_and_said(lab, capsys):
    a, _ = stored(lab, "a_v0"), stored(lab, "a_v1")
    content = json.loads(a.environment_file.read_text())["packages"]
    changed(a, packages={**content, **{f"p{i}": "1" for i in range(50)}})
    assert "\n  and 10 more: --json has all\n" in said(capsys, "a_v0", "a_v1")
    assert len(found(capsys, "a_v0", "a_v1")["packages"]) == 50


def test_code_from_the_bundles(lab, capsys):
    lab.write(f"{PACKAGE}/models.py", "a = 1\nb = 2\n")
    stored(lab, "a_v0")
    lab.write(f"{PACKAGE}/models.py", "a = 1\nb = 3\nc = 4")
    lab.write(f"{PACKAGE}/new.py", "n = 1\n")
    (lab.root / f"{PACKAGE}/bin.dat").write_bytes(b"\0")
    stored(lab, "a_v1")
    lab.write(f"{PACKAGE}/models.py", "nothing of this is asked\n")
    text = said(capsys, "a_v0", "a_v1")
    expected = f"""\
code
  {PACKAGE}/bin.dat    added, not text
  {PACKAGE}/models.py  +2 -1
  {PACKAGE}/new.py     added, +1 -0

--- a/{PACKAGE}/models.py
+++ b/{PACKAGE}/models.py
@@ -1,2 +1,3 @@
 a = 1
-b = 2
+b = 3
+c = 4
\\ No newline at end of file

--- /dev/null
+++ b/{PACKAGE}/new.py
@@ -0,0 +1 @@
+n = 1
"""
    assert text.endswith(expected)
    assert "@@" not in said(capsys, "a_v0", "a_v1", "--stat")
    code = found(capsys, "a_v1", "a_v0")["code"]
    assert [(each["path"], each["status"]) for each in code] == [
        (f"{PACKAGE}/bin.dat", "removed"),
        (f"{PACKAGE}/models.py", "changed"),
        (f"{PACKAGE}/new.py", "removed"),
    ]
    assert code[1]["added"] == 1
    assert code[1]["removed"] == 2
    assert code[0]["diff"] == ""
    assert code[0]["why"] == "not text"


def test_a_file_that_has_only_moved(lab, capsys):
    lab.write(f"{PACKAGE}/old.py", "a = 1\n")
    for name in ("twin", "twins"):
        lab.write(f"{PACKAGE}/{name}.py", "b = 2\n")
    stored(lab, "a_v0")
    (lab.root / PACKAGE / "old.py").rename(lab.root / PACKAGE / "new.py")
    for name in ("twin", "twins"):
        (lab.root / PACKAGE / f"{name}.py").rename(lab.root / PACKAGE / f"other_{name}.py")
    text = said(capsys, "a_v0", "--now", "--stat")
    assert f"{PACKAGE}/{{old.py -> new.py}}" in text
    assert text.count("renamed") == 1
    assert text.count("added, +1 -0") == 2  # whose twin is whose, nobody knows
    moved = next(each for each in found(capsys, "a_v0", "--now")["code"] if each["why"])
    paths = {"a": f"{PACKAGE}/old.py", "b": f"{PACKAGE}/new.py"}
    assert moved | paths | {"why": "renamed", "status": "changed"} == moved


def test_the_diff_is_one_that_patch_takes(lab, capsys, tmp_path):
    lab.write(f"{PACKAGE}/models.py", "".join(f"line {i}\n" for i in range(40)))
    stored(lab, "a_v0")
    then = lab.root / f"{PACKAGE}/models.py"
    lines = then.read_text().splitlines(keepends=True)
    then.write_text("".join([*lines[:3], "new\n", *lines[5:30], "x\r\n", *lines[30:39], "no end"]))
    wanted = then.read_bytes()
    stored(lab, "a_v1")
    patch = found(capsys, "a_v0", "a_v1")["code"][0]["diff"] + "\n"
    folder = tmp_path / "patched"
    for path, content in source.read_members(lab.artifacts / "a_v0/source.tar.gz").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    words = ["git", "apply", "--whitespace=nowarn", "-"]
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    subprocess.run(words, cwd=folder, input=patch.encode(), check=True, env=env)
    assert (folder / f"{PACKAGE}/models.py").read_bytes() == wanted


def test_a_file_of_very_many_lines_is_only_said_to_differ(lab, capsys):
    lab.write(f"{PACKAGE}/table.py", "")
    stored(lab, "a_v0")
    lab.write(f"{PACKAGE}/table.py", "x\n" * 20_001)
    stored(lab, "a_v1")
    (entry,) = found(capsys, "a_v0", "a_v1")["code"]
    assert entry["why"] == "more than 20,000 lines"
    assert f"  {PACKAGE}/table.py  more than 20,000 lines\n" in said(capsys, "a_v0", "a_v1")


def test_scripts_whose_values_were_compared_are_not_code(lab, capsys):
    stored(lab, "a_v0")
    lab.write(f"{FOLDER}/other.py", values(lr=1))
    lab.write(HPARAMS, values(lr=0.5))
    stored(lab, "a_v1")
    # The script that both were begun with is shown, one that neither has to do with is not.
    assert [each["path"] for each in found(capsys, "a_v0", "a_v1")["code"]] == [HPARAMS]
    stored(lab, "b_v0", script=f"{FOLDER}/other.py")
    assert found(capsys, "a_v1", "b_v0")["code"] == []


def test_other_experiments_count_only_where_they_are_named(lab, capsys):
    stored(lab, "a_v0")
    lab.write(f"{PACKAGE}/experiments/01_other/__main__.py", CODE)
    lab.write(f"{PACKAGE}/experiments/01_other/model.py", "m = 1\n")
    stored(lab, "a_v1")
    assert found(capsys, "a_v0", "a_v1")["code"] == []
    lab.write(MAIN, f'{CODE}MODEL = "{PACKAGE}.experiments.01_other.model"\n')
    stored(lab, "a_v2")
    paths = [each["path"] for each in found(capsys, "a_v0", "a_v2")["code"]]
    assert paths == [
        f"{PACKAGE}/experiments/01_other/__main__.py",
        f"{PACKAGE}/experiments/01_other/model.py",
        MAIN,
    ]


def test_two_experiments_file_by_file(lab, capsys):
    clone = f"{PACKAGE}/experiments/01_wider"
    lab.write(f"{clone}/__main__.py", CODE.replace("{}", "{1: 2}"))
    lab.write(f"{clone}/hparams.py", values(lr=0.1, width=16))
    lab.write(f"{clone}/more.py", "more = 1\n")
    lab.write(f"{clone}/origin.json", "{}")  # where it came from is no code
    text = said(capsys, "00_digits", clone)
    folders = f"{PACKAGE}/experiments/{{00_digits -> 01_wider}}"
    for line in (
        f"A  {FOLDER}",
        f"B  {clone}",
        "  config.width  8  16",
        f"  {folders}/__main__.py",
        f"  {folders}/hparams.py",
        f"--- a/{MAIN}",
        f"+++ b/{clone}/__main__.py",
    ):
        assert line in text
    assert "origin.json" not in text
    assert "environment" not in text
    data = found(capsys, "00_digits", "01_wider")
    assert [each["status"] for each in data["code"]] == ["changed", "changed", "added"]
    assert data["packages"] is None
    assert data["a"]["kind"] == "experiment"
    assert data["a"]["experiment"] == "00_digits"


def test_a_run_and_a_script_as_it_is_now(lab, capsys):
    script = lab.root / HPARAMS
    hparams = task.named(str(script), _settings(lab)).hparams
    stored(lab, "a_v0", hparams=hparams)
    data = found(capsys, "a_v0", HPARAMS)
    assert data["hparams"] == {}
    assert data["code"] == []
    assert data["metrics"] is None
    lab.write(HPARAMS, values(lr=0.2, width=8))
    data = found(capsys, "a_v0", HPARAMS)
    assert data["hparams"] == {"config.lr": {"a": 0.1, "b": 0.2}}
    assert data["b"]["kind"] == "script"


def _settings(lab):
    from torch_lab import settings

    return settings.load(lab.root)


def test_secrets_are_masked_on_both_sides(lab, capsys):
    lab.write(HPARAMS, values(api_key="abcdef0123456789", lr=1))
    hparams = task.named(HPARAMS, _settings(lab)).hparams
    stored(lab, "a_v0", hparams=hparams)
    lab.write(HPARAMS, values(api_key="0123456789abcdef", lr=1))
    text = said(capsys, "a_v0", HPARAMS) + said(capsys, "a_v0", HPARAMS, "--json")
    assert "abcdef" not in text
    assert "the same: hparams, code (3 files)" in text


def test_the_working_tree_since_a_run(lab, capsys):
    script = task.named(HPARAMS, _settings(lab))
    hparams = {**script.hparams, "config": {"lr": 0.7, "width": 8}}
    stored(lab, "a_v0", hparams=hparams, overrides=("lr=0.7",))
    text = said(capsys, "a_v0", "--now")
    assert "B  the working tree  as it is now" in text
    assert "the same: hparams, environment, packages, code (3 files)" in text
    lab.write(MAIN, f"{CODE}# more\n")
    lab.write(HPARAMS, values(lr=0.3, width=16))
    data = found(capsys, "a_v0", "--now")
    assert data["hparams"] == {"config.width": {"a": 8, "b": 16}}  # lr was overridden then
    assert [each["path"] for each in data["code"]] == [MAIN, HPARAMS]
    assert data["metrics"] is None


def test_the_commit(lab, capsys):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *identity, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "-q", "-b", "main")
    lab.write(".gitignore", "data/\n")
    commits = []
    for number in range(2):
        lab.write(f"{PACKAGE}/models.py", f"m = {number}\n")
        git("add", "-A")
        git("commit", "-qm", "more")
        commits.append(git("rev-parse", "HEAD"))
        stored(lab, f"a_v{number}")
    data = found(capsys, "a_v0", "a_v1")
    assert data["run"] == {"commit": dict(zip("ab", commits, strict=True))}
    assert [each["path"] for each in data["code"]] == [f"{PACKAGE}/models.py"]
    assert found(capsys, "a_v0", "--now")["run"] == data["run"]
    git("checkout", "-qb", "side")
    assert found(capsys, "a_v1", "--now")["run"] == {"branch": {"a": "main", "b": "side"}}


def test_a_script_that_is_gone_or_broken_leaves_the_code(lab, capsys):
    stored(lab, "a_v0", hparams={"config": {"lr": 0.1}})
    lab.write(HPARAMS, 'hparams = {"tsak": {}, "config": {"lr": 0.2}}\n')
    data = found(capsys, "a_v0", "--now")
    assert "tsak" in data["notes"][0]
    assert data["hparams"]["config.lr"] == {"a": 0.1, "b": 0.2}
    lab.write(HPARAMS, "hparams = {\n")
    data = found(capsys, "a_v0", "--now")
    assert data["hparams"] is None
    assert len(data["code"]) == 1
    (lab.root / HPARAMS).unlink()
    text = said(capsys, "a_v0", "--now")
    assert f"{HPARAMS} is gone: hyperparameters aren't compared" in text
    assert f"  {HPARAMS}  removed" in text
    (lab.root / MAIN).unlink()
    with pytest.raises(
        UsageError, match="the experiment of run a_v0 isn't in the working tree any more"
    ) as e:
        cli.command(["a_v0", "--now"])
    assert "Name what to compare it with: `lab diff RUN SCRIPT`." in str(e.value)


def test_an_experiment_of_several_scripts_has_no_values_of_its_own(lab, capsys):
    other = f"{PACKAGE}/experiments/01_other"
    lab.write(f"{other}/__main__.py", CODE)
    lab.write(f"{other}/one.py", values(lr=1))
    assert found(capsys, "00_digits", other)["hparams"] is not None  # of its only script
    lab.write(f"{other}/two.py", values(lr=2))
    data = found(capsys, "00_digits", other)
    assert data["hparams"] is None
    assert "has several scripts, none of them hparams.py" in data["notes"][0]
    for name in ("one", "two"):
        (lab.root / other / f"{name}.py").unlink()
    assert "no hyperparameter script" in found(capsys, FOLDER, other)["notes"][0]


def test_a_run_without_its_code(lab, capsys):
    stored(lab, "a_v0").source_bundle.unlink()
    stored(lab, "a_v1").source_bundle.write_bytes(b"torn")
    text = said(capsys, "a_v0", "a_v1")
    assert "a_v0 has no source.tar.gz: its code can't be compared" in text
    assert "is damaged: not a gzip file: its code can't be compared" in text
    assert "\ncode" not in text
    assert found(capsys, "a_v0", "a_v1")["code"] is None


def test_a_run_without_environment(lab, capsys):
    stored(lab, "a_v0").environment_file.write_text("[")
    stored(lab, "a_v1").git_diff.unlink()
    data = found(capsys, "a_v0", "a_v1")
    assert data["environment"] is None
    assert data["packages"] is None


def test_a_narrow_terminal_has_long_values_one_below_the_other(lab, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "48")
    long = {"layers": list(range(20)), "lr": 1}
    stored(lab, "a_v0", hparams={"config": long})
    stored(lab, "a_v1", hparams={"config": {"layers": list(range(21)), "lr": 2}})
    lines = said(capsys, "a_v0", "a_v1").splitlines()
    start = lines.index("hparams")
    assert lines[start + 1 : start + 6] == [
        "             A  B",
        "  config.lr  1  2",
        "  config.layers",
        f"    A {list(range(20))}",
        f"    B {list(range(21))}",
    ]


def test_long_paths_are_cut_in_the_list_of_files(lab, capsys, monkeypatch):
    path = f"{PACKAGE}/{'deep/' * 8}model.py"
    stored(lab, "a_v0")
    lab.write(path, "m = 1\n")
    stored(lab, "a_v1")
    monkeypatch.setenv("COLUMNS", "50")
    lines = said(capsys, "a_v0", "a_v1").splitlines()
    line = lines[lines.index("code") + 1]
    assert len(line) == 50
    assert line.endswith("/model.py  added, +1 -0")
    assert f"+++ b/{path}" in lines


def test_nothing_steers_the_terminal(lab, capsys):
    stored(lab, "a_v0")
    lab.write(f"{PACKAGE}/evil.py", "# \x1b[2J\ttab \x07\n")
    stored(lab, "a_v1", hparams={"config": {"\x1b[31mkey": "\x1b[0m"}})
    text = said(capsys, "a_v0", "a_v1")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"+# \x1b[2J	tab \x07" in text
    assert printable("ü 漢\n") == "ü 漢\\n"


def test_colors_on_a_terminal(lab):
    a, b = (
        Side("script", name, "", Path(), hparams={"lr": lr}) for name, lr in (("a", 1), ("b", 2))
    )
    text = task.describe(task.compare(a, b), color=True, width=80)
    assert "\x1b[31mA  a\x1b[0m" in text
    assert "  lr  \x1b[31m1\x1b[0m  \x1b[32m2\x1b[0m" in text
    assert "\x1b" not in task.describe(task.compare(a, b))


def test_what_is_wrong_with_the_words(lab):
    stored(lab, "00_digits-hparams_v0")
    for words, message in (
        ([], "lab diff takes two runs, scripts or experiments"),
        (["a"], "lab diff takes two runs, scripts or experiments, got 1"),
        (["a", "b", "--now"], "lab diff --now takes one run, got 2"),
        (["--now"], "lab diff --now takes one run"),
    ):
        with pytest.raises(UsageError) as caught:
            cli.command(words)
        assert caught.value.message == message
    with pytest.raises(UsageError) as caught:
        cli.command(["a"])
    assert caught.value.hint == (
        "`lab diff A B`, or `lab diff RUN --now` for what has changed since"
    )
    with pytest.raises(UsageError, match="lab diff compares whole runs, not checkpoints") as e:
        cli.command(["00_digits-hparams_v0:best", "00_digits"])
    assert e.value.hint == "Leave the :best out."
    with pytest.raises(RunNotFound, match='no run "xxx'):
        cli.command(["x" * 5000, "x" * 5000 + ".py"])
    with pytest.raises(RunNotFound, match='no run "00_digit_"') as caught:
        cli.command(["00_digit_", "00_digits"])
    assert "There is the experiment 00_digits, too." in str(caught.value)


def test_numbers_of_processes(lab, capsys):
    stored(lab, "a_v0")
    stored(lab, "b_v0", ledger={"processes": 4})
    told = found(capsys, "a_v0", "b_v0")["environment"]
    assert told == {"processes": {"a": "1", "b": "4"}}
    assert "processes" not in said(capsys, "b_v0", "--now")
