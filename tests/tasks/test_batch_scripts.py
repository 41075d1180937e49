"""The parts of `lab submit`: options of sbatch, batch scripts, what Slurm answers, slurm.json."""

from __future__ import annotations

import math
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from helpers import Project
from torch_lab import settings
from torch_lab.errors import SettingsError, SlurmError
from torch_lab.store import slurm as stored_slurm
from torch_lab.store.paths import RunDirectory
from torch_lab.store.slurm import Submission
from torch_lab.tasks.submit import handing
from torch_lab.tasks.submit.layout import Layout
from torch_lab.tasks.submit.script import batch_script
from torch_lab.utils import sbatch


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (90, 5400),
        ("90", 5400),
        ("90:30", 5430),
        ("04:00:00", 14400),
        ("2-12", 216000),
        ("1-0:30", 88200),
        ("1-00:00:05", 86405),
        ("UNLIMITED", math.inf),
        ("soon", None),
        ("1:2:3:4", None),
        (True, None),
    ],
)
def test_limits_of_time(limit: object, seconds: float | None) -> None:
    assert sbatch.seconds(limit) == seconds


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("partition", "gpu", None),
        ("exclusive", True, None),
        ("setup", ["module load cuda"], None),
        ("nodes", 0, "expected a positive int, got 0 (int)"),
        ("gpus", "two", "expected a positive int, got 'two' (str)"),
        ("mem", 1.5, "expected a string, an int or true, got 1.5 (float)"),
        ("comment", "a\nb", "expected a string, an int or true"),
        ("warning", -1, "expected a positive number of seconds, got -1 (int)"),
        ("requeue", "no", "expected true or false, got 'no' (str)"),
        ("srun", "-v", "expected a list of options of srun, got '-v' (str)"),
        ("job-name", "x", "`lab submit` sets it itself"),
        ("partiton", "x", 'unknown option of sbatch; did you mean "partition"?'),
    ],
)
def test_what_options_may_be(key: str, value: object, said: str | None) -> None:
    found = sbatch.problem(key, value)
    assert found is None if said is None else said in str(found)


def test_all_mistakes_of_the_settings_at_once(project: Project) -> None:
    project.write("pyproject.toml", "[tool.torch-lab.slurm]\nprtition = 'x'\ntime = 'soon'\n")
    with pytest.raises(SettingsError) as caught:
        settings.load(project.root)
    assert "2 problems in the settings" in str(caught.value)
    assert "slurm.prtition: unknown option of sbatch" in str(caught.value)
    assert "slurm.time: expected a time such as" in str(caught.value)
    project.write("pyproject.toml", "[tool.torch-lab]\nslurm = 'gpu'\n")
    with pytest.raises(SettingsError, match="slurm: expected a table, got 'gpu'"):
        settings.load(project.root)


def test_a_warning_must_leave_time_to_save(project: Project) -> None:
    from torch_lab.tasks.submit import layout

    project.write("pyproject.toml", "[tool.torch-lab]\ngrace-period = 300\n")
    with pytest.raises(SettingsError) as caught:
        layout._require_time(None, 120, settings.load(project.root))
    assert str(caught.value) == (
        "slurm.warning is 120 s, and the grace period 300 s\n"
        "A run that is warned needs more than its grace period to be saved and requeued."
    )


