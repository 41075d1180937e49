"""Which experiment a hyperparameter script belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_lab.errors import ScriptError
from torch_lab.utils.paths import display, project_root
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


def find(script: str | Path) -> Experiment:
    """The experiment that a hyperparameter script belongs to."""
    path = existing_script(script)
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
