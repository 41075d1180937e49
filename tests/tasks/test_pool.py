"""Commands on slots: real ones, forked as `train A B C` forks them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import environment, wait_for
from torch_lab.errors import RunError, Stopped, UsageError
from torch_lab.store.environment import usable_cores
from torch_lab.tasks.pool import Ended, Job, Pool, Slot, memory, slots, starting
from torch_lab.tasks.pool.child import ANNOUNCE, announced

VERSION, WRONG = ("--version",), ("nonsense",)
SLEEPS = "import time\nhparams = time.sleep(100)\n"


# What is tried here trains nothing: the starter's seconds for torch are those of other tests.
LIGHT = "import sys, types; sys.modules['torch_lab.tasks.running'] = types.ModuleType('none'); "


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(starting, "_CODE", LIGHT + starting._CODE)


class Labeled:
    """Makes jobs with a log each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, label: str, argv: tuple[str, ...] = VERSION, **fields: object) -> Job:
        return Job(argv, self._folder / f"{label}.log", label, **fields)  # type: ignore[arg-type]


@pytest.fixture
def job(tmp_path: Path) -> Labeled:
    return Labeled(tmp_path)


@pytest.fixture
def sleeping(job: Labeled, tmp_path: Path) -> Callable[[str], Job]:
    """Commands that would take long."""
    script = tmp_path / "hparams.py"
    script.write_text(SLEEPS)
    return lambda label: job(label, ("train", str(script)))


def pids(pool: Pool) -> list[int]:
    return [each.pid for each in pool.running if each.pid is not None]


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_free_slot_gets_the_next_job_at_once_and_jobs_are_asked_for_only_then(job: Labeled):
    asked: list[int] = []
    told: list[str] = []
    pool = Pool(slots(None, 2), every=0.05)

    def supply() -> Iterator[Job | None]:
        for number in range(5):
            assert len(pool.running) < 2
            asked.append(number)
            argv = WRONG if number == 1 else VERSION
            yield job(str(number), argv, on_end=lambda ended: told.append(ended.job.label))
        yield None  # none now
        yield job("later")

    ended: list[Ended] = []
    for each in pool.run(supply()):
        assert len(asked) <= len(ended) + 3
        ended.append(each)
    assert sorted(each.job.label for each in ended) == ["0", "1", "2", "3", "4", "later"]
    assert sorted(told) == ["0", "1", "2", "3", "4"]
    statuses = {each.job.label: each.status for each in ended}
    assert statuses.pop("1") == 2
    assert set(statuses.values()) == {0}
    said = {each.job.label: each.said for each in ended}
    assert said["0"].startswith("torch-lab ")
    assert "no verb 'nonsense'" in said["1"]
    assert {each.slot.number for each in ended} == {0, 1}
    assert all(each.run is None for each in ended)


def test_a_command_that_is_killed_and_a_starter_that_is(sleeping: Callable[[str], Job]):
    killed: list[int] = []
    pool = Pool(slots(None, 1), every=0.05)

    def kill() -> None:
        for pid in pids(pool):
            if pid in killed:
                continue
            killed.append(pid)
            starter = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(pid if len(killed) == 1 else starter, signal.SIGKILL)

    pool.on_tick = kill
    ended = list(pool.run([sleeping("killed"), sleeping("orphaned")]))
    assert [each.status for each in ended] == [-signal.SIGKILL, -signal.SIGTERM]
    assert [each.exit_status for each in ended] == [137, 143]
    assert not any(map(lives, killed))


def test_a_signal_is_told_once_and_nothing_more_is_started(sleeping: Callable[[str], Job]):
    pool = Pool(slots(None, 2), every=0.05)
    sent = threading.Event()

    def send() -> None:
        if len(pids(pool)) == 2 and not sent.is_set():
            sent.set()
            os.kill(os.getpid(), signal.SIGHUP)

    pool.on_tick = send
    before = signal.getsignal(signal.SIGHUP)
    ended: list[Ended] = []
    with pytest.raises(Stopped) as stopped:
        ended.extend(pool.run(map(sleeping, ["a", "b", "c"])))
    assert stopped.value.signum == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) is before
    assert [each.status for each in ended] == [-signal.SIGHUP] * 2, [e.said for e in ended]
    assert not pool.running


