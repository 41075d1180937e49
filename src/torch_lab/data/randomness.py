"""Seeds that are addresses, and the generators that are given them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import ModuleType
from typing import Any

import numpy as np
import torch

_MASK = (1 << 64) - 1
ORDER = -1  # stands in the address where a batch number would: the draw of an epoch's order


def address_seed(*address: int) -> int:
    """A 64-bit seed mixed from integers, the same in every process and Python version."""
    state = 0x9E3779B97F4A7C15
    for part in address:
        state = ((state ^ (part & _MASK)) * 0xBF58476D1CE4E5B9) & _MASK
        state ^= state >> 27
        state = (state * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def seed_everything(seed: int) -> None:
    """Let Python's, numpy's and torch's generators begin at `seed`."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed also visits every accelerator


_own_bits: np.random.MT19937 | None = None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's, numpy's and torch's generators begin at `seed` inside and are as before after."""
    global _own_bits
    python, bits = random.getstate(), np.random.get_bit_generator()  # type: ignore[attr-defined]
    own = torch.get_rng_state()
    # Swapping numpy's bit generator is a pointer; copying its state takes 50 microseconds. A
    # nested use must not share the spare one.
    spare, _own_bits = _own_bits, None
    spare = spare or np.random.MT19937()
    try:
        np.random.set_bit_generator(spare)  # type: ignore[attr-defined]
        seed_everything(seed)
        yield
    finally:
        np.random.set_bit_generator(bits)  # type: ignore[attr-defined]
        _own_bits = spare
        random.setstate(python)
        torch.set_rng_state(own)


# Generators of people's own: `self.rng = np.random.default_rng(0)` in a dataset, a transform or a
# sampler. They are numpy's, torch's and Python's randomness as well.

_Generator = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_PLAIN = (torch.Tensor, np.ndarray, str, bytes, int, float, type(None), type, ModuleType)
_DEPTH = 6
_ITEMS = 64  # of a collection: one of samples may be long
_OBJECTS = 2000


def own_generators(owner: object) -> list[Any]:
    """The generators that an object, or what it is made of, keeps in its attributes."""
    found: list[Any] = []
    seen: set[int] = set()
    level = [owner]
    for _ in range(_DEPTH):
        level = [each for each in level if id(each) not in seen and _may_hold(each)][:_OBJECTS]
        seen.update(map(id, level))
        found += [each for each in level if isinstance(each, _Generator)]
        level = [part for each in level for part in _parts(each)]
    return found


def _may_hold(value: object) -> bool:
    """Not plain data, and not Lightning, from where everything can be reached."""
    return not (isinstance(value, _PLAIN) or type(value).__module__.startswith("pytorch_lightning"))


def _parts(value: object) -> list[object]:
    if isinstance(value, _Generator):
        return []
    if isinstance(value, dict):
        return list(islice(value.values(), _ITEMS))
    if isinstance(value, (list, tuple)):
        return list(islice(value, _ITEMS))
    return list(getattr(value, "__dict__", {}).values())


def reseed(generators: list[Any], seed: int) -> None:
    """Let each of them begin at a seed of its own that follows from `seed`."""
    for number, generator in enumerate(generators):
        own = address_seed(seed, number)
        if isinstance(generator, np.random.Generator):
            bits = generator.bit_generator
            bits.state = type(bits)(own).state
        elif isinstance(generator, np.random.RandomState):
            generator.seed(own & 0xFFFFFFFF)
        elif isinstance(generator, torch.Generator):
            generator.manual_seed(own)
        else:
            generator.seed(own)
