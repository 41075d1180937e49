"""A Slurm of the test's own: `sbatch`, `squeue`, `scontrol` and `srun` as scripts in a folder.

Jobs wait until a test runs them: the batch script by bash, what it gives to `srun` in a process
that needn't import torch again. With `real` they start at once, on their own, and `srun` runs
what it is given.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.tiny_project import Lab, Outcome, Started

_SBATCH = r"""#!/bin/bash
printf '%s\n' "$*" >> "$CLUSTER/asked"; env > "$CLUSTER/sbatch.env"
if [ -e "$CLUSTER/refuses" ]; then cat "$CLUSTER/refuses" >&2; exit 1; fi
job=$(( $(cat "$CLUSTER/last") + 1 )); echo "$job" > "$CLUSTER/last"
cp "${@: -1}" "$CLUSTER/$job.sh"
if [ -e "$CLUSTER/real" ]; then
  log=$(sed -n 's/^#SBATCH --output="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$CLUSTER/$job.sh")
  (
    export SLURM_JOB_ID=$job SLURM_JOB_NAME=tiny SLURM_RESTART_COUNT=0
    while true; do
      bash "$CLUSTER/$job.sh"
      echo "$?" >> "$CLUSTER/$job.ended"
      rm "$CLUSTER/$job.requeued" 2>/dev/null || break
      SLURM_RESTART_COUNT=$((SLURM_RESTART_COUNT + 1))
    done
  ) </dev/null >>"${log//%j/$job}" 2>&1 &
fi
cat "$CLUSTER/answer" 2>/dev/null || echo "$job"
"""
_SQUEUE = r"""#!/bin/bash
printf '%s\n' "$*" >> "$CLUSTER/squeue"
[ -e "$CLUSTER/hangs" ] && exec sleep 60
[ -e "$CLUSTER/down" ] && { echo "slurm_load_jobs error: Unable to contact slurm" >&2; exit 1; }
cat "$CLUSTER/jobs"
"""
_SCONTROL = """#!/bin/bash
printf '%s\\n' "$*" >> "$CLUSTER/scontrol"
touch "$CLUSTER/$2.requeued"
"""
_SRUN = r"""#!/bin/bash
if [ -e "$CLUSTER/real" ]; then
  while [[ $1 == --* ]]; do shift; done
  exec "$@"
fi
printf '%s\0' "$@" > "$CLUSTER/step.words"
env -0 > "$CLUSTER/step.env"; pwd > "$CLUSTER/step.cwd"
"""
_COMMANDS = {"sbatch": _SBATCH, "squeue": _SQUEUE, "scontrol": _SCONTROL, "srun": _SRUN}
_OF_STEP = re.compile(r"(SLURM_|TORCH_LAB_|_TORCH_LAB_|CLUSTER$|PATH$)")


@dataclass(frozen=True)
class Cluster:
    """A project's Slurm."""

    lab: Lab
    folder: Path

    @classmethod
    def beside(cls, lab: Lab) -> Cluster:
        folder = lab.root.parent / "cluster"
        commands = folder / "bin"
        commands.mkdir(parents=True)
        for name, text in _COMMANDS.items():
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        (folder / "last").write_text("16\n")
        (folder / "jobs").touch()
        return cls(lab, folder)

    @property
    def env(self) -> dict[str, str]:
        """The environment of somebody on a login node."""
        return {"CLUSTER": str(self.folder), "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def do(self, *words: str | Path, **variables: str) -> Outcome:
        return self.lab.do(*words, env=self.env | variables)

    def script(self, job: int = 17) -> str:
        return (self.folder / f"{job}.sh").read_text()

    def say(self, name: str, text: str = "") -> None:
        """Let a command behave as a file of that name tells it."""
        (self.folder / name).write_text(text)

    def told(self, name: str) -> list[str]:
        """What a command was asked, each time."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def queue(self, *jobs: str) -> None:
        """What squeue shows: `17|PENDING|Priority|N/A|name` a line."""
        self.say("jobs", "".join(f"{job}\n" for job in jobs))

    def step(self, job: int = 17, **variables: str) -> tuple[list[str], Path, dict[str, str]]:
        """Run a batch script as Slurm would; what it gives to srun, where, in which environment."""
        given = {"SLURM_JOB_ID": str(job), "SLURM_JOB_NAME": "tiny"} | variables
        script = self.folder / f"{job}.sh"
        done = subprocess.run(
            ["bash", str(script)],
            env=os.environ | self.env | given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        words = (self.folder / "step.words").read_text().split("\0")[:-1]
        pairs = (each.partition("=") for each in (self.folder / "step.env").read_text().split("\0"))
        env = {name: value for name, _, value in pairs if _OF_STEP.match(name)}
        return words, Path((self.folder / "step.cwd").read_text().strip()), env

    def start(self, job: int = 17, **variables: str) -> Started:
        """Run a job: its batch script, and what that gives to srun."""
        words, cwd, env = self.step(job, **variables)
        train = words[words.index("torch_lab") + 1 :]
        out, err = self.folder / "step.out", self.folder / "step.err"
        for path in (out, err):
            path.unlink(missing_ok=True)
        pid = self.lab.zygote.start(*train, cwd=cwd, log=out, errors=err, env=env)
        return Started(pid, out, err)

    def run(self, job: int = 17, **variables: str) -> Outcome:
        return self.lab.ended(self.start(job, **variables))
