"""Augmentation: small changes that leave a digit the digit it is.

They draw from Python's and torch's own generators. torch_lab seeds both for each batch, so that a
resumed run sees the very images that an uninterrupted one would have seen.
"""

from __future__ import annotations

import math
import random

import torch
from torch.nn import functional

from torch_lab.transforms import BaseDataTransform


class RandomShiftRotate(BaseDataTransform):
    """Turn an image (1, H, W) by up to `degrees` and move it by up to `shift` of its size."""

    def __init__(self, degrees: float, shift: float) -> None:
        super().__init__()
        self.degrees = degrees
        self.shift = shift

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        """Return the image as seen from a random position; what comes into view is black."""
        angle = math.radians(random.uniform(-self.degrees, self.degrees))
        # grid_sample's coordinates go from -1 to 1: the size of an image is 2.
        dx, dy = (2 * self.shift * (2 * torch.rand(2) - 1)).tolist()
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = torch.tensor([[[cos, -sin, dx], [sin, cos, dy]]])
        grid = functional.affine_grid(matrix, [1, *x.shape], align_corners=False)
        return functional.grid_sample(x[None], grid, align_corners=False)[0]


class RandomNoise(BaseDataTransform):
    """Add normal noise with standard deviation `std`, within the range 0..1 of the pixels."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        """Return the noisy image."""
        return (x + self.std * torch.randn_like(x)).clamp(0.0, 1.0)
