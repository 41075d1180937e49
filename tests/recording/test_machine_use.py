from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from torch_lab.recording import machine
from torch_lab.recording.machine import Machine, Process, descendants, gpu_values
from torch_lab.store.paths import RunDirectory

SMI = """\
#!/bin/sh
echo called >> {log}
case "$*" in *utilization.gpu*) ;; *) exit 1 ;; esac
echo "0, GPU-aaaa, 87, 1024, 65, 250.50"
echo "1, GPU-bbbb, 3, 512, [N/A], [Not Supported]"
"""


def fake_smi(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    log = folder / "log"
    script = folder / "nvidia-smi"
    script.write_text(text.format(log=log))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return log


BOTH = {
    "gpu0_percent": 87.0,
    "gpu0_memory_bytes": 1024 * 2**20,
    "gpu0_celsius": 65.0,
    "gpu0_watts": 250.5,
    "gpu1_percent": 3.0,
    "gpu1_memory_bytes": 512 * 2**20,
}


def test_gpus_as_nvidia_smi_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_smi(tmp_path, SMI, monkeypatch)
    values = Machine(os.getpid()).sample()
    assert {name: value for name, value in values.items() if name.startswith("gpu")} == BOTH


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("1", {"gpu1"}),
        ("GPU-aa", {"gpu0"}),
        ("0,1", {"gpu0", "gpu1"}),
        ("", {"gpu0", "gpu1"}),
        ("MIG-1", {"gpu0", "gpu1"}),
    ],
)
def test_gpus_that_training_sees(visible: str, gpus: set[str]) -> None:
    lines = ["0, GPU-aaaa, 87, 1024, 65, 250.50", "1, GPU-bbbb, 3, 512, 60, 1", "oops"]
    assert {name.partition("_")[0] for name in gpu_values(lines, visible)} == gpus


def test_a_broken_nvidia_smi_is_asked_three_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_smi(tmp_path, "#!/bin/sh\necho called >> {log}\nexit 9\n", monkeypatch)
    use = Machine(os.getpid())
    for _ in range(5):
        assert not any(name.startswith("gpu") for name in use.sample())
    assert log.read_text().count("called") == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_cpu_and_memory_of_the_training_and_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    code = "b = bytearray(100_000_000)\nwhile True: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], start_new_session=True) as training:
        try:
            use = Machine(training.pid)
            deadline = time.monotonic() + 20
            while True:
                time.sleep(0.2)
                values = use.sample()
                busy = values["training_cpu_percent"] > 5
                if busy and values["training_memory_bytes"] > 100_000_000:
                    break
                assert time.monotonic() < deadline, values
        finally:
            os.killpg(training.pid, 9)
    assert 0 < values["cpu_percent"] <= 100
    assert values["memory_bytes"] > 0
    values = use.sample()
    assert "training_cpu_percent" not in values, "it has ended"


def test_a_process_tree_without_the_one_who_asks() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 13: 10, 14: 13, 20: 1}
    table = {pid: Process(parent, 0.0, 1) for pid, parent in parents.items()}
    assert set(descendants(table, 10, without=13)) == {10, 11, 12}
    assert descendants(table, 99, without=13) == {}


def test_the_table_of_processes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc: what ps prints on macOS."""
    text = "    1     0   1:02.50   2048\n  501     1 1-01:00:00.00  100\nbroken\n"
    assert dict(machine._from_ps(text)) == {
        1: Process(0, 62.5, 2048 * 1024),
        501: Process(1, 90000.0, 100 * 1024),
    }
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(machine, "ask", lambda *command, timeout: text)
    assert machine._busy_seconds() == 90062.5
    monkeypatch.setattr(machine, "ask", lambda *command, timeout: None)
    assert machine._busy_seconds() is None


def test_the_first_sample_is_that_of_the_first_start(tmp_path):
    run = RunDirectory(tmp_path)
    assert machine.began(run) is None
    run.machine.mkdir()
    for number, moment in enumerate((5.5, 9.0)):
        header, sample = '{"format":1,"t":1.0}', f'{{"t":{moment},"values":{{}}}}'
        (run.machine / f"000{number}.jsonl").write_text(f"{header}\n{sample}\n")
    assert machine.began(run) == 5.5
