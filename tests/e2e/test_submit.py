"""`lab submit`: runs handed to Slurm, begun by their jobs, warned, started again, listed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.tiny_project import HPARAMS, MAIN, RUN, Lab
from helpers import wait_for
from slurm_cluster import Cluster
from zygote import Zygote

FAR = """
from torch_lab.hparams import extend
hparams = extend("hparams.py", {"trainer.init.num_nodes": 2})
"""
EVERY_3 = ("-s", "checkpoint.every_n_steps=3")


@pytest.fixture
def cluster(tmp_path: Path, zygote: Zygote) -> Iterator[Cluster]:
    lab = Lab.copied(tmp_path / "a project", zygote)
    yield Cluster.beside(lab)
    assert lab.left_alive() == []


def listed(cluster: Cluster, *words: str) -> dict[str, str]:
    """The runs' statuses, as `lab runs` shows them."""
    data = json.loads(cluster.do("lab", "runs", "--json", *words).out)
    return {run["name"]: run["status"] for run in data}


def test_a_run_from_its_submission_to_its_end(cluster: Cluster) -> None:
    lab = cluster.lab
    go = lab.hold()
    submitted = cluster.do("lab", "submit", HPARAMS, *EVERY_3, "--time", "02:00:00", "--gpus", "1")
    assert submitted.status == 0, submitted.err
    assert f"run {RUN} (id " in submitted.out
    assert "queued in Slurm: job 17\n" in submitted.out
    assert f"log       data/artifacts/{RUN}/slurm-17.log" in submitted.out
    run = lab.run(RUN)
    assert run.record["status"] == "queued"
    assert "#SBATCH --signal=USR1@120\n" in cluster.script()
    assert (run.path / "slurm.sh").read_text() == cluster.script()

    cluster.queue(f"17|PENDING|Priority|2026-01-01T08:00:00|{RUN}")
    assert listed(cluster) == {RUN: "queued"}
    shown = cluster.do("lab", "show", RUN).out
    assert "job 17, pending (Priority) to start about 2026-01-01T08:00:00" in shown
    refused = cluster.do("train", "--resume", RUN)
    assert refused.status == 2
    assert f"run {RUN} is queued in Slurm: job 17 trains it\n" in refused.err
    assert "`scancel` that job first; or --force, where Slurm has it no more." in refused.err

    # Nothing that is edited now matters to the job.
    lab.append("raise SystemExit('edited')\n")
    (lab.root / HPARAMS).write_text("hparams = {}")
    started = cluster.start()
    wait_for((run.path / "checkpoints" / "step-3.ckpt").exists, timeout=240)
    cluster.queue(f"17|RUNNING|None|N/A|{RUN}")
    os.kill(started.pid, signal.SIGUSR1)
    go.touch()
    warned = lab.ended(started)
    assert warned.status == 128 + signal.SIGUSR1, warned.err
    assert cluster.told("scontrol") == ["requeue 17"]
    assert run.record["status"] == "aborted"
    assert run.record["slurm"] == {"job": "17", "restarts": 0}
    cluster.queue(f"17|PENDING|BeginTime|N/A|{RUN}")
    assert listed(cluster, "status=requeued") == {RUN: "requeued"}
    assert cluster.do("train", "--resume", RUN).status == 2

    assert cluster.run(SLURM_RESTART_COUNT="1").status == 0
    cluster.queue()
    assert listed(cluster) == {RUN: "completed"}
    assert run.record["resumes"][0]["slurm"] == {"job": "17", "restarts": 1}
    assert run.record["command"][:2] == ["lab", "submit"] or "submit" in run.record["command"]
    assert run.record["metrics"]
    # Slurm may start a job again whatever became of its run.
    again = cluster.run(SLURM_RESTART_COUNT="2")
    assert (again.status, "which it had begun, is completed" in again.out) == (0, True)


