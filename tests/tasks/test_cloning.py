"""`lab clone`, but for what it rewrites: names, files, the code of runs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from helpers import Project
from torch_lab.cli.clone import command
from torch_lab.errors import RunNotFound, StoreError, UsageError
from torch_lab.experiment import origin
from torch_lab.store.claim import claim, new_id
from torch_lab.store.lock import Lock
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import Record, RecordWriter
from torch_lab.store.source import bundle
from torch_lab.tasks.clone import Clone, clone, describe

EXPERIMENTS = "lab_project/experiments"
SOURCE = f"{EXPERIMENTS}/00_digits"


@pytest.fixture
def digits(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an experiment; it is the working directory."""
    add(project, "00_digits")
    monkeypatch.chdir(project.root)
    return project


def add(project: Project, name: str, folder: str = EXPERIMENTS) -> None:
    project.write(f"{folder}/{name}/__main__.py", "def train_config(config): ...\n")
    project.write(f"{folder}/{name}/hparams.py", 'hparams = {"config": {"lr": 1}}\n')


def names(project: Project, folder: str = EXPERIMENTS) -> list[str]:
    return sorted(path.name for path in (project.root / folder).iterdir())


def files(made: Clone) -> list[str]:
    found = (path.relative_to(made.directory) for path in made.directory.rglob("*"))
    return sorted(path.as_posix() for path in found if not (made.directory / path).is_dir())


def git(project: Project, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *words], cwd=project.root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("there", "made"),
    [
        ([], "01_wider"),
        (["07_a"], "08_wider"),
        (["09_a"], "10_wider"),
        (["99_a"], "100_wider"),
        (["007_a"], "008_wider"),
        (["7_a", "07_b"], "08_wider"),
        (["5-half", "03"], "6_wider"),
        (["12ab", "x_13"], "01_wider"),
    ],
)
def test_the_next_number_is_one_above_all(digits, there, made):
    for name in there:
        (digits.root / EXPERIMENTS / name).mkdir()
    assert clone("00_digits", "wider").directory.name == made


def test_experiments_elsewhere_in_the_project_count(digits):
    add(digits, "04_text", "lab_project/more")
    assert clone("00_digits", "wider").directory == digits.root / EXPERIMENTS / "05_wider"
    assert clone("04_text", "wider").directory == digits.root / "lab_project/more/06_wider"


def test_without_any_number_it_begins_at_zero(project, monkeypatch):
    add(project, "plain")
    monkeypatch.chdir(project.root)
    assert clone("plain", "wider").directory.name == "00_wider"


@pytest.mark.parametrize(
    "word",
    [
        "00_digits",
        "00_digits/",
        "0",
        "000",
        "digits",
        "Digits",
        "00_digits/hparams",
        "00_digits/hparams.py",
        SOURCE,
        f"{SOURCE}/hparams.py",
        f"./{SOURCE}/",
    ],
)
def test_a_source_is_named_in_many_ways(digits, word):
    made = clone(word, "wider")
    assert made.directory == digits.root / EXPERIMENTS / "01_wider"
    assert files(made) == ["__main__.py", "hparams.py", "origin.json"]


def test_it_is_named_from_within_the_project(digits, monkeypatch):
    monkeypatch.chdir(digits.root / EXPERIMENTS)
    assert clone("00_digits", "by_path").directory.name == "01_by_path"
    monkeypatch.chdir(digits.root / "lab_project")
    assert clone("00_digits", "by_name").directory.name == "02_by_name"


@pytest.mark.parametrize(
    ("title", "name", "said"),
    [
        ("wider", "01_wider", None),
        ("01_wider", "01_wider", None),
        ("Wider Net!", "01_wider_net", "the title 'Wider Net!' becomes wider_net"),
        ("wider-net", "01_wider_net", "the title 'wider-net' becomes wider_net"),
        ("2_layers", "01_2_layers", None),
        ("../out", "01_out", "the title '../out' becomes out"),
    ],
)
def test_a_title_becomes_a_name_and_it_is_said(digits, title, name, said):
    made = clone("00_digits", title)
    assert made.directory == digits.root / EXPERIMENTS / name
    first = describe(made).splitlines()[0]
    assert first == (said or f"{EXPERIMENTS}/{name}: 00_digits, 2 files")


