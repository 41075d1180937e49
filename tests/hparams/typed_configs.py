"""Configs with a type, for the tests of what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required, TypedDict

from pydantic import BaseModel, ConfigDict, Field, field_validator

if TYPE_CHECKING:
    from nowhere import Unknown


class Schedule(Enum):
    COSINE = "cosine"
    STEP = 2


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of the network."""

    width: int  # units
    dropout: float = 0.0
    """the share of units
    left out"""


@dataclass
class Adam:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass
class SGD:
    lr: float = 0.1
    momentum: float = 0.9


class Augmentation(BaseModel):
    """As pydantic has it."""

    flip: bool = Field(default=False, description="mirror half of the images")
    angle: float = Field(default=0.0, ge=0)  # degrees
    crops: int = Field(default=1, alias="n_crops")


class Paths(TypedDict, total=False):
    train: Required[Path]
    test: Path  # may be missing
    more: NotRequired[list[Path]]


@dataclass
class Base:
    num_workers: int = 4


@dataclass
class Config(Base):
    """Something of everything."""

    model: Block = field(kw_only=True)
    #: which steps to take,
    #: and how large they are
    optimizer: Adam | SGD = field(default_factory=lambda: SGD(momentum=0.5))
    schedule: Schedule | None = None
    activation: Literal["relu", "tanh", 3] = "relu"
    root: Path = Path("data")
    epochs: int | float = field(default=1, metadata={"help": "how often"})
    sizes: list[int] = field(default_factory=list)
    names: tuple[str, ...] = ()
    blocks: dict[str, Block] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    order: Sequence[int] = (1, 2)
    augment: Augmentation = field(default_factory=Augmentation)
    paths: Paths | None = None
    verbose: Annotated[bool, "loud"] = False
    scale: Callable[[int], float] = float
    error: type[Exception] = ValueError
    unknown: Unknown = None
    anything: Any = None
    steps: int = field(default=0, init=False)

    def __post_init__(self):
        if self.num_workers < 0:
            raise ValueError("num_workers is negative")


class Whole(BaseModel):
    """A config that is a pydantic model."""

    model_config = ConfigDict(frozen=True)
    width: int
    schedules: list[Schedule] = []
    augment: Augmentation = Augmentation()
    several: list[Augmentation] = []
    named: dict[str, Augmentation] = {}

    @field_validator("width")
    @classmethod
    def _is_positive(cls, width: int) -> int:
        if width <= 0:
            raise ValueError("width has to be positive")
        return width


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    width: int = 1


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    width: int = Field(default=1, alias="w")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: int = 1