def test_what_is_left_ends_with_whoever_waits(sleeping: Callable[[str], Job]):
    pool = Pool(slots(None, 1), every=0.05)
    found: list[int] = []

    def fail() -> None:
        found.extend(pids(pool))
        if found:
            raise ValueError("the one who waits")

    pool.on_tick = fail
    with pytest.raises(ValueError, match="who waits"):
        list(pool.run([sleeping("a")]))
    wait_for(lambda: not lives(found[0]))


def test_a_starter_that_can_not_start(job: Labeled, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(starting, "_CODE", "raise SystemExit('no torch here')")
    with pytest.raises(RunError) as error:
        list(Pool(slots(None, 1)).run([job("a")]))
    assert str(error.value) == ("the process that starts the commands has ended\nno torch here")
    monkeypatch.setattr(starting, "_CODE", "pass")
    with pytest.raises(RunError, match="It said nothing"):
        list(Pool(slots(None, 1)).run([job("a")]))


def test_a_prepared_pool_that_is_not_needed_leaves_nothing():
    pool = Pool(slots(None, 1))
    pool.prepare()
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 60
    assert pool._starter is None


# -- slots -----------------------------------------------------------------------------------


def test_a_slot_for_each_gpu_and_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch):
    cores = int(usable_cores() or 1)
    found = slots((2, 3), None)
    assert [(slot.gpus, slot.threads) for slot in found] == [
        ((2,), max(cores // 2, 1)),
        ((3,), max(cores // 2, 1)),
    ]
    assert found[0].words() == ("-g", "0")
    assert str(found[1]) == "GPU 3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-aa,7, 8")
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in found] == ["7", "8"]
    assert found[0].environment()["OMP_NUM_THREADS"] == str(max(cores // 2, 1))
    assert len(slots((0, 1, 2), None, most=2)) == 2


def test_slots_without_gpus(monkeypatch: pytest.MonkeyPatch):
    found = slots(None, 3)
    assert [slot.number for slot in found] == [0, 1, 2]
    assert found[0].words() == ()
    assert str(found[2]) == "slot 2"
    assert "CUDA_VISIBLE_DEVICES" not in found[0].environment()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # the user's own limit stays
    assert "OMP_NUM_THREADS" not in found[0].environment()
    assert "MKL_NUM_THREADS" in found[0].environment()
    with pytest.raises(UsageError, match="can't be given together"):
        slots((0,), 2)


@pytest.mark.parametrize(("gpus", "cores", "count"), [(0, 2, 1), (0, 17, 4), (3, 2, 3)])
def test_slots_where_nobody_says_how_many(
    gpus: int, cores: int, count: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch_lab.store.environment.usable_cores", lambda: cores)
    found = slots(None, None)
    assert len(found) == count
    assert all((slot.gpus is None) == (gpus == 0) for slot in found)


# -- the memory's end ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/jobs/7\n", "/sys/fs/cgroup/jobs/7/memory.events"),
        ("4:cpu,memory:/a\n0::/\n", "/sys/fs/cgroup/memory/a/memory.oom_control"),
        ("", "/proc/vmstat"),
    ],
)
def test_the_kernels_counts_of_whom_it_killed(
    groups: str, file: str, monkeypatch: pytest.MonkeyPatch
):
    texts = {"/proc/self/cgroup": groups, file: "low 0\noom 9\noom_kill 3\noom_kill_disable 0\n"}
    monkeypatch.setattr(memory, "contents", lambda path: texts.get(path, ""))
    assert memory.kills() == 3


def test_a_killed_command_is_told_apart(job: Labeled, monkeypatch: pytest.MonkeyPatch):
    counts = iter([5, 6])
    monkeypatch.setattr("torch_lab.tasks.pool.pool.kills", lambda: next(counts))
    pool = Pool([Slot(0, None, 1)], every=0.05)
    pool.on_tick = lambda: [os.kill(pid, signal.SIGKILL) for pid in pids(pool)] and None  # type: ignore[func-returns-value]
    script = Path("hparams.py")
    script.write_text(SLEEPS)
    (ended,) = pool.run([job("a", ("train", str(script)))])
    assert ended.status == -signal.SIGKILL
    assert ended.out_of_memory


def test_an_announcement_that_is_none(tmp_path: Path):
    file = tmp_path / "a.run"
    assert announced(file) is None
    file.write_text("[]")
    assert announced(file) is None
    file.write_text('{"directory": "/runs/a_v0"}')
    found = announced(file)
    assert found is not None
    assert found.name == "a_v0"
    assert ANNOUNCE not in os.environ
