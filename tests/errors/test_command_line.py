"""Mistakes in what was typed: each answered with what was found and what to type."""

from __future__ import annotations

import pytest
from said import FOLDER, HPARAMS, MAIN, RUN, Lab

H = HPARAMS
EXPERIMENT = FOLDER.rpartition("/")[2]
SET = (
    "--set takes KEY=VALUE, got {!r}\n"
    "for instance `--set lr=1e-3` or `--set trainer.init.max_epochs=5`"
)
DEV = (
    "--dev-run takes a number of batches or a fraction of them, got {!r}\n"
    "write `--dev-run 3` for three batches, `--dev-run 0.1` for a tenth of them"
)
GPUS = (
    "--gpu-devices takes the numbers of GPUs, got {!r}\n"
    "write `-g 0` for the first GPU, `-g 0,1` for the first two"
)
WHICH = "which hyperparameter script?\ntype `train HPARAMS`"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train", WHICH),
        ("train --resume auto", "which hyperparameter script?\ntype `train --resume auto HPARAMS`"),
        (
            f"train {H} {FOLDER}/small.py --debug",
            "--debug takes one script\nstart one command for each",
        ),
        (f"train {H} -j 0", "--jobs takes a positive number, got '0'\nwrite `--jobs 5`"),
        (
            "train --resume r -j 2",
            "--jobs is for several scripts, and --resume r takes none",
        ),
        (
            f"train {H} {H} -g 0 -j 2",
            "-g and -j can't be given together: with -g, one command runs on each of the GPUs\n"
            "Leave out -j, or -g to train without naming GPUs.",
        ),
        (
            f"train {H} {H} --resume auto",
            f"--resume auto can't go on with {H} twice: both would find the same run\n"
            "Name each script once.",
        ),
        (f"train {H} --resum r", 'unknown option --resum\ndid you mean "--resume"?'),
        (
            f"train {H} --lr 3",
            "unknown option --lr\na hyperparameter is changed with `--set lr=VALUE`",
        ),
        (f"train {H} -d 0", DEV.format("0")),
        (f"train {H} -d 1.5", DEV.format("1.5")),
        (f"train {H} -d", "--dev-run needs a value\nwrite `--dev-run N`"),
        (f"train {H} -d 3 -d 4", "--dev-run is given twice"),
        (
            f"train {H} --force",
            "--force has a meaning only with --resume\ntype `train --resume RUN --force`",
        ),
        (f"train {H} --trust=1", "--trust takes no value, got '1'"),
        ("train --resume", "--resume needs a value\nwrite `--resume RUN`"),
        (
            f"train --resume r {H}",
            f"--resume r takes no script, got {H}: the run knows its own\n"
            f"type `train --resume r`, or `train --resume auto {H}`",
        ),
        (f"train {H} -g x", GPUS.format("x")),
        (f"train {H} -g ,", GPUS.format(",")),
        (f"train {H} -g 0,0", "--gpu-devices names GPU 0 more than once"),
        (f"train {H} -s lr", SET.format("lr")),
        (f"train {H} -s =3", SET.format("=3")),
        ("infer", "which hyperparameter script?\ntype `infer HPARAMS`"),
        (
            "infer --lr 3",
            "unknown option --lr\na hyperparameter is changed with `--set lr=VALUE`",
        ),
        (f"infer {H} --gpu-devices x", GPUS.format("x")),
        (f"infer {H} --set lr", SET.format("lr")),
        (f"infer {H} --checkpoint", "--checkpoint needs a value\nwrite `--checkpoint RUN[:NAME]`"),
        (f"infer {H} --checkpoint a --checkpoint b", "--checkpoint is given twice"),
        ("lab rnus", "torch-lab has no verb 'rnus'\ndid you mean \"runs\"?"),
        ("lab --verison", "torch-lab has no option '--verison'\ndid you mean \"--version\"?"),
        (
            "lab runs foo",
            "'foo' is no filter\n"
            "write KEY=VALUE, or KEY with <, <=, >, >=, != or ~ (contains): name~foo",
        ),
        ("lab runs --limit 0", "--limit takes a positive number, got '0'\nwrite `--limit 5`"),
        ("lab runs --limit x", "--limit takes a positive number, got 'x'\nwrite `--limit 5`"),
        ("lab runs --srot name", 'unknown option --srot\ndid you mean "--sort"?'),
        (
            "lab runs --top",
            "unknown option --top\n"
            "there are --sort, --limit, --best, --mode, --group-by, --server, --json, --help",
        ),
        ("lab show", "lab show takes one run or script\n`lab runs` lists the runs"),
        ("lab show a b", "lab show takes one run or script, got 2\n`lab runs` lists the runs"),
        ("lab env x", "lab env takes no words, got x\ntype `lab env`"),
        ("lab check --drill", "which hyperparameter script?\ntype `lab check HPARAMS --drill`"),
        ("lab check", "which hyperparameter script?\ntype `lab check HPARAMS`"),
        (f"lab check {H} --drill --json", "--drill has no --json\nleave one of them out"),
        (
            "lab show nothing",
            'no run "nothing" in ROOT/data/artifacts\n'
            "There are no runs there yet: `train HPARAMS` makes one.",
        ),
        (
            "train --resume nothing",
            'no run "nothing" in ROOT/data/artifacts\n'
            "There are no runs there yet: `train HPARAMS` makes one.",
        ),
        (
            f"train {H} -s widht=3",
            '--set widht=3: config has no widht; did you mean "width"?'
            " (new keys go into the script)",
        ),
        (
            f"train {H} -s config.height=3",
            "--set config.height=3: config has no height; there are lr, width, name, sizes"
            " (new keys go into the script)",
        ),
        (
            f"train {H} -s chekpoint.keep=1",
            '--set chekpoint.keep=1: config has no chekpoint; did you mean "checkpoint"?'
            " (new keys go into the script)",
        ),
        (
            f"train {H} -s width=wide",
            "--set width=wide: expected an int, as in the script (4 (int)); got 'wide' (str)",
        ),
        (
            f"train {H} -s sizes=3",
            "--set sizes=3: expected a list, as in the script ([1, 2] (list)); got 3 (int)",
        ),
        (
            f"train {H} -s name.x=3",
            "--set name.x=3: config.name is 'net' (str), so there is no x in it",
        ),
        (
            f"train {H} -s trainer.int.max_epochs=3",
            '--set trainer.int.max_epochs=3: trainer has no int; did you mean "init"?',
        ),
        (
            f"train {H} -s trainer.init.max_epoch=3",
            f"{H} --set trainer.init.max_epoch=3: 1 problem in hparams\n"
            '  trainer.init.max_epoch: unknown key; did you mean "max_epochs"?',
        ),
        (
            f"train {H} -s seed=x",
            f"{H} --set seed=x: 1 problem in hparams\n"
            "  seed: expected an int from 0 to 4294967295, or None to draw one, got 'x' (str)",
        ),
        (
            f"train {H} -s trainer.init.accumulate_grad_batches=0",
            f"{H} --set trainer.init.accumulate_grad_batches=0: 1 problem in hparams\n"
            "  trainer.init.accumulate_grad_batches: expected a positive int, got 0 (int)",
        ),
        (
            f"train {FOLDER}/hparam.py",
            f"{FOLDER}/hparam.py does not exist\ndid you mean {HPARAMS}?",
        ),
        (
            f"lab show {FOLDER}/hparam.py",
            f"{FOLDER}/hparam.py does not exist\ndid you mean {HPARAMS}?",
        ),
        (
            "train lab_project/nope.py",
            "lab_project/nope.py does not exist\nlab_project holds no Python scripts",
        ),
        ("train nope.py", "nope.py does not exist\nROOT holds no Python scripts"),
        (f"train {EXPERIMENT}", f"{EXPERIMENT} does not exist\ndid you mean {H}?"),
        (
            f"infer {EXPERIMENT}/hparams",
            f"{EXPERIMENT}/hparams does not exist\ndid you mean {H}?",
        ),
        (
            f"train {H} -s trainer.init.logger=3",
            f"{H} --set trainer.init.logger=3: 1 problem in hparams\n"
            "  trainer.init.logger: expected a Lightning Logger, a list of them, a bool or None,"
            " got 3 (int)",
        ),
        (
            f"train {H} -s trainer.init.callbacks=[3]",
            f"{H} --set trainer.init.callbacks=[3]: 1 problem in hparams\n"
            "  trainer.init.callbacks: expected a Lightning Callback, a list of them or None,"
            " got [3] (list)",
        ),
        (f"train {FOLDER}", f"{FOLDER} is a folder, not a script\nits scripts: {HPARAMS}"),
        (
            f"train {MAIN}",
            f"{MAIN} is not a hyperparameter script\n"
            "give a script that defines hparams, such as hparams.py beside it",
        ),
    ],
)
def test_what_is_typed_wrong(lab: Lab, line: str, message: str) -> None:
    assert lab.mistake(*line.split()) == message
    assert lab.runs() == []


