"""Which experiment a hyperparameter script belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_lab.errors import ScriptError
from torch_lab.utils.paths import absolute, display, marked_root, project_root
from torch_lab.utils.scripts import existing_script

CONFIGURATION = "__main__.py"


@dataclass(frozen=True)
class Experiment:
    """One hyperparameter script and the directory, with its configuration, that it lies in."""

    directory: Path
    name: str
    script: Path
    script_name: str
    root: Path

    @property
    def run_prefix(self) -> str:
        """What the names of this script's runs begin with."""
        return f"{self.name}-{self.script_name}"

    @property
    def configuration(self) -> Path:
        """The configuration script."""
        return self.directory / CONFIGURATION


def _existing(script: str | Path) -> Path:
    try:
        return existing_script(script)
    except ScriptError as error:
        error.hint = _meant(Path(script)) or error.hint
        raise


def _meant(word: Path) -> str | None:
    """The script that was meant by an experiment's name or folder, or by `EXPERIMENT/SCRIPT`."""
    from torch_lab.experiment import listing

    folder = absolute(word)
    if folder.is_dir():
        name, folders = "", [folder] if (folder / CONFIGURATION).is_file() else []
    elif len(word.parts) > 1 and folder.parent.is_dir():  # what is beside it has been named
        return None
    else:
        experiment, _, name = word.with_suffix("").as_posix().partition("/")
        root = marked_root(Path.cwd())
        known = listing.experiments(root) if root is not None else []
        folders = [each for each in known if each.name == experiment]
    found = [folder / f"{each}.py" for folder in folders for each in listing.scripts(folder)]
    same = [each for each in found if each.stem == name]
    if len(same or found) == 1 and not folder.is_dir():
        return f"did you mean {display((same or found)[0])}?"
    return f"its scripts: {', '.join(map(display, found[:8]))}" if found else None


def find(script: str | Path) -> Experiment:
    """The experiment that a hyperparameter script belongs to."""
    path = _existing(script)
    folder = path.parent
    if path.stem.startswith("__"):
        raise ScriptError(
            f"{display(path)} is not a hyperparameter script",
            hint="give a script that defines hparams, such as hparams.py beside it",
        )
    if not (folder / CONFIGURATION).is_file():
        raise ScriptError(
            f"{display(folder)} is not an experiment: it has no {CONFIGURATION}",
            hint=f"{CONFIGURATION} defines train_config and infer_config",
        )
    for kind, name in (("script", path.stem), ("experiment", folder.name)):
        if "-" in name:
            raise ScriptError(
                f'the {kind} name "{name}" has a "-" in it, which separates the parts of run names',
                hint=f"rename it to {name.replace('-', '_')}",
            )
    return Experiment(folder, folder.name, path, path.stem, project_root(path))