def executed(script: str, tmp_path: Path, **variables: str) -> list[str]:
    """What a batch script has `srun` do: where it stands, the two variables, the words."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir(exist_ok=True)
    said = 'pwd; echo "$TORCH_LAB_ARTIFACTS"; echo "$_TORCH_LAB_SUBMITTED"; printf "%s\\n" "$@"'
    srun.write_text(f"#!/bin/sh\n{said}\n")
    srun.chmod(0o755)
    env = os.environ | {"PATH": f"{srun.parent}:{os.environ['PATH']}"} | variables
    done = subprocess.run(
        ["bash", "-c", script], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_script_finds_its_run_whatever_its_path_holds(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "it's a $HOME, 100%" / "00_a-hparams_v0")
    (run.code / "sub folder").mkdir(parents=True)
    layout = Layout({"comment": 'a "b" #c'}, srun=("--label",))
    text = batch_script(
        [(run, "abc")], layout, array=False, inside=Path("sub folder"), words=["--offline"]
    )
    where, artifacts, number, *words = executed(text, tmp_path)
    assert (where, artifacts) == (str(run.code / "sub folder"), str(run.path.parent))
    assert number == "abc"
    assert words[0] == "--label"
    assert words[-4:] == ["train", "--resume", "00_a-hparams_v0", "--offline"]
    lines = text.splitlines()
    log = str(run.path).replace("%", "%%")
    assert f'#SBATCH --output="{log}/slurm-%j.log"' in lines
    assert '#SBATCH --comment="a \\"b\\" #c"' in lines


def test_a_script_of_an_array_finds_the_run_of_its_task(tmp_path: Path) -> None:
    runs = [RunDirectory(tmp_path / "my runs" / f"00_a-{name}_v0") for name in ("x", "y")]
    for run in runs:
        run.code.mkdir(parents=True)
    pairs = [(runs[0], "first"), (runs[1], "second")]
    text = batch_script(pairs, Layout({}), array=True, inside=Path())
    job = {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "1"}
    assert executed(text, tmp_path, **job) == []  # it is in the run's own log
    said = (runs[1].path / "slurm-17_1.log").read_text().splitlines()
    assert said[:3] == [str(runs[1].code), str(runs[1].path.parent), "second"]
    assert said[-1] == "00_a-y_v0"


def test_a_script_ends_where_its_code_is_gone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "00_a-hparams_v0")
    text = batch_script([(run, "abc")], Layout({}), array=False, inside=Path())
    with pytest.raises(subprocess.CalledProcessError):
        executed(text, tmp_path)


def answering(folder: Path, text: str) -> None:
    """Let `sbatch` be a script that does this."""
    script = folder / "sbatch"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)


def test_what_sbatch_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    answering(tmp_path, "echo a greeting of the site; echo '17;big'")
    assert handing.hand_over(tmp_path / "slurm.sh", []) == handing.Taken("17", "big")
    answering(tmp_path, "exit 3")
    with pytest.raises(SlurmError, match="Slurm refuses the job: it doesn't say why"):
        handing.hand_over(tmp_path / "slurm.sh", [])
    monkeypatch.setattr(handing, "_PATIENCE", 0.2)
    answering(tmp_path, "exec sleep 60")
    with pytest.raises(handing.Unanswered, match="sbatch does not answer"):
        handing.hand_over(tmp_path / "slurm.sh", [])
    (tmp_path / "sbatch").write_bytes(b"\x7fELF")
    with pytest.raises(SlurmError, match="sbatch can't be run: Exec format error"):
        handing.hand_over(tmp_path / "slurm.sh", [])


def test_ctrl_c_waits_for_the_number_of_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    told: list[str] = []

    def press(times: int) -> None:
        with handing.not_cut_off():
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            told.append(f"after {times}")

    try:
        with pytest.raises(KeyboardInterrupt):
            press(1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(KeyboardInterrupt):
            press(2)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with handing.not_cut_off():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == ["after 1"]
    said = "waiting for sbatch, which may have made a job (once more ends at once)\n"
    assert capsys.readouterr().err == said * 2


def test_a_submission_survives_a_round_trip(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert stored_slurm.submission(run) is None
    written = Submission("17_3", "/a/slurm-17_3.log", 5.0, gone="cancelled")
    stored_slurm.write_submission(run, written)
    assert stored_slurm.submission(run) == written
    run.slurm_file.write_text('{"job": 17')
    assert stored_slurm.submission(run) is None


def test_words_are_quoted_as_a_shell_reads_them(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "00_a-hparams_v0")
    text = batch_script([(run, "abc")], Layout({}), array=False, inside=Path(), words=["a b"])
    assert shlex.split(text.splitlines()[-1])[-1] == "a b"
