"""Where things are in a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run; it names its files and creates none."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def record_file(self) -> Path:
        """The record: run.json."""
        return self.path / "run.json"

    @property
    def environment_file(self) -> Path:
        """The machine and its packages: environment.json."""
        return self.path / "environment.json"

    def environment_of(self, node: int) -> Path:
        """The same of another machine that trained this run: environment.1.json and so on."""
        return self.path / f"environment.{node}.json"

    @property
    def git_diff(self) -> Path:
        """Commit, branch, remote and the uncommitted changes."""
        return self.path / "git.diff"

    @property
    def source_bundle(self) -> Path:
        """The code as it was."""
        return self.path / "source.tar.gz"

    @property
    def metrics(self) -> Path:
        """The folder of the journal's segments."""
        return self.path / "metrics"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def heartbeat(self) -> Path:
        """Touched while the run lives."""
        return self.path / "heartbeat"

    @property
    def lock(self) -> Path:
        """Who writes to this run."""
        return self.path / "lock"

    @property
    def media(self) -> Path:
        """The folder of images, figures, tables, texts and artifacts."""
        return self.path / "media"

    @property
    def summaries(self) -> Path:
        """The folder of what only TensorBoard knows how to show."""
        return self.path / "summaries"

    @property
    def machine(self) -> Path:
        """The folder of what was seen of the machine's use."""
        return self.path / "machine"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def queue_file(self) -> Path:
        """What the ClearML server last said of this run, which waits in a queue: queue.json."""
        return self.path / "queue.json"

    @property
    def slurm_file(self) -> Path:
        """The Slurm job that is to train this run, or was: slurm.json."""
        return self.path / "slurm.json"

    @property
    def batch_script(self) -> Path:
        """What Slurm was given to run: slurm.sh."""
        return self.path / "slurm.sh"

    @property
    def code(self) -> Path:
        """The code that a queued run is trained with, unpacked."""
        return self.path / "code"

    @property
    def mirror_file(self) -> Path:
        """What the ClearML server has acknowledged of this run: mirror.json."""
        return self.path / "mirror.json"

    @property
    def mirror_lock(self) -> RunDirectory:
        """The folder that holds the lock of the sender that mirrors this run."""
        return RunDirectory(self.path / ".mirror")

    def console(self, rank: int = 0) -> Path:
        """What the process of this rank printed."""
        return self.path / ("console.log" if rank == 0 else f"console.{rank}.log")
