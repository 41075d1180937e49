"""What the command line asks of `lab export`, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_lab.errors import UsageError
from torch_lab.utils.paths import absolute, display

WEIGHTS = ".safetensors"
PROGRAM = ".pt2"
SKOPS = ".skops"
UBJ = ".ubj"
OF_NETWORKS = (WEIGHTS, PROGRAM)
OF_ESTIMATORS = (SKOPS, UBJ)


@dataclass(frozen=True)
class ExportOptions:
    """One export: which run, to which file, and what its model is called with.

    `input` is a file with an example; `samples` how many the program always takes, None for any
    number.
    """

    run: str
    out: Path
    input: Path | None = None
    samples: int | None = None
    overrides: tuple[str, ...] = ()
    trust: bool = False

    @property
    def is_program(self) -> bool:
        """Whether the model becomes a program, or else a file of weights."""
        return self.out.suffix == PROGRAM


def out_file(text: str, run: str) -> Path:
    """The file that --out names, absolute; its ending says what it becomes."""
    path = absolute(text)
    named = f"write --out {display(path / run.rpartition('/')[2].partition(':')[0])}{WEIGHTS}"
    if path.is_dir():
        raise UsageError(f"--out {text} is a folder", hint=named)
    if path.suffix not in OF_NETWORKS + OF_ESTIMATORS:
        *first, last = OF_NETWORKS + OF_ESTIMATORS
        raise UsageError(
            f"--out {text}: expected a name that ends in {', '.join(first)} or {last}",
            hint=f"{WEIGHTS} holds a network's weights, {PROGRAM} the network that torch.export"
            f" reads from the code, which runs without it; {SKOPS} an estimator of scikit-learn,"
            f" {UBJ} one of XGBoost",
        )
    return path
