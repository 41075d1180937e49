from typing import Any, Callable, Dict, Optional

import numpy as np

from torch_lab.datasets import BaseDataset
from torch_lab.typing import CollateData


class WaveDataset(BaseDataset):
    """Waves with their class; sets its transform itself."""

    def __init__(self, path, part: slice, transform: Optional[Callable] = None):
        self.transform = transform
        with np.load(path) as arrays:
            self.waves, self.fast = arrays["waves"][part], arrays["fast"][part]

    def __len__(self):
        return len(self.fast)

    def get_additional_metadata(self, i: int) -> Dict[str, CollateData]:
        return {"name": f"wave {i:02}", "scale": float(i)}

    def get_raw_data(self, md: Dict[str, Any]) -> Any:
        return self.waves[md["i"]]

    def get_raw_label(self, md: Dict[str, Any]) -> Any:
        return int(self.fast[md["i"]])


class UnknownWaveDataset(BaseDataset):
    """Waves without a class."""

    def __init__(self, path, transform):
        super().__init__(transform)
        with np.load(path) as arrays:
            self.waves = arrays["waves"]

    def __len__(self):
        return len(self.waves)

    def get_raw_data(self, md):
        return self.waves[md["i"]]


class PairDataset(WaveDataset):
    """A wave and its difference, as a dict."""

    def get_raw_data(self, md):
        wave = super().get_raw_data(md)
        return {"wave": wave, "steps": np.diff(wave, prepend=0)}