def test_several_scripts_get_a_job_each_or_one_array(cluster: Cluster) -> None:
    lab = cluster.lab
    other = lab.write(
        "tiny/experiments/00_tiny/wide.py",
        "from torch_lab.hparams import extend\nhparams = extend('hparams.py', {'config.width': 8})",
    )
    each = cluster.do("lab", "submit", HPARAMS, other)
    assert each.status == 0, each.err
    assert ["job 17" in each.out, "job 18" in each.out] == [True, True]
    together = cluster.do("lab", "submit", "--array", HPARAMS, other)
    assert together.status == 0, together.err
    assert "queued in Slurm: job 19_0\n" in together.out
    assert "queued in Slurm: job 19_1\n" in together.out
    assert "#SBATCH --array=0-1\n" in cluster.script(19)
    second = "00_tiny-wide_v1"
    array = {"SLURM_ARRAY_JOB_ID": "19", "SLURM_ARRAY_TASK_ID": "1"}
    assert cluster.run(19, **array).status == 0
    assert lab.run(second).record["status"] == "completed"
    assert lab.run(second).record["hparams"]["config"]["width"] == 8
    assert lab.run(second).record["slurm"]["job"] == "19_1"
    cluster.queue("17|PENDING|Priority|N/A|x", "19_0|RUNNING|None|N/A|x", "18|CANCELLED|None|N/A|x")
    assert listed(cluster) == {
        second: "completed",
        RUN: "queued",
        "00_tiny-hparams_v1": "starting",
        "00_tiny-wide_v0": "lost",
    }
    assert json.loads((lab.run("00_tiny-wide_v0").path / "slurm.json").read_text())["gone"]
    # What its job didn't begin can be begun here, or handed over again.
    resumed = cluster.do("lab", "submit", "--resume", "00_tiny-wide_v0")
    assert "queued in Slurm: job 20\n" in resumed.out, resumed.err
    cluster.queue("20|PENDING|Priority|N/A|x")
    assert listed(cluster, "experiment=00_tiny")["00_tiny-wide_v0"] == "queued"
    cluster.queue()
    assert cluster.do("train", "--resume", "00_tiny-wide_v0").status == 0


def test_an_interrupted_run_goes_on_in_a_job(cluster: Cluster) -> None:
    lab = cluster.lab
    go = lab.hold()
    own = cluster.env | {"SLURM_JOB_ID": "16"}  # a batch script of the user's
    started = lab.start_one("train", HPARAMS, *EVERY_3, env=own)
    wait_for((lab.artifacts / RUN / "checkpoints" / "step-3.ckpt").exists, timeout=240)
    os.kill(started.pid, signal.SIGUSR1)
    go.touch()
    assert lab.ended(started).status == 128 + signal.SIGUSR1
    cluster.queue("16|PENDING|BeginTime|N/A|mine")
    assert listed(cluster) == {RUN: "requeued"}
    assert "Slurm is to start it again" in cluster.do("lab", "rm", RUN, "--yes").err
    cluster.queue("16|CANCELLED|None|N/A|mine")
    assert listed(cluster) == {RUN: "aborted"}
    cluster.queue()
    asked = len(cluster.told("squeue"))
    assert "job 16, cancelled" in cluster.do("lab", "show", RUN).out
    assert len(cluster.told("squeue")) == asked  # that was Slurm's last word
    lab.append("raise SystemExit('edited')\n")  # it goes on with the code that it began with
    submitted = cluster.do("lab", "submit", "--resume", "auto", HPARAMS, *EVERY_3)
    assert submitted.status == 0, submitted.err
    assert "goes on in Slurm: job 17\n" in submitted.out
    cluster.queue(f"17|PENDING|Priority|N/A|{RUN}")
    assert listed(cluster) == {RUN: "queued"}
    twice = cluster.do("lab", "submit", "--resume", RUN)
    assert (twice.status, "is queued in Slurm: job 17 trains it" in twice.err) == (2, True)
    cluster.queue()
    more = cluster.do("lab", "submit", "--resume", RUN, "--nodes", "2")
    said = f"run {RUN} was begun on one node, and --nodes is 2: a run keeps its number of processes"
    assert said in more.err
    assert "Start a new run from its checkpoint: checkpoint.checkpoint_task_id." in more.err
    assert cluster.run().status == 0
    assert lab.runs() == [RUN]
    assert lab.run(RUN).record["status"] == "completed"


def test_a_run_without_its_code_goes_on_in_no_job(cluster: Cluster) -> None:
    lab = cluster.lab
    assert lab.train("fault=raises").status == 1
    (lab.run(RUN).path / "source.tar.gz").unlink()
    refused = cluster.do("lab", "submit", "--resume", RUN)
    assert refused.status == 2
    bundle = lab.run(RUN).path / "source.tar.gz"
    assert f"run {RUN} has no code: {bundle} is missing" in refused.err
    assert "`train --resume` goes on with the project's present code." in refused.err
    assert cluster.told("asked") == []


def test_what_slurm_refuses_leaves_nothing(cluster: Cluster) -> None:
    cluster.say("refuses", "sbatch: error: invalid partition specified: gup\n")
    refused = cluster.do("lab", "submit", HPARAMS, "--partition", "gup")
    assert refused.status == 2
    assert refused.err == ("error: Slurm refuses the job: invalid partition specified: gup\n")
    assert cluster.lab.runs() == []


