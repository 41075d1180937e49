"""The networks: plain torch modules that know nothing of training."""

from __future__ import annotations

import torch
from torch import nn


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3x3 convolution that keeps the image's size, normalized and rectified."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class DigitNet(nn.Module):
    """A small convolutional network for one-channel images of any size from 4x4 up."""

    def __init__(self, width: int = 16, dropout: float = 0.2, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(1, width),
            convolution(width, 2 * width),
            nn.MaxPool2d(2),
            convolution(2 * width, 4 * width),
            # Always 2x2, be the images 8x8 or MNIST's 28x28.
            nn.AdaptiveAvgPool2d(2),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(16 * width, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one logit for each class."""
        logits: torch.Tensor = self.head(self.features(x))
        return logits
