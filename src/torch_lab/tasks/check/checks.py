"""All checks, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch_lab.tasks.check.configured import configured
from torch_lab.tasks.check.data import data
from torch_lab.tasks.check.elsewhere import elsewhere
from torch_lab.tasks.check.findings import Finding
from torch_lab.tasks.check.keys import keys
from torch_lab.tasks.check.leaks import leaks
from torch_lab.tasks.check.limits import limits
from torch_lab.tasks.check.losses import losses
from torch_lab.tasks.check.metrics import metrics
from torch_lab.tasks.check.modes import modes
from torch_lab.tasks.check.monitoring import monitoring
from torch_lab.tasks.check.parameters import parameters
from torch_lab.tasks.check.rates import rates
from torch_lab.tasks.check.resources import arrays, disk, memory
from torch_lab.tasks.check.starting import starting
from torch_lab.tasks.check.subject import Subject
from torch_lab.tasks.check.targets import targets

Check = Callable[[Subject], Iterator[Finding]]

# Each looks at what is there, and finds nothing where an earlier failure left it nothing to see.
CHECKS: tuple[Check, ...] = (
    data,
    leaks,
    targets,
    losses,
    metrics,
    parameters,
    modes,
    rates,
    configured,
    keys,
    limits,
    monitoring,
    elsewhere,
    starting,
    memory,
    disk,
)

# What is said of gradients, optimizers and layers is nothing for an estimator.
OF_ESTIMATORS: tuple[Check, ...] = (
    data,
    leaks,
    metrics,
    keys,
    monitoring,
    starting,
    arrays,
    disk,
)