def test_what_is_not_known_is_kept(cluster: Cluster) -> None:
    """sbatch may have made a job although it said nothing of it."""
    cluster.say("answer", "thank you\n")
    unknown = cluster.do("lab", "submit", HPARAMS)
    assert unknown.status == 2
    assert "sbatch says 'thank you', no number" in unknown.err
    assert f"It may have the job all the same: `squeue --name {RUN}` tells" in unknown.err
    cluster.queue(f"17|PENDING|Priority|N/A|{RUN}")
    assert listed(cluster) == {RUN: "queued"}
    assert cluster.run().status == 0
    assert listed(cluster) == {RUN: "completed"}


def test_where_slurm_can_not_be_asked(cluster: Cluster) -> None:
    assert cluster.do("lab", "runs").status == 0
    assert cluster.told("squeue") == []  # nothing waits for it
    assert cluster.do("lab", "submit", HPARAMS).status == 0
    for name, problem in (
        ("down", "squeue fails: slurm_load_jobs error: Unable to contact slurm"),
        ("hangs", "squeue does not answer"),
    ):
        cluster.say(name)
        said = cluster.do("lab", "runs")
        assert f"{RUN}" in said.out
        assert "queued" in said.out
        line = f"queued runs are shown as they were submitted: {problem}\n"
        assert (said.status, said.err) == (0, line)
    elsewhere = cluster.lab.do("lab", "runs", env={"PATH": "/usr/bin:/bin"})
    assert "squeue can't be run: No such file or directory" in elsewhere.err
    kept = cluster.do("lab", "rm", RUN, "--yes")
    assert "it waits in a queue" in kept.err


def test_mistakes_are_said_before_anything_is_written(cluster: Cluster) -> None:
    lab = cluster.lab
    devices = ("-s", "trainer.init.devices=2", "-s", "trainer.init.accelerator=gpu")
    two = ("-s", "trainer.init.num_nodes=2")
    lab.write("tiny/experiments/00_tiny/far.py", FAR)
    cases = [
        (
            [HPARAMS, "--time", "1"],
            "--time 1 is 60 s, and the job is warned 120 s before its end\n"
            "Ask for more: a number alone is minutes. [tool.torch-lab.slurm] has `warning`.",
        ),
        ([HPARAMS, "--time", "soon"], "expected a time such as 90 (minutes), 04:00:00 or 2-12"),
        (
            [HPARAMS, "--sbatch", "partiton=x"],
            "sbatch would not take this\n  --partiton: unknown option of sbatch; did you mean",
        ),
        ([HPARAMS, "--sbatch", "output=x"], "--output: `lab submit` sets it itself"),
        (
            [HPARAMS, "--sbatch", "setup=x"],
            "--setup: not an option of sbatch: it is setup in [tool.torch-lab.slurm]",
        ),
        ([HPARAMS, "--time", "9", "--sbatch", "time=9"], "--time is given twice"),
        (
            [HPARAMS, "--nodes", "2", "--gpus", "3"],
            "3 GPUs can't be shared equally by 2 nodes\n--gpus counts those of all nodes together.",
        ),
        (["none.py"], "none.py"),
        (
            ["--resume", "auto", HPARAMS, str(lab.root / HPARAMS)],
            f"--resume auto can't go on with {HPARAMS} twice: both would find the same run\n"
            "Name each script once.",
        ),
        ([], "which hyperparameter scripts?\ntype `lab submit HPARAMS`"),
        (
            ["--resume", RUN, HPARAMS],
            f"--resume {RUN} takes no script, got {HPARAMS}: the run knows its own\n"
            f"type `lab submit --resume {RUN}`, or `lab submit --resume auto {HPARAMS}`",
        ),
        (
            ["--resume", RUN, "--array"],
            f"--array is for several scripts, and --resume {RUN} is one run",
        ),
        (
            [HPARAMS, "-s", "config.api_key=abcdefgh"],
            "is a secret, which isn't recorded\n"
            "Let the script read it from the environment: a job gets that of its submission.",
        ),
        ([HPARAMS, HPARAMS, "-s", "wdth=3"], "width"),
        (
            [HPARAMS, *two, "--nodes", "3"],
            f"--nodes 3, and trainer.init.num_nodes is 2 in {HPARAMS}\n"
            "Leave one of them out: either gives the other.",
        ),
        (
            [HPARAMS, *devices, "--gpus", "1"],
            "trainer.init.devices is 2, and each node is asked for 1 GPU\n"
            "Ask for as many with --gpus, which counts those of all nodes, or change devices.",
        ),
        (
            [HPARAMS, "tiny/experiments/00_tiny/far.py", "--array"],
            f"{HPARAMS} and tiny/experiments/00_tiny/far.py need different nodes or GPUs, which an"
            " array can't have\nLeave --array out: each gets a job of its own.",
        ),
    ]
    for words, said in cases:
        outcome = cluster.do("lab", "submit", *words)
        assert outcome.status == 2, words
        assert said in outcome.err, outcome.err
    missing = lab.do("lab", "submit", HPARAMS, env={"PATH": "/usr/bin:/bin"})
    assert "there is no sbatch here: `lab submit` needs Slurm\n" in missing.err
    assert (
        "Type it on a node of the cluster; --dry-run shows the batch script anywhere."
        in missing.err
    )
    assert cluster.told("asked") == []
    assert lab.runs() == []


