"""Models of many kinds, exported and read back; those that can't be, and what is said of them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from torch_lab.checkpoints.resolve import Found
from torch_lab.errors import ExportError, UsageError
from torch_lab.experiment import Configuration
from torch_lab.modules import LabModule, TrainLabModule
from torch_lab.store.find import StoredRun
from torch_lab.store.paths import RunDirectory
from torch_lab.store.record import CheckpointEntry, Record
from torch_lab.tasks.export import calls, program, report, safetensors, weights
from torch_lab.tasks.export.exporting import Exported, write
from torch_lab.tasks.export.options import ExportOptions, out_file
from torch_lab.tasks.rebuilding import Rebuilt

RUN = "00_zoo-hparams_v0"
Export = Callable[..., Exported]


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Write a module to out/NAME as if a run had left it; the file, or nothing, is all there is."""
    directory = RunDirectory(tmp_path / RUN)
    directory.checkpoints.mkdir(parents=True)
    path = directory.checkpoints / "step-7.ckpt"
    path.touch()
    entry = CheckpointEntry("step-7", "checkpoints/step-7.ckpt", "training", 7, 7, 1, sha256="ab")
    run = StoredRun(
        directory, Record(RUN, "0" * 32, "completed", checkpoints=(entry,)), "completed"
    )

    def export(name: str, module: Any, loaders: Any = None, **given: Any) -> Exported:
        data = given.pop("data", {} if loaders is None else {"val_dataloaders": loaders})
        dtype = given.pop("dtype", None)
        configuration = Configuration(module, **data)
        rebuilt = Rebuilt(module.eval(), configuration, "train_config", tmp_path, dtype)
        options = ExportOptions(RUN, tmp_path / "out" / name, **given)
        try:
            return write(options, run, Found(path, "best", run), rebuilt)
        finally:
            assert not list((tmp_path / "out").glob(".*"))

    return export


def lab(model: nn.Module) -> TrainLabModule:
    return TrainLabModule(model, nn.MSELoss(), {"optimizer": torch.optim.SGD})


def loader(*shape: int, batch_size: int = 4, dtype: torch.dtype = torch.float32) -> DataLoader[Any]:
    draw = torch.Generator().manual_seed(0)
    xs = (torch.rand(9, *shape, generator=draw) * 9).to(dtype)
    return DataLoader([(x, {"y": x.sum()[None]}) for x in xs], batch_size=batch_size)


class Tied(nn.Module):
    """A transformer: two names for one weight, buffers of both kinds, outputs in containers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 8)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 1, enable_nested_tensor=False
        )
        self.head = nn.Linear(8, 9, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("places", torch.arange(6), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        y = self.head(self.layers(self.embed(x) + self.places[None, :, None]))
        return {"y": y, "rest": (x.sum(1), self.scale, None)}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 3, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor, factor: float = 2.0) -> torch.Tensor:
        return self.lstm(x)[0][:, -1].sum(-1) * factor


class Parts(nn.Module):
    """Takes a batch of nested containers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, batch: Mapping[str, Any]) -> torch.Tensor:
        first, second = batch["b"]
        return self.layer(batch["a"]) + first.sum(1, keepdim=True) + second[:, None]