def test_its_origin_is_recorded(digits):
    git(digits, "init", "-q")
    git(digits, "commit", "-q", "--allow-empty", "-m", "a")
    before = time.time()
    made = origin.read(clone("00_digits", "wider").directory)
    assert made is not None
    assert before - 1 <= made.created <= time.time() + 1
    assert (made.experiment, made.path, made.run) == ("00_digits", SOURCE, None)
    assert made.commit == git(digits, "rev-parse", "HEAD")
    second = origin.read(clone("01_wider", "deeper").directory)
    assert second is not None
    assert second.experiment == "01_wider"


LITTER = [
    "__pycache__/hparams.cpython-311.pyc",
    "old.pyc",
    "last.ckpt",
    "lightning_logs/version_0/metrics.csv",
    "wandb/run/a.txt",
    ".DS_Store",
]


def test_caches_checkpoints_and_outputs_stay_behind(digits):
    kept = ["parts/net.py", "notes.md", "classes.json"]
    for name in (*LITTER, *kept):
        digits.write(f"{SOURCE}/{name}", "x")
    expected = sorted([*kept, "__main__.py", "hparams.py", "origin.json"])
    assert files(clone("00_digits", "without_git")) == expected
    git(digits, "init", "-q")
    assert files(clone("00_digits", "with_git")) == expected


def test_what_git_tracks_is_copied_and_what_it_ignores_is_not(digits):
    digits.write(".gitignore", "*.log\n")
    for name in ("start.ckpt", "new.ckpt", "a.log", "sub/b.log", "draft.py"):
        digits.write(f"{SOURCE}/{name}", "x")
    digits.write(f"{SOURCE}/large.bin", "x" * 10_000_001)
    git(digits, "init", "-q")
    git(digits, "add", f"{SOURCE}/start.ckpt", f"{SOURCE}/hparams.py")
    made = clone("00_digits", "wider")
    assert files(made) == ["__main__.py", "draft.py", "hparams.py", "origin.json", "start.ckpt"]
    assert describe(made).splitlines()[1:6] == [
        "  not copied",
        "    large.bin (10 MB, and git doesn't track it)",
        "    new.ckpt (an output)",
        "    a.log (git ignores it)",
        "    sub/ (git ignores it)",
    ]


def test_an_experiment_that_git_ignores_is_copied_all_the_same(digits):
    digits.write(".gitignore", "experiments/\n")
    git(digits, "init", "-q")
    assert files(clone("00_digits", "wider")) == ["__main__.py", "hparams.py", "origin.json"]


def test_modes_and_links_are_kept(digits):
    source = digits.root / SOURCE
    digits.write("data/raw.csv", "1")
    digits.write(
        f"{SOURCE}/run.sh", "#!/bin/sh\ntrain lab_project/experiments/00_digits/hparams.py\n"
    )
    (source / "run.sh").chmod(0o755)
    links = {
        "raw.csv": "../../../data/raw.csv",
        "h.py": "hparams.py",
        "around": "../00_digits/h.py",
    }
    for name, target in links.items():
        (source / name).symlink_to(target)
    (source / "whole.py").symlink_to(source / "hparams.py")
    made = clone("00_digits", "wider").directory
    assert os.access(made / "run.sh", os.X_OK)
    assert "01_wider/hparams.py" in (made / "run.sh").read_text()
    assert (made / "raw.csv").read_text() == "1"
    assert {name: str((made / name).readlink()) for name in [*links, "whole.py"]} == {
        "raw.csv": "../../../data/raw.csv",
        "h.py": "hparams.py",
        "around": "h.py",
        "whole.py": "hparams.py",
    }


def test_nothing_of_the_source_changes(digits):
    digits.write(f"{SOURCE}/a.py", 'A = "lab_project/experiments/00_digits/hparams.py"\n')
    source = digits.root / SOURCE
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in source.iterdir()}
    made = clone("00_digits", "wider")
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in source.iterdir()}
    assert after == before
    assert "01_wider" in (made.directory / "a.py").read_text()


def test_what_was_rewritten_and_what_names_the_source_yet_is_said(digits):
    digits.write(
        f"{SOURCE}/finetune.py",
        """\
        # 00_digits once more
        hparams = {
            "checkpoint": {"checkpoint_task_id": "00_digits/hparams"},
            "config": {"table": "lab_project/experiments/00_digits/table.csv"},
        }
        """,
    )
    assert describe(clone("00_digits", "wider")).splitlines() == [
        f"{EXPERIMENTS}/01_wider: 00_digits, 3 files",
        "  rewritten",
        '    finetune.py:4  "config": {"table": "lab_project/experiments/01_wider/table.csv"},',
        "  still names 00_digits: change what is to be the clone's own",
        '    finetune.py:3  "checkpoint": {"checkpoint_task_id": "00_digits/hparams"},',
        "next",
        f"  train {EXPERIMENTS}/01_wider/hparams.py",
    ]