def test_settings_give_way_to_what_is_typed(cluster: Cluster) -> None:
    lab = cluster.lab
    settings = """
        [tool.torch-lab.slurm]
        partition = "slow"
        gres = "gpu:a100:2"
        cpus-per-task = 4
        mem = "32G"
        setup = ["module() { echo $@; }", "module load cuda"]
        srun = ["--cpu-bind=cores"]
        warning = 300
        requeue = false
    """
    lab.write("pyproject.toml", settings)
    words = ("--dry-run", "--partition", "fast", "--sbatch", "exclusive", "--nodes", "2")
    scripts = (MAIN, HPARAMS)  # as a shell's *.py gives them
    shown = cluster.do("lab", "submit", *scripts, *words, "-s", "trainer.init.accelerator=auto")
    assert shown.status == 0, shown.err
    assert f"left out, as no hyperparameter script: {MAIN}\n" in shown.err
    lines = shown.out.splitlines()
    for line in (
        *("--partition=fast", "--exclusive", "--gres=gpu:a100:2", "--mem=32G", "--no-requeue"),
        *("--nodes=2", "--ntasks-per-node=2", "--signal=USR1@300", "--cpus-per-task=4"),
    ):
        assert f"#SBATCH {line}" in lines
    assert "module load cuda" in lines
    assert lines[-1].startswith("srun --cpus-per-task=4 --cpu-bind=cores ")
    assert f"{RUN.removesuffix('0')}N" in shown.out
    assert lab.runs() == []
    assert cluster.told("asked") == []
    # Variables of sbatch's go before a script's lines, and of a job around it would bind this one.
    typed = {"SBATCH_PARTITION": "debug", "SBATCH_ACCOUNT": "me", "SLURM_MEM_PER_CPU": "1"}
    assert cluster.do("lab", "submit", HPARAMS, "--partition", "fast", **typed).status == 0
    env = (cluster.folder / "sbatch.env").read_text()
    assert "SBATCH_ACCOUNT=me" in env
    assert "SBATCH_PARTITION" not in env
    assert "SLURM_MEM_PER_CPU" not in env


def test_a_checkpoint_is_the_one_of_the_submission(cluster: Cluster) -> None:
    lab = cluster.lab
    assert lab.train().status == 0
    first = lab.run(RUN).record["id"]
    named = ("-s", "checkpoint.checkpoint_task_id='00_tiny/hparams'")
    submitted = cluster.do("lab", "submit", HPARAMS, *named, "-s", "checkpoint.weights_only=True")
    assert submitted.status == 0, submitted.err
    record = lab.run("00_tiny-hparams_v1").record
    assert record["hparams"]["checkpoint"]["checkpoint_task_id"] == first
    assert record["parent"]["id"] == first
    assert lab.train().status == 0  # the newest run of that script by now
    assert cluster.run().status == 0
    assert lab.run("00_tiny-hparams_v1").record["parent"]["id"] == first


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_by_itself(cluster: Cluster) -> None:
    """Nothing is forked or handed on by the test: batch script, srun and train are processes."""
    cluster.say("real")
    lab, run = cluster.lab, cluster.lab.run(RUN)
    go = lab.hold()
    assert cluster.do("lab", "submit", HPARAMS, *EVERY_3).status == 0
    wait_for((run.path / "checkpoints" / "step-3.ckpt").exists, timeout=240)
    holder = json.loads((run.path / "lock").read_text())
    os.kill(holder["pid"], signal.SIGUSR1)
    go.touch()
    ended = cluster.folder / "17.ended"
    wait_for(lambda: ended.exists() and len(ended.read_text().split()) == 2, timeout=240)
    assert ended.read_text().split() == [str(128 + signal.SIGUSR1), "0"]
    assert run.record["status"] == "completed"
    assert len(run.record["resumes"]) == 1
    log = (run.path / "slurm-17.log").read_text()
    assert "job 17 is requeued" in log
    assert "completed after" in log
    assert lab.runs() == [RUN]
