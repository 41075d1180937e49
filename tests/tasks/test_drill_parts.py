"""How a drill shortens an experiment, where it cuts, and how it says what it found."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import Project
from torch_lab.engine.drill import Cut, Drill
from torch_lab.errors import RunError
from torch_lab.tasks.drill.attempts import Attempt, Copy, Starter
from torch_lab.tasks.drill.limits import overrides
from torch_lab.tasks.drill.rehearsal import cuts
from torch_lab.tasks.drill.traces import Event, Trace, differing, noise, read_trace
from torch_lab.tasks.drill.verdict import explained, first_difference, uneven
from torch_lab.tasks.options import TrainOptions
from torch_lab.tasks.plan import plan


def shortened(project: Project, hparams: str, *given: str) -> list[str]:
    """What a drill sets for a script."""
    project.write("lab_project/experiments/00_a/__main__.py", "def train_config(config): ...\n")
    script = project.write("lab_project/experiments/00_a/h.py", f"hparams = {hparams}\n")
    texts = overrides(plan(script, TrainOptions(script, overrides=given)))
    return [text.removeprefix("trainer.init.") for text in texts]


def of_trainer(project: Project, init: str) -> list[str]:
    usual = ("max_epochs=2", "limit_train_batches=4", "limit_val_batches=2")
    usual += ("log_every_n_steps=2", "limit_test_batches=0")
    texts = shortened(project, f'{{"config": {{}}, "trainer": {{"init": {init}}}}}')
    return [text for text in texts if text not in usual]


def test_a_few_batches_over_an_epochs_end(project: Project) -> None:
    assert shortened(project, '{"config": {"lr": 1}}', "lr=2") == [
        "lr=2",
        "max_epochs=2",
        "limit_train_batches=4",
        "limit_val_batches=2",
        "log_every_n_steps=2",
        "limit_test_batches=0",
    ]


@pytest.mark.parametrize(
    ("init", "more"),
    [
        ('{"max_epochs": 100, "limit_train_batches": 0.5}', []),
        ('{"accumulate_grad_batches": 8}', ["limit_train_batches=10"]),
        ('{"check_val_every_n_epoch": 5}', ["check_val_every_n_epoch=1"]),
        ('{"reload_dataloaders_every_n_epochs": 3}', ["reload_dataloaders_every_n_epochs=1"]),
        ('{"val_check_interval": 1000}', ["val_check_interval=2"]),
        ('{"val_check_interval": 0.25}', []),
        ('{"val_check_interval": 3}', []),
        ('{"overfit_batches": 0.5}', ["overfit_batches=4"]),
        ('{"fast_dev_run": True}', ["fast_dev_run=False"]),
        ('{"min_epochs": 10}', ["min_epochs=None"]),
    ],
)
def test_what_would_never_happen_in_a_few_batches_is_brought_near(
    project: Project, init: str, more: list[str]
) -> None:
    assert of_trainer(project, init) == more


def test_what_is_shorter_already_stays(project: Project) -> None:
    init = '{"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0}'
    texts = shortened(project, f'{{"config": {{}}, "trainer": {{"init": {init}}}}}')
    assert texts == ["log_every_n_steps=2", "limit_test_batches=0"]


def test_where_it_starts_from_and_what_it_sends(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = '"checkpoint": {"checkpoint_task_id": "some_run"}, "task": {"sdk": True}'
    sections += ', "trainer": {"validate": {"ckpt_path": "other"}}'
    texts = shortened(project, f'{{"config": {{}}, {sections}}}')
    assert texts[-3:] == [
        "checkpoint.checkpoint_task_id=None",
        "trainer.validate.ckpt_path=None",
        "task.sdk=False",
    ]
    said = capsys.readouterr().err
    assert "the drill trains from the beginning, not from hparams' checkpoint" in said
    assert "the drill leaves out trainer.validate.ckpt_path" in said


def event(batch: int, at: str = "boundary", mid_epoch: bool = True, **states: str) -> Event:
    return Event(at, batch, 0, mid_epoch, {key.replace("_", ": "): v for key, v in states.items()})


def trace(*events: Event) -> Trace:
    made = Trace()
    for each in events:
        if each.at == "boundary":
            made.boundaries[each.batch] = each
        else:
            setattr(made, each.at, each)
    return made


def attempt(*events: Event) -> Attempt:
    return Attempt(1, None, trace(*events), None, 0.0)


def test_cuts_are_in_mid_epoch_in_validations_and_at_ends() -> None:
    ends = [event(n, mid_epoch=n % 4 > 0, **({"validation_": "x"} if n == 4 else {}))
            for n in range(1, 9)]  # fmt: skip
    assert cuts(trace(*ends)) == [
        Cut(2, "step"),
        Cut(3, "validation"),
        Cut(4, "boundary"),
        Cut(5, "step"),
        Cut(8, "boundary"),
    ]
    assert cuts(trace(event(1, mid_epoch=False))) == [Cut(1, "boundary")]
    assert cuts(trace()) == []


def test_the_first_difference_is_found_in_the_order_of_causes() -> None:
    whole = trace(event(1, weight_w="a"), event(2, weight_w="b", loss_="1", order_="x"))
    found = first_difference(
        whole,
        attempt(event(1, "resumed", weight_w="a"), event(2, weight_w="c", loss_="2", order_="y")),
        frozenset(),
    )
    assert found is not None
    assert found.keys == ["order: ", "loss: ", "weight: w"]
    assert found.lost == []
    assert first_difference(whole, attempt(event(2, weight_w="b", loss_="1", order_="x")),
                            frozenset()) is None  # fmt: skip


def test_what_training_has_not_changed_may_be_set_up_anew() -> None:
    changing = {"begin": "0", "later": "1"}
    for at_begin, differs in ((changing["begin"], True), (changing["later"], False)):
        whole = trace(event(0, "begin", attribute_a=at_begin), event(1, attribute_a="1"))
        found = first_difference(whole, attempt(event(1, attribute_a="2")), frozenset())
        assert (found is not None) == differs


def test_other_numbers_of_batches_are_a_difference() -> None:
    whole = trace(event(1, weight_w="a"))
    longer = attempt(event(1, weight_w="a"), event(2, weight_w="a"))
    found = first_difference(whole, longer, frozenset())
    assert found is not None
    assert explained(found, {}).what.startswith("how many batches are trained")
    assert uneven(longer.trace, whole) == ["length: "]


def test_noise_decides_nothing_and_weights_do() -> None:
    one = trace(event(1, weight_w="a", logged_speed="5"))
    other = trace(event(1, weight_w="a", logged_speed="6"))
    assert noise(one, other) == {"logged: speed"}
    assert uneven(one, other) == []
    assert differing(one.boundaries[1], other.boundaries[1], noise(one, other)) == []
    assert uneven(one, trace(event(1, weight_w="b"))) == ["weight: w", "logged: speed"]


def test_a_trace_that_was_cut_or_never_begun_is_read(tmp_path: Path) -> None:
    assert read_trace(tmp_path / "none.jsonl").boundaries == {}


def test_drills_travel_as_text() -> None:
    for drill in (Drill(Path("/a")), Drill(Path("/a"), Cut(3, "step"))):
        assert Drill.from_text(drill.as_text()) == drill


def test_a_starter_that_has_ended_is_said(tmp_path: Path) -> None:
    starter = Starter(tmp_path / "log")
    starter._process.kill()
    with pytest.raises(RunError, match="the process that starts a drill's runs has ended"):
        starter.attempt(Copy(Path("x.py"), (), tmp_path / "copy"), "run")
    starter.close()
