from __future__ import annotations

from pathlib import Path

import torch
from recording_helpers import Training

from torch_lab.recording import overview
from torch_lab.store.segments import Segment, encode


def test_a_run_that_recorded_nothing_more(tmp_path: Path) -> None:
    training = Training(tmp_path)
    assert overview.media(training.run) == {}
    assert overview.machine_use(training.run) == {}
    assert list(overview.rows(training.run)) == []


def test_counts_and_use(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.recorder.text("note", "x")
    training.recorder.image("x", torch.rand(2, 1, 3, 3))
    use = Segment(training.run.machine, None, "the machine's use in")
    for number in (10.0, 20.0):
        gpu = {"gpu0_percent": number, "gpu0_memory_bytes": 2e9, "gpu0_watts": 100.0}
        gpu |= {"gpu10_celsius": 60.0}
        training_use = {"training_cpu_percent": 100 + number, "training_memory_bytes": 1e9}
        values = {"cpu_percent": number, "memory_bytes": 3e9, **training_use, **gpu}
        use.write(encode({"t": number, "values": values}))
    assert overview.media(training.run) == {"image": 2, "text": 1}
    assert overview.machine_use(training.run)["cpu_percent"] == {"mean": 15.0, "max": 20.0}
    assert list(overview.rows(training.run)) == [
        ("media", "2 images, 1 text"),
        ("training", "CPU 115 %, memory 1.0 GB at most"),
        ("machine", "CPU 15 %, memory 3.0 GB at most"),
        ("GPU 0", "15 %, memory 2.0 GB at most, 100 W"),
        ("GPU 10", "60 °C"),
    ]