def test_what_is_no_plain_file_stays_behind(digits):
    os.mkfifo(digits.root / SOURCE / "pipe")
    assert describe(clone("00_digits", "wider")).splitlines()[2] == "    pipe (not a plain file)"


def test_where_no_folder_can_be_made_it_says_so(digits, monkeypatch):
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UsageError, match=r"can't make .*01_wider: Permission denied"):
        clone("00_digits", "wider")
    assert names(digits) == ["00_digits"]


def test_what_a_kill_left_is_removed(digits):
    digits.write(f"{EXPERIMENTS}/.clone-0123456789ab.tmp/hparams.py", "half")
    assert clone("00_digits", "wider").directory.name == "01_wider"
    assert names(digits) == ["00_digits", "01_wider"]


# The code of a run.


def run_of(project: Project, script: str = f"{SOURCE}/hparams.py", **fields: object) -> Record:
    """A run that recorded the experiment as it is now."""
    run = claim(project.artifacts, "00_digits-hparams")
    bundle((project.root / script).parent, project.root, run.source_bundle)
    facts = {"id": new_id(), "status": "completed", "experiment": "00_digits", "script": script}
    return write(run, Record(run.name, **(facts | fields)))  # type: ignore[arg-type]


def write(run: RunDirectory, record: Record) -> Record:
    lock = Lock.acquire(run, lost_after=60)
    record = RecordWriter(run, lock, record).update()
    lock.release()
    return record


def test_a_runs_code_is_what_it_was(digits):
    digits.write("lab_project/__init__.py", "A = 1\n")
    digits.write("lab_project/models.py", "B = 1\n")
    digits.write("lab_project/same.py", "C = 1\n")
    add(digits, "07_other")
    record = run_of(digits, overrides=("lr=2", "name=a b"))
    digits.write(f"{SOURCE}/hparams.py", "changed = 1\n")
    digits.write("lab_project/__init__.py", "A = 2\n")
    digits.write(f"{EXPERIMENTS}/07_other/hparams.py", "changed = 1\n")
    (digits.root / "lab_project/models.py").unlink()
    made = clone(None, "again", record.name)
    assert (made.directory / "hparams.py").read_text() == 'hparams = {"config": {"lr": 1}}\n'
    assert describe(made).splitlines() == [
        f"{EXPERIMENTS}/08_again: the code of run {record.name}, 2 files",
        "  what it imports is not as that run had it",
        "    lab_project/__init__.py (changed)",
        "    lab_project/models.py (missing)",
        "next",
        f"  train {EXPERIMENTS}/08_again/hparams.py --set lr=2 --set 'name=a b'",
    ]
    found = origin.read(made.directory)
    assert found is not None
    assert found.run is not None
    assert (found.run.id, found.run.name) == (record.id, record.name)
    assert (found.experiment, found.path) == ("00_digits", SOURCE)


def test_a_runs_code_outlives_its_experiment(digits):
    digits.write(f"{SOURCE}/a.py", 'A = "lab_project/experiments/00_digits/table.csv"\n')
    record = run_of(digits)
    for path in (digits.root / SOURCE).iterdir():
        path.unlink()
    (digits.root / SOURCE).rmdir()
    (digits.root / EXPERIMENTS).rmdir()
    made = clone(None, "again", record.id[:8])
    assert made.directory == digits.root / EXPERIMENTS / "00_again"
    assert "00_again/table.csv" in (made.directory / "a.py").read_text()


def test_the_commit_is_that_of_the_run(digits):
    record = run_of(digits)
    (digits.artifacts / record.name / "git.diff").write_text("# format: 1\n# commit: abc123\n")
    found = origin.read(clone(None, "again", record.name).directory)
    assert found is not None
    assert found.commit == "abc123"


def test_secrets_that_were_masked_are_named(digits):
    digits.write(
        f"{SOURCE}/upload.py", 'A = 1\napi_key = "hf_abcdefghijklmnopqrstuvwxyz0123456789"\n'
    )
    made = clone(None, "again", run_of(digits).name)
    said = describe(made).splitlines()
    assert said[1:3] == ["  masked when it was recorded: put in what was there", "    upload.py:2"]