def test_a_machine_without_that_many_gpus(lab: Lab) -> None:
    env = {"CUDA_VISIBLE_DEVICES": ""}
    for verb, option in (("train", "-g"), ("infer", "--gpu-devices")):
        message = lab.mistake(verb, HPARAMS, option, "7", env=env)
        assert message == "there is no GPU 7: this machine has no GPU"


def test_one_of_several_processes(lab: Lab) -> None:
    assert lab.mistake("train", HPARAMS, env={"RANK": "1", "WORLD_SIZE": "2"}) == (
        "RANK and WORLD_SIZE in the environment: this process is one of several, but there is no"
        " MASTER_ADDR and no MASTER_PORT\n"
        "torchrun sets all of them: torchrun --nproc-per-node 2 -m torch_lab train …"
    )


def test_runs_that_are_there_under_other_names(lab: Lab) -> None:
    for _ in range(2):
        assert lab.says("train", HPARAMS).status == 0
    assert lab.says("train", HPARAMS, "-d", "1").status == 0
    ids = [lab.run(f"00_net-hparams_v{n}").record["id"][:8] for n in (0, 1)]
    assert lab.mistake("lab", "show", "00_net-") == (
        f'"00_net-" names 2 runs: 00_net-hparams_v1 ({ids[1]}), {RUN} ({ids[0]})\n'
        "Type more of it, or 00_net/hparams for the newest."
    )
    assert lab.mistake("lab", "show", f"{RUN}:bst") == (
        f"run {RUN} has no checkpoint 'bst'\ndid you mean \"best\"?"
    )
    assert lab.mistake("lab", "runs", "lrr<1") == "no run has a 'lrr'\ndid you mean \"lr\"?"
    assert lab.mistake("lab", "runs", "--sort", "q").startswith(
        "no run has a 'q'\nthere are loss/train, loss/train_step, loss/validate, batch, "
    )
    assert lab.mistake("train", "--resume", RUN) == (
        f"run {RUN} is completed: there is nothing to resume\n"
        "To train on, start a new run from it: checkpoint.checkpoint_task_id."
    )
    assert lab.mistake("train", "--resume", RUN, "-s", "lr=1") == (
        "--set and --dev-run can't be given to --resume: a run keeps its hyperparameters\n"
        "Start a new run from its checkpoint instead: checkpoint.checkpoint_task_id."
    )
    assert lab.mistake("infer", HPARAMS, "--checkpoint", "00_net/hprams") == (
        'no run "00_net/hprams" in ROOT/data/artifacts\n'
        "Did you mean 00_net/hparams or 00_net-hparams_v1 or 00_net-hparams_v0?"
    )
    (lab.artifacts / RUN / "run.json").write_text("{")
    assert lab.mistake("lab", "show", RUN) == (
        f"ROOT/data/artifacts/{RUN}/run.json is damaged:"
        " Expecting property name enclosed in double quotes: line 1 column 2 (char 1)\n"
        "Its checkpoints may be sound: a .ckpt file can be given by its path."
    )
    (lab.artifacts / RUN / "run.json").write_text(f'{{"format": 99, "name": "{RUN}"}}')
    assert lab.mistake("lab", "show", RUN) == (
        f"run {RUN} was written by a newer torch-lab (format 99)\nUpdate torch-lab to read it."
    )


