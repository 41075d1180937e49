"""What `lab check` tries of an experiment, in this process; tests/check_bugs has many more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checked_project import MAIN, TRAIN, Look, look, one, told

from helpers import Project
from torch_lab.tasks.check import Finding, Report, Subject, describe, examine, examining

__all__ = ["look"]


# -- what is looked at -----------------------------------------------------------------------


def test_a_sound_experiment_is_tried_whole(look: Look) -> None:
    report = look(
        "def train_config(config): return parts(test_dataloaders=DataLoader(points(4)))\n"
        "def infer_config(config):\n"
        "    loader = DataLoader([(x, {}) for x, _ in points(6)], batch_size=4)\n"
        '    return {"module": LabModule(nn.Linear(3, 2)), "predict_dataloaders": loader}\n'
    )
    assert report.findings == []
    assert report.facts["stages"] == ["train", "validate", "test", "predict"]
    assert report.facts["parameters"] == 8
    assert report.facts["checkpoint_bytes"] > 100
    assert "accuracy/validate" in report.facts["logged"]
    assert "h.py: nothing found\n  tried on cpu: train, validate, test, predict; loss train " in (
        describe(report)
    )


def test_plans_are_those_of_the_whole_training(look: Look) -> None:
    main = (
        "class Planned(TrainLabModule):\n"
        "    def configure_optimizers(self):\n"
        "        steps = self.trainer.estimated_stepping_batches\n"
        "        assert (steps, self.trainer.num_training_batches) == (9, 5), steps\n"
        "        assert self.trainer.max_epochs == 3\n"
        "        optimizer = torch.optim.SGD(self.parameters(), 0.1)\n"
        "        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps)\n"
        '        return {"optimizer": optimizer,\n'
        '                "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}\n'
        "def train_config(config):\n"
        "    given = module()\n"
        "    made = Planned(given.model, given.loss_function, given.optimizer_config)\n"
        "    return parts(module=made)\n"
    )
    init = '{"max_epochs": 3, "accumulate_grad_batches": 2}'
    assert [f for f in look(main, init).findings if f.level == "error"] == []


def test_what_needs_a_whole_batch_gets_one(look: Look) -> None:
    main = (
        "class Eight(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.reshape(8, 3))\n"
        "def train_config(config): return parts(module=module(Eight(3, 2)))\n"
    )
    assert look(main).findings == []


def test_gradients_of_gradients_are_measured(look: Look) -> None:
    main = (
        "class Penalty(pl.LightningModule):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))\n"
        "    def training_step(self, batch, batch_idx):\n"
        "        x = batch[0].requires_grad_()\n"
        "        y = self.net(x)\n"
        "        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)\n"
        "        return (slope.norm(dim=1) - 1).square().mean() + y.square().mean()\n"
        "    def configure_optimizers(self):\n"
        "        return torch.optim.SGD(self.parameters(), 0.1)\n"
        "def train_config(config):\n"
        "    return parts(module=Penalty(), val_dataloaders=None)\n"
    )
    report = look(main)
    assert report.findings == []
    assert report.facts["memory_bytes"] > 0


# -- failures --------------------------------------------------------------------------------


def test_all_mistakes_in_hparams_with_their_lines(look: Look) -> None:
    report = look(init='{"max_epoch": 3}', more='"sed": 1')
    assert told(report.findings) == [("error", "hparams")] * 2
    assert {each.place.rpartition("/")[2] for each in report.findings} == {"h.py:1"}  # type: ignore[union-attr]
    assert any('did you mean "max_epochs"' in each.message for each in report.findings)


@pytest.mark.parametrize(
    ("main", "code", "words", "line"),
    [
        ("def train_config(config): return parts(module=modul())\n", "configuration", "modul", 1),
        ("def train_config(config):\n    return 3\n", "configuration", "has to return a dict", 0),
        (
            "def train_config(config): return parts(module=module(nn.Linear(4, 2)))\n",
            "step",
            "shapes cannot be multiplied",
            0,
        ),
        (
            "def train_config(config): return parts(module=module(loss=nn.NLLLoss2()))\n",
            "configuration",
            "NLLLoss2",
            1,
        ),
        (
            "def wrong(y_pred, y):\n    return nn.functional.mse_loss(y_pred, y.float())\n"
            "def train_config(config): return parts(module=module(loss=wrong))\n",
            "loss",
            "y_pred float32 (",
            2,
        ),
        (
            "class Broken(list):\n    def __getitem__(self, i):\n        return self.missing[i]\n"
            "def train_config(config):\n"
            "    return parts(train_dataloaders=DataLoader(Broken([1, 2]), batch_size=2))\n",
            "data",
            "no attribute 'missing'",
            3,
        ),
        (
            "class Inplace(nn.Linear):\n    def forward(self, x):\n"
            "        y = super().forward(x).exp()\n        y += 1\n        return y\n"
            "def train_config(config): return parts(module=module(Inplace(3, 2)))\n",
            "backward",
            "modified by an inplace operation",
            0,
        ),
        (
            "class Own(pl.LightningModule):\n"
            "    def training_step(self, batch, batch_idx): ...\n"
            "    def configure_optimizers(self): return torch.optim.SGD(self.nothing, 0.1)\n"
            "def train_config(config): return parts(module=Own())\n",
            "optimizer",
            "no attribute 'nothing'",
            3,
        ),
        (
            "def train_config(config):\n"
            "    return parts(module=module(scheduler=torch.optim.lr_scheduler.LambdaLR,\n"
            '        scheduler_kwargs={"lr_lambda": lambda epoch: None}))\n',
            "scheduler",
            "unsupported operand",
            0,
        ),
    ],
)
def test_a_failure_says_where(look: Look, main: str, code: str, words: str, line: int) -> None:
    findings = look(main).findings
    found = [each for each in findings if each.level == "error"]
    assert {each.code for each in found} == {code}, findings
    assert words in found[0].message
    if line:
        at = f"__main__.py:{MAIN.count(chr(10)) + line}"
        assert (found[0].place or "").endswith(at), found


def test_a_script_that_cannot_be_run(look: Look, project: Project) -> None:
    script = project.write("lab_project/experiments/00_a/h.py", "hparams = {\n")
    project.write("lab_project/experiments/00_a/__main__.py", TRAIN)
    found = examine(script).findings
    assert told(found) == [("error", "hparams")]
    assert "SyntaxError" in found[0].message


def test_all_metrics_and_the_step_are_tried_when_one_fails(look: Look) -> None:
    main = (
        "def train_config(config):\n"
        "    metrics = {'one': MulticlassAccuracy(3), 'good': MulticlassAccuracy(2),\n"
        "               'two': MulticlassAccuracy(2, multidim_average='samplewise')}\n"
        "    return parts(module=module(metrics=metrics))\n"
    )
    report = look(main)
    assert told(report.findings) == [("error", "metric")] * 2
    for metric, found in zip(("one", "two"), report.findings, strict=True):
        assert f"\nin metric '{metric}' (validate), batch 1: y_pred float32 (8, 2)" in found.message
    assert report.facts["stages"] == ["train", "validate"]
    assert "good/validate" in report.facts["logged"]


def test_what_no_checkpoint_can_hold(look: Look) -> None:
    main = (
        "class Odd(TrainLabModule):\n"
        "    def on_save_checkpoint(self, checkpoint):\n"
        "        super().on_save_checkpoint(checkpoint)\n"
        "        checkpoint['odd'] = lambda: 1\n"
        "def train_config(config):\n"
        "    given = module()\n"
        "    return parts(module=Odd(given.model, given.loss_function, given.optimizer_config))\n"
    )
    assert "checkpoint['odd']" in one(look(main), "error", "checkpoint").message


def test_an_epochs_end_that_wants_more_data_is_no_more_than_a_warning(look: Look) -> None:
    main = (
        "class Few(TrainLabModule):\n"
        "    def on_validation_epoch_end(self):\n"
        "        raise ValueError('needs at least 100 samples')\n"
        "def train_config(config):\n"
        "    given = module()\n"
        "    return parts(module=Few(given.model, given.loss_function, given.optimizer_config))\n"
    )
    found = one(look(main), "warning", "epoch-end")
    assert "validate: ValueError: needs at least 100 samples" in found.message


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
def test_what_one_batch_is_too_few_for_is_a_note(look: Look) -> None:
    report = look(
        "class Near(TrainLabModule):\n"
        "    def validation_step(self, batch, _):\n"
        "        self.log('near', self(batch[0]).topk(99, dim=0).values.mean())\n"
        "def train_config(config):\n"
        "    made = module()\n"
        "    made.__class__ = Near\n"
        "    return parts(module=made)\n"
    )
    (found,) = report.findings
    assert (found.level, found.hint) == ("note", "One batch was tried, which may be too few.")


def test_a_device_that_is_not_there_and_the_rest_on_the_cpu(look: Look) -> None:
    main = "def train_config(config): return parts(module=module(nn.Linear(4, 2)))\n"
    report = look(main, '{"max_epochs": 3, "accelerator": "gpu"}')
    assert [each.code for each in report.findings] == ["device", "step", "step"]
    assert "No supported gpu backend found" in report.findings[0].message
    assert (report.findings[0].place or "").endswith("h.py:1")


@pytest.mark.parametrize(
    ("scale", "found"),
    [("torch.ones(2)", True), ("torch.ones(2, device=x.device)", False), ("2.0", False)],
)
def test_what_would_fail_on_a_gpu(look: Look, scale: str, found: bool) -> None:
    main = (
        "class Scaled(nn.Linear):\n"
        "    def forward(self, x):\n"
        f"        return super().forward(x) * {scale}\n"
        "def train_config(config): return parts(module=module(Scaled(3, 2)))\n"
    )
    report = look(main)
    if report.facts["device"] != "cpu":
        pytest.skip("it was tried on a GPU")
    assert told(report.findings) == [("warning", "device")] * found
    for each in report.findings:
        assert each.message.startswith("on a GPU this fails: something is on the CPU")
        assert (each.place or "").endswith(f"__main__.py:{MAIN.count(chr(10)) + 3}")


def test_what_the_trainer_refuses_is_said_once_and_the_rest_is_tried(look: Look) -> None:
    main = "def train_config(config): return parts(callbacks=[EarlyStopping('none')])\n"
    report = look(main, '{"max_epochs": 3, "gradient_clip_algorithm": "none"}')
    assert told(report.findings) == [("error", "trainer"), ("error", "monitor")]
    assert "trainer.init.gradient_clip_algorithm" in report.findings[0].message
    assert (report.findings[0].place or "").endswith("h.py:1")
    assert report.facts["stages"] == ["train", "validate"]


def test_processes_that_no_run_can_join(look: Look) -> None:
    spawning = '__import__("pytorch_lightning").strategies.DDPStrategy(start_method="spawn")'
    init = f'{{"max_epochs": 3, "strategy": {spawning}, "accelerator": "cpu"}}'
    report = look(init=init)
    found = one(report, "error", "device")
    assert "spawns its processes" in found.message
    assert report.facts["stages"] == ["train", "validate"]


def test_code_that_wants_a_clearml_task(look: Look) -> None:
    main = (
        "def current_task(): return None\n"
        "class Told(TrainLabModule):\n"
        "    def on_train_start(self):\n"
        "        current_task().get_logger()\n"
        "def train_config(config):\n"
        "    given = module()\n"
        "    return parts(module=Told(given.model, given.loss_function, given.optimizer_config))\n"
    )
    (found,) = look(main, more='"task": {"sdk": True}').findings
    assert (found.level, found.hint) == ("note", "No ClearML task is open while it is checked.")
    assert look(main).findings[0].level == "error"


def test_a_check_that_fails_itself_hides_no_other(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(subject: Subject) -> None:
        raise LookupError("nothing there")

    monkeypatch.setattr(examining, "CHECKS", (wrong, *examining.CHECKS))
    found = look(init="{}").findings
    assert told(found) == [("warning", "check"), ("note", "limit")]
    assert found[0].message == "the check of wrong failed itself: LookupError: nothing there"


# -- callbacks -------------------------------------------------------------------------------


def watching(act: str, name: str = "Watching") -> str:
    return (
        f"class Own{name}(Watching):\n    def act(self, trainer):\n        {act}\n"
        f"def train_config(config): return parts(callbacks=[Own{name}()])\n"
    )


def test_callbacks_that_save_and_stop_are_there_and_do_nothing(look: Look) -> None:
    main = (
        "class Looking(TrainLabModule):\n"
        "    def on_train_end(self):\n"
        "        assert self.trainer.checkpoint_callback.best_model_path == ''\n"
        "        assert self.trainer.early_stopping_callback.stopped_epoch == 0\n"
        "def train_config(config):\n"
        "    given = module()\n"
        "    made = Looking(given.model, given.loss_function, given.optimizer_config)\n"
        "    saved = Path(__file__).with_name('saved')\n"
        "    return parts(module=made, callbacks=[EarlyStopping('loss/validate'),\n"
        "        ModelCheckpoint(saved, monitor='loss/train', save_last=True)])\n"
    )
    assert look(main).findings == []


def test_a_callback_that_fails(look: Look) -> None:
    found = one(look(watching("trainer.missing()")), "error", "callback")
    assert "in callback OwnWatching.on_train_epoch_end" in found.message


@pytest.mark.parametrize(
    "act",
    [
        'Path(__file__).with_name("new.txt").write_text("1")',
        'torch.save({}, Path(__file__).with_name("new.pt"))',
        'torch.save({}, Path(trainer.log_dir) / "new.pt")',
        "(lambda d: (d.mkdir(), (d / 'a').write_text('1')))(Path(__file__).with_name('new'))",
        "(lambda d: (d.mkdir(exist_ok=True), (d / 'a').write_text('1')))(Path(__file__).parent)",
    ],
)
def test_what_a_callback_writes_is_deleted(look: Look, act: str) -> None:
    assert look(watching(act)).findings == []


def test_data_that_were_prepared_stay(look: Look) -> None:
    main = (
        "FETCHED = Path(__file__).with_name('fetched')\n"
        "class Prepared(pl.LightningDataModule):\n"
        "    def prepare_data(self):\n"
        "        FETCHED.mkdir(exist_ok=True)\n"
        "        torch.save(points(40), FETCHED / 'points.pt')\n"
        "    def train_dataloader(self):\n"
        "        data = torch.load(FETCHED / 'points.pt')\n"
        "        return DataLoader(data, batch_size=8, shuffle=True)\n"
        "def train_config(config):\n"
        "    return {'module': module(), 'datamodule': Prepared()}\n"
    )
    assert told(look(main, kept=["points.pt"]).findings) == []


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ('Path(__file__).with_name("h.py").write_text("1")', "writes to "),
        ('torch.save({}, str(Path(__file__).with_name("h.py")))', "writes to "),
        ('Path(__file__).with_name("h.py").unlink()', "changes "),
        ('Path(__file__).with_name("h.py").rename(Path(__file__).with_name("i.py"))', "moves "),
        ('__import__("subprocess").run(["true"])', "calls subprocess.Popen"),
        ('__import__("os").system("true")', "calls os.system"),
    ],
)
def test_what_a_callback_would_change_is_not_let_through(look: Look, act: str, words: str) -> None:
    (found,) = look(watching(act)).findings
    assert (found.level, found.code) == ("note", "withheld")
    assert f"OwnWatching {words}" in found.message
    assert found.message.endswith(": it was not tried further")


def test_data_may_come_from_elsewhere_and_nothing_is_sent_there(look: Look) -> None:
    main = (
        "import socket\n"
        "def send():\n"
        "    with socket.socket() as line:\n"
        "        line.settimeout(0.1)\n"
        "        try:\n"
        "            line.connect(('127.0.0.1', 9))\n"
        "        except OSError:\n"
        "            pass\n"
        "class Far(list):\n"
        "    def __getitem__(self, i):\n"
        "        send()\n"
        "        return super().__getitem__(i)\n"
        "class Sending(TrainLabModule):\n"
        "    def on_train_epoch_end(self):\n"
        "        super().on_train_epoch_end()\n"
        "        send()\n"
        "def train_config(config):\n"
        "    given = module()\n"
        "    made = Sending(given.model, given.loss_function, given.optimizer_config)\n"
        "    loader = DataLoader(Far(points(40)), batch_size=8, shuffle=True)\n"
        "    return parts(module=made, train_dataloaders=loader)\n"
    )
    report = look(main)
    (found,) = report.findings
    assert (found.level, found.code) == ("note", "withheld")
    assert found.message == "Sending calls socket.connect: it was not tried further"
    assert report.facts["losses"].keys() == {"train", "validate"}


# -- telling ---------------------------------------------------------------------------------


def test_a_report_travels_as_json_and_reads_well() -> None:
    found = [
        Finding("error", "step", "train: it fails\nwith a note", "a.py:3", "Do this."),
        Finding("warning", "limit", "few"),
        Finding("note", "infer", "not tried"),
    ]
    report = Report(Path("h.py"), found, {})
    assert Report.from_data(report.as_data()) == report
    assert describe(report) == (
        "h.py: 1 error, 1 warning, 1 note\n"
        "  error (step): train: it fails\n    with a note\n    at a.py:3\n    Do this.\n"
        "  warning (limit): few\n"
        "  note (infer): not tried\n"
    )
    assert "\x1b[1;31merror\x1b[0m" in describe(report, color=True)