class Choosy(nn.Module):
    """A forward that is a function of its first lines."""

    def __init__(self, how: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.calls = 0
        self.register_buffer("seen", torch.zeros(1))
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.how(self, x)


class Plain(pl.LightningModule):
    """Has no forward; its one part with weights is called by its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)
        self.loss = nn.CrossEntropyLoss(weight=torch.ones(2))

    def training_step(self, batch: Any, i: int) -> torch.Tensor:
        first, _ = self.optimizers()  # type: ignore[misc]  there is no Trainer: it fails
        return self.net(batch[0]).sum() + first

    def validation_step(self, batch: Any, i: int) -> torch.Tensor:
        loss = self.loss(self.net(batch[0]), torch.zeros(len(batch[0]), dtype=torch.long))
        self.log("loss", loss)
        return loss


class Forward(Plain):
    """Has one, which a step calls by its name and with a keyword."""

    def forward(self, x: torch.Tensor, *, flip: bool = False) -> torch.Tensor:
        return -self.net(x) if flip else self.net(x)

    def validation_step(self, batch: Any, i: int) -> torch.Tensor:
        return self.forward(batch[0], flip=True).sum()


class Generative(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = nn.Linear(4, 2), nn.Linear(2, 1)

    def training_step(self, batch: Any, i: int) -> torch.Tensor:
        return self.critic(self.generator(batch[0])).sum()


class Wrapping(LabModule):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 2))
        self.first = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(self.first(x))


class Data(pl.LightningDataModule):
    def setup(self, stage: str) -> None:
        self.loader = loader(4, batch_size=2)

    def train_dataloader(self) -> Any:
        return self.loader

    def on_after_batch_transfer(self, batch: Any, i: int) -> Any:
        return batch[0][:, :3], batch[1]


class Own(Plain):
    def val_dataloader(self) -> Any:
        return [loader(4)]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from loader(4, batch_size=1).dataset  # type: ignore[misc]


def compiled() -> nn.Module:
    inner = nn.Sequential(nn.Linear(4, 4), torch.compile(nn.Linear(4, 2), backend="eager"))
    inner.compile(backend="eager")
    return lab(torch.compile(inner, backend="eager"))


NESTED = [({"a": torch.rand(4), "b": (torch.rand(3), torch.tensor(1.0))}, {}) for _ in range(5)]
FLOATS = "float32 (batch, 4)"
SOUND = {
    "tied": (
        lambda: (lab(Tied()), loader(6, dtype=torch.long)),
        {"x": "int64 (batch, 6)"},
        {"y": "float32 (batch, 6, 9)", "rest.0": "int64 (batch,)", "rest.1": "float32 ()"}
        | {"rest.2": "None"},
    ),
    "recurrent": (
        lambda: (lab(Recurrent()), loader(3, 5)),
        {"x": "float32 (batch, 3, 5)"},
        {"": "float32 (batch,)"},
    ),
    "parts": (
        lambda: (lab(Parts()), DataLoader(NESTED, batch_size=4)),
        {"batch.a": FLOATS, "batch.b.0": "float32 (batch, 3)", "batch.b.1": "float32 (batch,)"},
        {"": "float32 (batch, 2)"},
    ),
    "compiled": (
        lambda: (compiled(), loader(4, batch_size=1)),
        {"input": FLOATS},
        {"": "float32 (batch, 2)"},
    ),
    "plain": (lambda: (Plain(), loader(4)), {"input": FLOATS}, {"": "float32 (batch, 2)"}),
    "forward": (
        lambda: (torch.compile(Forward(), backend="eager"), loader(4)),
        {"x": FLOATS, "flip": "True"},
        {"": "float32 (batch, 2)"},
    ),
    "wrapping": (
        lambda: (Wrapping(), {"a": [DataLoader(Stream(), batch_size=4)]}),
        {"x": FLOATS},
        {"": "float32 (batch, 2)"},
    ),
}


@pytest.mark.parametrize("ending", [".pt2", ".safetensors"])
@pytest.mark.parametrize("name", SOUND)
def test_what_is_read_back_is_the_model(export: Export, name: str, ending: str) -> None:
    make, inputs, outputs = SOUND[name]
    module, data = make()
    before = {key: value.clone() for key, value in state(module).items()}
    done = export(f"{name}{ending}", module, data)
    assert (done.metadata.inputs, done.metadata.outputs) == (inputs, outputs)
    assert done.samples[:2] == (1, 2)
    assert done.samples[2] in (3, 4)
    assert done.apart is not None
    assert done.apart < 1e-5
    assert ending == ".pt2" or done.apart == 0.0
    assert all(torch.equal(value, before[name]) for name, value in state(module).items())


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """The weights under names that don't tell what is compiled."""
    return {name.replace("_orig_mod.", ""): each for name, each in module.state_dict().items()}


def test_a_program_takes_any_number_of_samples_and_says_whose_it_is(export: Export) -> None:
    module = lab(nn.Linear(4, 2))
    file = export("net.pt2", module, loader(4)).file
    extra = {program.METADATA: ""}
    read = torch.export.load(file, extra_files=extra).module()
    for samples in (1, 3, 17):
        x = torch.rand(samples, 4)
        assert torch.equal(read(x), module(x))
    about = json.loads(extra[program.METADATA])
    assert about["run"] == RUN
    assert (about["checkpoint"], about["checkpoint_sha256"], about["epoch"]) == ("step-7", "ab", 1)
    assert about["versions"]["torch"] == torch.__version__


def test_the_safetensors_library_reads_the_file(export: Export, tmp_path: Path) -> None:
    import safetensors as library
    from safetensors.torch import load_file, load_model, save_file

    model = Tied()
    done = export("tied.safetensors", lab(model), loader(6, dtype=torch.long))
    assert done.shared == {"head.weight": "embed.weight"}
    with library.safe_open(done.file, "pt") as opened:
        metadata = opened.metadata()
    assert json.loads(metadata["torch-lab"])["run"] == RUN
    assert metadata["format"] == "pt"
    other = Tied()
    load_model(other, done.file)
    assert all(
        torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True)
    )
    assert other.head.weight is other.embed.weight
    tensors = load_file(done.file)
    assert set(tensors) == set(model.state_dict()) - {"head.weight"}
    save_file(tensors, tmp_path / "theirs", metadata=metadata)
    found, said = safetensors.read(tmp_path / "theirs")
    assert said == metadata
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


