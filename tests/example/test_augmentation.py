from __future__ import annotations

import random

import pytest
import torch

from example_project.transforms import RandomNoise, RandomShiftRotate


@pytest.fixture
def image() -> torch.Tensor:
    image = torch.zeros(1, 8, 8)
    image[0, 2:6, 3:5] = 1.0
    return image


def center(image: torch.Tensor) -> tuple[float, float]:
    weights = image[0] / image.sum()
    places = torch.arange(image.shape[-1], dtype=torch.float32)
    return float(weights.sum(0) @ places), float(weights.sum(1) @ places)


def test_nothing_is_changed_by_amounts_of_zero(image: torch.Tensor) -> None:
    md = {"y": 1}
    moved, same = RandomShiftRotate(degrees=0.0, shift=0.0)(image, md)
    assert torch.allclose(moved, image, atol=1e-5)
    assert same is md
    assert torch.equal(RandomNoise(0.0)(image)[0], image)


def test_shifts_stay_within_their_amount(image: torch.Tensor) -> None:
    x, y = center(image)
    move = RandomShiftRotate(degrees=0.0, shift=1 / 8)
    shifts = []
    for _ in range(100):
        moved = center(move(image)[0])
        shifts += [moved[0] - x, moved[1] - y]
    assert max(map(abs, shifts)) <= 1.001
    assert min(shifts) < -0.8
    assert max(shifts) > 0.8


def test_turning_keeps_the_center_and_moves_the_ends(image: torch.Tensor) -> None:
    turned = RandomShiftRotate(degrees=30.0, shift=0.0)(image)[0]
    assert center(turned) == pytest.approx(center(image), abs=0.1)
    assert not torch.allclose(turned, image, atol=0.01)


@pytest.mark.parametrize("size", [8, 28])
def test_shape_and_range_are_kept(size: int) -> None:
    image = torch.rand(1, size, size)
    for transform in (RandomShiftRotate(10.0, 0.1), RandomNoise(0.5)):
        changed, _ = transform(image)
        assert changed.shape == image.shape
        assert float(changed.min()) >= 0.0
        assert float(changed.max()) <= 1.0 + 1e-6


def test_draws_follow_from_pythons_and_torchs_seeds(image: torch.Tensor) -> None:
    augment = RandomShiftRotate(10.0, 0.1) + RandomNoise(0.1)

    def draw(python: int, of_torch: int) -> torch.Tensor:
        random.seed(python)
        torch.manual_seed(of_torch)
        changed: torch.Tensor = augment(image)[0]
        return changed

    assert torch.equal(draw(1, 2), draw(1, 2))
    assert not torch.equal(draw(1, 2), draw(3, 2))
    assert not torch.equal(draw(1, 2), draw(1, 3))


def test_the_given_image_is_left_as_it_was(image: torch.Tensor) -> None:
    before = image.clone()
    (RandomShiftRotate(10.0, 0.1) + RandomNoise(0.1))(image)
    assert torch.equal(image, before)
