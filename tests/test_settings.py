from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from script_helpers import write
from torch_lab import settings
from torch_lab.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [*os.environ]:
        if name.startswith("TORCH_LAB_"):
            monkeypatch.delenv(name)


def test_root_is_the_nearest_marked_folder(tmp_path):
    (tmp_path / ".git").mkdir()
    inner = write(tmp_path / "inner" / "pyproject.toml").parent
    script = write(inner / "package" / "experiments" / "00_a" / "hparams.py")
    assert settings.project_root(script) == inner
    assert settings.project_root(script.parent) == inner
    assert settings.project_root(inner) == inner
    assert settings.project_root(tmp_path / "elsewhere") == tmp_path


def test_root_without_a_marker(tmp_path):
    script = write(tmp_path / "experiments" / "00_a" / "hparams.py")
    assert settings.project_root(script) == tmp_path / "experiments"
    assert settings.project_root(script.parent) == script.parent


def test_root_of_a_relative_path(tmp_path, monkeypatch):
    write(tmp_path / "pyproject.toml")
    write(tmp_path / "deep" / "er" / "hparams.py")
    monkeypatch.chdir(tmp_path / "deep")
    assert settings.project_root(Path("er/hparams.py")) == tmp_path
    assert settings.project_root(Path()) == tmp_path


def test_git_worktrees_have_a_file_named_git(tmp_path):
    write(tmp_path / ".git", "gitdir: /elsewhere")
    assert settings.project_root(tmp_path / "a") == tmp_path


def test_defaults(tmp_path):
    write(tmp_path / "pyproject.toml", "[project]\nname = 'x'")
    loaded = settings.load(tmp_path)
    assert loaded == settings.Settings(tmp_path, tmp_path / "data" / "artifacts")


def test_every_key_is_read(tmp_path):
    write(
        tmp_path / "pyproject.toml",
        """
        [tool.torch-lab]
        artifacts = "runs"
        default-project = "digits"
        keep-checkpoints = 5
        every-minutes = 2
        every-n-steps = 100
        grace-period = 1.5
        lost-after = 120
        tensorboard = false
        machine-use-seconds = 0
        offline = true
        sync-wait = 0
        sync-patience = 60
        require-server = true
        join-timeout = 20
        """,
    )
    loaded = settings.load(tmp_path)
    assert loaded == settings.Settings(
        *(tmp_path, tmp_path / "runs", "digits", 5, 2.0, 100, 1.5, 120.0, False, 0.0),
        *(True, 0.0, 60.0, True, 20.0),
    )
    assert isinstance(loaded.every_minutes, float)


def test_variables_come_over_the_file(tmp_path, monkeypatch):
    write(tmp_path / "pyproject.toml", "[tool.torch-lab]\nkeep-checkpoints = 5\nlost-after = 7\n")
    monkeypatch.setenv("TORCH_LAB_KEEP_CHECKPOINTS", "9")
    monkeypatch.setenv("TORCH_LAB_ARTIFACTS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TORCH_LAB_EVERY_N_STEPS", "")
    loaded = settings.load(tmp_path)
    assert (loaded.keep_checkpoints, loaded.lost_after) == (9, 7.0)
    assert loaded.artifacts == tmp_path / "elsewhere"
    assert loaded.every_n_steps is None


def test_every_field_has_its_variable(tmp_path, monkeypatch):
    for field in fields(settings.Settings):
        value = "on" if field.type == "bool" else "3"
        monkeypatch.setenv(f"TORCH_LAB_{field.name.upper()}", value)
    monkeypatch.delenv("TORCH_LAB_ROOT")
    assert settings.load(tmp_path) == settings.Settings(
        *(tmp_path, tmp_path / "3", "3", 3, 3.0, 3, 3.0, 3.0, True, 3.0),
        *(True, 3.0, 3.0, True, 3.0),
    )


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("On", True), ("False", False), ("0", False)]
)
def test_switches(tmp_path, monkeypatch, text, value):
    monkeypatch.setenv("TORCH_LAB_TENSORBOARD", text)
    assert settings.load(tmp_path).tensorboard is value


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TENSORBOARD", "true or false"),
        ("OFFLINE", "true or false"),
        ("MACHINE_USE_SECONDS", "a number of seconds, or 0"),
        ("SYNC_WAIT", "a number of seconds, or 0"),
    ],
)
def test_what_is_no_switch_or_pause(tmp_path, monkeypatch, name, expected):
    monkeypatch.setenv(f"TORCH_LAB_{name}", "-3")
    with pytest.raises(SettingsError, match=f"{name}: expected {expected}"):
        settings.load(tmp_path)


def test_artifacts_do_not_depend_on_where_one_stands(tmp_path, monkeypatch):
    write(tmp_path / "pyproject.toml")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("TORCH_LAB_ARTIFACTS", "runs")
    assert settings.load(Path()).artifacts == tmp_path / "runs"


def test_a_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("TORCH_LAB_ARTIFACTS", "~/runs")
    assert settings.load(tmp_path).artifacts == Path("/home/someone/runs")


def test_all_mistakes_at_once(tmp_path, monkeypatch):
    file = write(
        tmp_path / "pyproject.toml",
        """
        [tool.torch-lab]
        keep_checkpoints = 2
        every-minutes = "5"
        every-n-steps = 0
        lost-after = true
        """,
    )
    monkeypatch.setenv("TORCH_LAB_GRACE_PERIOD", "soon")
    monkeypatch.setenv("TORCH_LAB_ARTIFACT", "x")
    with pytest.raises(SettingsError) as caught:
        settings.load(tmp_path)
    assert str(caught.value) == "\n  ".join(
        [
            f"6 problems in the settings of {tmp_path}",
            f'{file}: unknown key "keep_checkpoints"; did you mean "keep-checkpoints"?',
            f"{file}: every-minutes: expected a positive number, got '5' (str)",
            f"{file}: every-n-steps: expected a positive int, got 0 (int)",
            f"{file}: lost-after: expected a positive number, got True (bool)",
            "TORCH_LAB_ARTIFACT: unknown variable; did you mean TORCH_LAB_ARTIFACTS?",
            "TORCH_LAB_GRACE_PERIOD: expected a positive number, got 'soon' (str)",
        ]
    )


def test_other_variables_with_the_prefix_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_LAB_CUSTOM_THING", "x")
    settings.load(tmp_path)


@pytest.mark.parametrize("number", ["inf", "nan", "-1", "0"])
def test_numbers_that_are_no_amounts(tmp_path, monkeypatch, number):
    monkeypatch.setenv("TORCH_LAB_EVERY_MINUTES", number)
    with pytest.raises(SettingsError, match="EVERY_MINUTES: expected a positive number"):
        settings.load(tmp_path)


def test_a_broken_file_is_named_with_its_line(tmp_path):
    write(tmp_path / "pyproject.toml", "[tool.torch-lab]\nartifacts = \n")
    with pytest.raises(SettingsError, match=r"pyproject.toml can't be read: .*line 2"):
        settings.load(tmp_path)


def test_a_section_that_is_no_table(tmp_path):
    write(tmp_path / "pyproject.toml", "[tool]\ntorch-lab = 3\n")
    with pytest.raises(SettingsError, match=r"tool\.torch-lab: expected a table, got 3"):
        settings.load(tmp_path)