ODD = [
    *(torch.tensor([[1, 0], [1, 1], [0, 1]]).to(dtype) for dtype in safetensors._NAMES),
    torch.empty(0, 3),
    torch.tensor(1.5),
    torch.arange(6.0).reshape(2, 3).t(),
    torch.rand(4, 4)[::2, 1:3],
]


def test_every_type_and_form_of_a_tensor_is_written_as_the_library_reads_it(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = {f'{number} "ü\n': tensor for number, tensor in enumerate(ODD)}
    with (tmp_path / "odd").open("wb") as file:
        safetensors.write(file, tensors, {})
    theirs, (ours, _) = load_file(tmp_path / "odd"), safetensors.read(tmp_path / "odd")
    assert set(theirs) == set(ours) == set(tensors)
    for name, tensor in tensors.items():
        for found in (theirs[name], ours[name]):
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(safetensors.as_bytes(found), safetensors.as_bytes(tensor))


def test_views_of_one_tensor_are_written_one_by_one(tmp_path: Path) -> None:
    module = nn.Module()
    whole = torch.arange(6.0)
    for name, each in {"a": whole, "b": whole[:3], "c": whole.view(2, 3), "d": whole}.items():
        module.register_buffer(name, each)
    with (tmp_path / "views").open("wb") as file:
        assert weights.write(file, module, "") == {"d": "a"}
    assert not weights.differing(module, weights.read(tmp_path / "views"))


@pytest.mark.parametrize("ending", [".pt2", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_run_of_true_precision(export: Export, dtype: torch.dtype, ending: str) -> None:
    done = export(f"net{ending}", lab(nn.Linear(4, 2)).to(dtype), loader(4), dtype=dtype)
    kind = str(dtype).removeprefix("torch.")
    assert done.metadata.inputs == {"input": f"{kind} (batch, 4)"}
    assert done.metadata.outputs == {"": f"{kind} (batch, 2)"}


def test_where_the_example_comes_from(export: Export, tmp_path: Path) -> None:
    def source(module: Any, **given: Any) -> str:
        return export("net.pt2", module, **given).source

    class Narrow(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 2)

        validation_step = pl.LightningModule.validation_step

        def training_step(self, batch: Any, i: int) -> torch.Tensor:
            return self.net(batch[0]).sum()

    both = {"train_dataloaders": loader(4), "test_dataloaders": loader(4)}
    assert source(lab(nn.Linear(4, 2)), data=both) == "test_dataloaders"
    assert source(Plain(), data=both) == "test_dataloaders"
    assert source(Narrow(), data={"datamodule": Data()}) == "Data.train_dataloader"
    assert source(Own()) == "Own.val_dataloader"
    module = lab(nn.Linear(4, 2))
    module.example_input_array = torch.rand(2, 4)
    assert source(module, loaders=DataLoader([])) == "example_input_array"
    module.example_input_array = {"input": torch.rand(2, 4)}
    assert source(module) == "example_input_array"
    np.save(tmp_path / "x.npy", np.zeros((5, 4), np.float32))
    torch.save((torch.rand(3, 4),), tmp_path / "x.pt")
    for name in ("x.npy", "x.pt"):
        assert source(lab(nn.Linear(4, 2)), input=tmp_path / name).endswith(name)


def test_workers_are_not_needed_for_the_example(export: Export) -> None:
    slow = DataLoader(loader(4).dataset, 2, num_workers=2, persistent_workers=True, timeout=9)
    assert export("net.pt2", lab(nn.Linear(4, 2)), slow).source == "val_dataloaders"
    assert slow.num_workers == 0


def test_a_model_that_needs_two_samples_is_compared_with_two_and_more(export: Export) -> None:
    def needs_two(module: Any, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] < 2:
            raise ValueError("too few")
        return module.layer(x)

    assert export("net.pt2", lab(Choosy(needs_two)), loader(4)).samples == (2, 4)


def branches(module: Any, x: torch.Tensor) -> torch.Tensor:
    return module.layer(x) if x.mean() > 0 else module.layer(-x)


def fixes_four(module: Any, x: torch.Tensor) -> torch.Tensor:
    return module.layer(x.reshape(4, -1))


def fails(module: Any, x: torch.Tensor) -> torch.Tensor:
    raise ValueError("boom")


def counts(module: Any, x: torch.Tensor) -> torch.Tensor:
    module.calls += 1
    return module.layer(x) * module.calls


def remembers(module: Any, x: torch.Tensor) -> torch.Tensor:
    module.seen += 1
    return module.layer(x)


def no_tensor(module: Any, x: Any) -> Any:
    return module.layer(torch.zeros(1, 4))


class Text(LabModule):
    def predict_step(self, batch: Any, i: int, j: int = 0) -> Any:
        return self.model("text")


class Silent(LabModule):
    def predict_step(self, batch: Any, i: int, j: int = 0) -> Any:
        return None


CAN_NOT = {
    "branches": (
        lambda: lab(Choosy(branches)),
        f"run {RUN} can't be exported as a .pt2 file: GuardOnDataDependentSymNode: Could not guard"
        " on data-dependent expression",
        "\n--out FILE.safetensors keeps the weights alone.",
    ),
    "fixes": (
        lambda: lab(Choosy(fixes_four)),
        f"run {RUN} can't be exported for any number of samples: ",
        "\n--batch-size 4 exports it for just so many samples at a time.\n--out",
    ),
    "fails": (
        lambda: lab(Choosy(fails)),
        f"run {RUN} can't be exported: its model fails with 4 samples of val_dataloaders:"
        " ValueError: boom",
        "",
    ),
    "counts": (
        lambda: lab(Choosy(counts)),
        f"run {RUN} can't be exported: its model, called twice with the same, answers differently:"
        " values that are up to",
        "",
    ),
    "remembers": (
        lambda: lab(Choosy(remembers)),
        f"run {RUN} can't be exported: calling it changes model.seen",
        "",
    ),
    "generative": (
        Generative,
        f"run {RUN} can't be exported: Generative has no forward, and not just one part with"
        " weights (generator, critic)",
        "\n--out FILE.safetensors keeps its weights. A .pt2 file needs a forward(self, x) that"
        " returns the predictions.",
    ),
    "text": (
        lambda: Text(Choosy(no_tensor)),
        f"run {RUN} can't be exported: the model is called without any tensor",
        "\nGive an example of the model's input: --input FILE.npy (samples along the first axis).",
    ),
    "silent": (
        lambda: Silent(Choosy(no_tensor)),
        f"run {RUN} can't be exported: its data give no example of the model's input\n"
        "  val_dataloaders: no step calls Choosy",
        "\nGive an example of the model's input",
    ),
}


@pytest.mark.parametrize("name", CAN_NOT)
def test_what_can_not_be_a_program_is_told_and_its_weights_can_be_kept(
    export: Export, tmp_path: Path, name: str
) -> None:
    make, message, hint = CAN_NOT[name]
    module = make()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    kept = tmp_path / "out" / "net.pt2"
    kept.parent.mkdir()
    kept.write_text("what was there")
    with pytest.raises(ExportError) as caught:
        export("net.pt2", module, loader(4))
    assert str(caught.value).startswith(message)
    assert hint in str(caught.value)
    assert kept.read_text() == "what was there"
    done = export("net.safetensors", module, loader(4))
    told = name in ("branches", "fixes")  # these can be called, and are
    assert (done.apart is None) is not told
    assert told or f"not on data: {message.partition(': ')[2][:20]}" in report.describe(done)
    found = weights.read(done.file)
    own = {name.removeprefix("model."): value for name, value in before.items()}
    assert len(found) >= 3
    assert all(torch.equal(value, own[name]) for name, value in found.items())


def differs_when_read(module: Any, x: torch.Tensor) -> torch.Tensor:
    return module.layer(x) + float(torch.compiler.is_exporting())


def test_a_program_that_answers_otherwise_gets_no_name(export: Export, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        export("net.pt2", lab(Choosy(differs_when_read)), loader(4))
    assert str(caught.value) == (
        f"run {RUN} can't be exported: with 4 samples what is read back from the file gives other"
        " outputs than the module: values that are up to 1 apart"
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_weights_that_are_never_the_same_get_no_file(export: Export, tmp_path: Path) -> None:
    model, numbers = nn.Linear(4, 2), itertools.count()

    def counting(module: Any, state: Any, prefix: str, _: Any) -> None:
        state[f"{prefix}count"] = torch.tensor(next(numbers))

    model.register_state_dict_post_hook(counting)
    message = r"count is not what was written to .*net.safetensors when it is read back"
    with pytest.raises(ExportError, match=message):
        export("net.safetensors", lab(model), loader(4))
    assert list((tmp_path / "out").iterdir()) == []


def test_one_number_of_samples_alone(export: Export) -> None:
    done = export("net.pt2", lab(Choosy(fixes_four)), loader(4, batch_size=2), samples=4)
    assert done.metadata.inputs == {"x": "float32 (4, 4)"}
    assert done.samples == (4,)
    with pytest.raises(ExportError, match=r"its model fails with 3 samples"):
        export("net.pt2", lab(Choosy(fixes_four)), loader(3), samples=3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "the model's input\n  it has none\n"),
        ({"val_dataloaders": DataLoader([])}, "  val_dataloaders: it has no batch\n"),
        ({"val_dataloaders": [torch.rand(2, 4)]}, "a batch to predict must be (x, md)"),
    ],
    ids=["none", "empty", "wrong"],
)
def test_data_that_give_no_example(export: Export, data: Any, message: str) -> None:
    with pytest.raises(ExportError, match=re.escape(message)):
        export("net.pt2", lab(nn.Linear(4, 2)), data=data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.csv",
            b"",
            "expected a file that ends in .npy, .pt, .pth\n"
            "numpy.save, or torch.save of a tensor, writes one",
        ),
        ("x.npy", None, "there is no such file"),
        ("x.npy", b"nonsense", "can't be read: "),
        ("x.pt", b"nonsense", "can't be read: "),
    ],
)
def test_an_example_that_is_no_good(
    export: Export, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for out in ("net.pt2", "net.safetensors"):  # what was given is not passed over
        with pytest.raises(UsageError, match=re.escape(message)):
            export(out, lab(nn.Linear(4, 2)), input=tmp_path / name)


def test_what_a_safetensors_file_can_not_hold(export: Export) -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> Any:
            return {"a": 1}

        def set_extra_state(self, state: Any) -> None:
            pass

    with pytest.raises(
        ExportError,
        match=r"a safetensors file can't hold _extra_state, which is no tensor\n--out FILE.pt2 may",
    ):
        export("net.safetensors", lab(Extra(4, 2)), loader(4))
    model = nn.Linear(4, 2)
    model.register_buffer("mask", torch.eye(2).to_sparse())
    with pytest.raises(
        ExportError, match=r"can't hold mask, which is sparse_coo float32\n--out FILE.pt2 may"
    ):
        export("net.safetensors", lab(model), loader(4))


def test_a_place_that_can_not_be_written(export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    message = (
        r"can't write .*net.pt2: (File exists|Not a directory)\nName another place: --out FILE"
    )
    with pytest.raises(ExportError, match=message):
        export("file/net.pt2", lab(nn.Linear(4, 2)), loader(4))


@pytest.mark.parametrize(
    ("expected", "found", "why"),
    [
        ({"": torch.ones(2)}, {"": torch.ones(2) + 1e-3}, "values that are up to 0.001 apart"),
        ({"": torch.ones(2)}, {"": torch.ones(3)}, "float32 (3,) in place of float32 (2,)"),
        ({"": torch.ones(2)}, {"": torch.ones(2).int()}, "int32 (2,) in place of float32 (2,)"),
        ({"a": torch.tensor([3])}, {"a": torch.tensor([4])}, "output a: values that are up to 1"),
        ({"": torch.tensor([torch.nan])}, {"": torch.ones(1)}, "values that are"),
        ({"a": 1}, {"a": 2}, "output a: 2 in place of 1"),
        ({"a": 1}, {"b": 1}, "outputs b in place of outputs a"),
        ({"a": 1}, {"": 1}, "one output in place of outputs a"),
    ],
)
def test_outputs_that_differ(expected: Any, found: Any, why: str) -> None:
    with pytest.raises(calls.Differs, match=re.escape(why)):
        calls.difference(expected, found)


def test_outputs_that_are_alike() -> None:
    odd = torch.tensor([1.0, torch.nan, torch.inf, -torch.inf])
    assert calls.difference({"": odd}, {"": odd.clone()}) == 0.0
    assert 0 < calls.difference({"": odd}, {"": odd + 1e-6}) < 1e-5
    assert calls.difference({"": torch.empty(0)}, {"": torch.empty(0)}) == 0.0


def test_the_name_of_the_file_says_what_it_becomes(tmp_path: Path) -> None:
    assert out_file(f"{tmp_path}/a.pt2", "r") == tmp_path / "a.pt2"
    with pytest.raises(UsageError, match=r"is a folder\nwrite --out .*/hparams.safetensors"):
        out_file(str(tmp_path), "00_digits/hparams:best")
    with pytest.raises(UsageError) as caught:
        out_file("a.onnx", "r")
    assert str(caught.value) == (
        "--out a.onnx: expected a name that ends in .safetensors, .pt2, .skops or .ubj\n"
        ".safetensors holds a network's weights, .pt2 the network that torch.export reads from the "
        "code, which runs without it; .skops an estimator of scikit-learn, .ubj one of XGBoost"
    )