def test_code_from_elsewhere_is_taken_only_with_trust(digits):
    record = run_of(digits, fetched={"server": "https://app", "task_id": "ab" * 16})
    with pytest.raises(
        UsageError, match=r"is not of this project .*: the clone would be code from elsewhere"
    ) as error:
        clone(None, "again", record.name)
    assert error.value.hint == "If you know where it comes from: --trust."
    assert names(digits) == ["00_digits"]
    assert clone(None, "again", record.name, trust=True).directory.name == "01_again"


def test_the_experiment_that_is_named_has_to_be_the_runs(digits):
    record = run_of(digits)
    add(digits, "01_other")
    assert clone("00_digits", "again", record.name).directory.name == "02_again"
    with pytest.raises(UsageError, match="is a run of 00_digits, not of 01_other") as error:
        clone("01_other", "again", record.name)
    assert error.value.hint == f"leave the experiment out: `lab clone --from {record.name} again`"


def test_a_run_without_its_code_is_refused(digits):
    record = run_of(digits)
    with pytest.raises(UsageError, match="the code is that of the run, whichever the checkpoint"):
        clone(None, "again", f"{record.name}:best")
    with pytest.raises(RunNotFound, match='no run "nothing"'):
        clone(None, "again", "nothing")
    packed = digits.artifacts / record.name / "source.tar.gz"
    packed.write_bytes(packed.read_bytes()[:50])
    with pytest.raises(StoreError, match="is damaged"):
        clone(None, "again", record.name)
    packed.unlink()
    with pytest.raises(StoreError, match=r"has no code: .*source.tar.gz is missing"):
        clone(None, "again", record.name)
    stray = run_of(digits, script=f"{SOURCE}/hparams.py")
    file = digits.artifacts / stray.name / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"script": "../x/hparams.py"}))
    with pytest.raises(StoreError, match="holds no experiment 00_digits"):
        clone(None, "again", stray.name)
    assert names(digits) == ["00_digits"]


# Mistakes.


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("00_digts", 'no experiment "00_digts" in ', 'did you mean "00_digits"?'),
        ("7", 'no experiment "7" in ', "there are 00_digits"),
        ("00_digits/hparms", '00_digits has no script "hparms"', 'did you mean "hparams"?'),
        ("lab_project", "lab_project is not an experiment: it has no __main__.py", "there are"),
    ],
)
def test_a_source_that_is_none(digits, word, message, hint):
    with pytest.raises(UsageError) as error:
        clone(word, "wider")
    assert message in error.value.message
    assert hint in (error.value.hint or "")
    assert names(digits) == ["00_digits"]


def test_a_number_that_two_have(digits):
    add(digits, "00_text")
    with pytest.raises(
        UsageError, match=r'"0" names 2 experiments: .*00_digits, .*00_text'
    ) as error:
        clone("0", "wider")
    assert error.value.hint == "Name one by its folder."


def test_a_project_without_experiments_and_none_at_all(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project.root)
    with pytest.raises(UsageError) as error:
        clone("0", "wider")
    assert error.value.hint == "`lab init` makes a project with a first one"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="is in no project") as error:
        clone("0", "wider")
    assert (
        error.value.hint == "a pyproject.toml marks a project's root; `lab init` makes a whole one"
    )


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("!!", "the title '!!' has no letter that a folder's name may have"),
        ("", "the title '' has no letter"),
        ("a" * 101, "the title is 101 letters long: a run's name has to hold it"),
    ],
)
def test_a_title_that_makes_no_name(digits, title, message):
    with pytest.raises(UsageError) as error:
        clone("00_digits", title)
    assert message in error.value.message
    assert error.value.hint in (
        'letters and digits of ASCII: `lab clone 00_digits "wider net"`',
        "at most 100; what else there is to say goes into a docstring",
    )


EXAMPLE = 'for instance `lab clone 00_digits "wider net"`'


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ([], "lab clone takes an experiment and a title for the new one", EXAMPLE),
        (["a"], "a title for the new one, got one of them", EXAMPLE),
        (
            ["a", "b", "c"],
            "lab clone takes an experiment and a title, got 3 words",
            'quote a title with spaces: "b c"',
        ),
        (["--from", "a"], "lab clone takes an experiment and a title for the new one", EXAMPLE),
        (["a", "b", "c", "--from", "d"], "an experiment and a title, got 3 words", '"b c"'),
        (["a", "--form", "b"], "unknown option --form", 'did you mean "--from"?'),
    ],
)
def test_words_that_are_too_few_or_too_many(words, message, hint):
    with pytest.raises(UsageError) as error:
        command(words)
    assert message in error.value.message
    assert hint in (error.value.hint or "")
