"""Slow and fast sine waves, some of them noisy: run this once before training."""

import argparse

import numpy as np

from torch_lab.paths import PROCESSED_DIR


def main(count):
    chance = np.random.default_rng(0)
    fast = chance.integers(0, 2, count)
    time = np.linspace(0, 6, 8)
    waves = np.sin(time * (1 + 2 * fast[:, None]) + chance.uniform(0, 1, (count, 1)))
    PROCESSED_DIR.mkdir(parents=True, exist_ok=True)
    np.savez(PROCESSED_DIR / "short_waves.npz", waves=waves, fast=fast)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=40)
    main(parser.parse_args().count)