def test_an_interrupted_run_with_other_values_is_named(lab: Lab) -> None:
    lab.append('def train_config(config):\n    raise ValueError("no")\n')
    assert lab.says("train", HPARAMS, "-s", "name=a b").status == 1
    said = lab.says("train", "--resume", "auto", HPARAMS)
    assert said.err.startswith(
        f"{RUN} was interrupted too, but was begun with --set 'name=a b':"
        f" train --resume {RUN} goes on with it\n"
    )
    assert lab.runs() == [RUN, "00_net-hparams_v1"]
    said = lab.says("train", "--resume", "auto", HPARAMS, "-s", "width=5")
    assert "00_net-hparams_v1 was interrupted too, but was begun without --set: " in said.err


def test_a_script_that_has_only_dev_runs(lab: Lab) -> None:
    assert lab.says("train", HPARAMS, "-d", "1").status == 0
    found = lab.run("dev_00_net-hparams_v0").record["id"][:8]
    assert lab.mistake("lab", "show", "00_net/hparams") == (
        f"00_net/hparams has only dev runs: dev_00_net-hparams_v0 ({found})\n"
        "Name one of them in full."
    )


def test_a_run_that_was_begun_with_a_secret(lab: Lab) -> None:
    lab.append('hparams["config"]["api_key"] = ""\n', HPARAMS)
    lab.append('def train_config(config):\n    raise ValueError("no")\n')
    assert lab.says("train", HPARAMS, "-s", "api_key=abc").status == 1
    assert lab.mistake("train", "--resume", RUN) == (
        f"run {RUN} was begun with --set api_key=***: what was masked is not recorded\n"
        "Keep secrets in the environment; a run that needs one again can't be resumed."
    )
