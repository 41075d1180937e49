import random

import numpy as np

from torch_lab.transforms import BaseDataTransform, BaseMetadataTransform, BaseTransform


class Scale(BaseDataTransform):
    def __init__(self, k: float):
        super().__init__()
        self.k = k

    def compute(self, x):
        return self.k * x


class RandomFlip(BaseTransform):
    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def compute(self, x, md):
        if random.random() < self.p:
            x = np.ascontiguousarray(-x)
        return x, {**md, "flipped": int(np.random.rand() < 0.5)}


class OneHot(BaseMetadataTransform):
    def compute(self, md):
        if "y" in md:
            md["y"] = np.eye(2, dtype="float32")[md["y"]]
        return md
