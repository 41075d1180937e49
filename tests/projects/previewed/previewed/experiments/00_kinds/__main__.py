"""Data of many kinds, none of which is ever trained on; `kind` says which."""

from __future__ import annotations

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from torch_lab.data import DataLoader
from torch_lab.datasets import BaseDataset, split
from torch_lab.modules import LabModule, TrainLabModule

N = 40
DRAWN = torch.Generator().manual_seed(3)


def noise(*shape):
    return torch.randn(*shape, generator=DRAWN)


def blobs(n=N, size=24, channels=3):
    """Images 0..1 of a bright spot; the class says in which corner."""
    y = torch.arange(n) % 4
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij"))
    corner = torch.stack([y // 2, y % 2], dim=1).float() - 0.5
    x = (-4 * (grid[None] - corner[:, :, None, None]).square().sum(1)).exp()
    tints = torch.tensor([[1, 0.3, 0.3], [0.3, 1, 0.3], [0.3, 0.3, 1], [1, 1, 0.4]])[y]
    return x[:, None] * (tints[:, :, None, None] if channels == 3 else 1), y


class Animals(BaseDataset):
    classes = ("cat", "dog", "$cow", "猫")

    def __init__(self, transform=None):
        super().__init__(transform)
        self.x, self.labels = blobs()

    def __len__(self):
        return N

    def get_raw_data(self, md):
        return self.x[md["index"]]

    def get_raw_label(self, md):
        return int(self.labels[md["index"]])

    def get_additional_metadata(self, i):
        return {"name": f"animal_{i}.png"}


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(noise(N, 100), torch.arange(N) % 2, strict=True)


class Bare(Dataset):
    """Anything as samples."""

    def __init__(self, *columns):
        self.columns = columns

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, i):
        return tuple(column[i] for column in self.columns)


def normalized(x, md):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean[:, None, None]) / std[:, None, None], md


def spoiled(x, md):
    x = x.clone()
    x[:, :4, :4], x[:, 6, 6] = torch.nan, torch.inf
    return x, md


def masks(x):
    return (x.sum(1) > 0.8).long() * (1 + torch.arange(len(x))[:, None, None] % 3)


def boxed(samples):
    images, boxes = zip(*samples, strict=True)
    return images, [{"boxes": box, "labels": torch.ones(len(box))} for box in boxes]


def boxes(x):
    return [torch.tensor([[3.0, 3, 11, 11], [12, 8, 20, 22]])[: 1 + i % 2] for i in range(len(x))]


def waves(channels):
    t = torch.linspace(0, 12, 200)
    phases = torch.arange(N * channels).reshape(N, channels, 1)
    return (t + phases).sin() * (1 + phases % 3)


def loader(dataset, **options):
    return DataLoader(dataset, **{"batch_size": 20, "shuffle": True} | options)


def of_images():
    x, y = blobs()
    return {
        "images": Animals(),
        "normalized": Animals(normalized),
        "halves": Animals(lambda x, md: (2 * x - 1, md)),
        "spoiled": Animals(spoiled),
        "gray": TensorDataset(blobs(channels=1)[0].mul(255).byte(), y),
        "channels_last": TensorDataset(x.permute(0, 2, 3, 1).mul(255), y),
        "masks": TensorDataset(x, masks(x)),
        "pairs": TensorDataset(x, x[:, :, ::2, ::2]),
        "many_channels": TensorDataset(noise(N, 7, 20, 20), y),
        "video": TensorDataset(x[:, None].repeat(1, 5, 1, 1, 1), y),
        "parts": Subset(ConcatDataset([Animals(), Animals()]), range(10, 60)),
        "split": split(Animals(), {"train": 0.5, "rest": 0.5})["train"],
    }


def of_others():
    t = noise(N, 5)
    texts = [f"This is sentence {i}, with words $x$." for i in range(N)]
    return {
        "signals": TensorDataset(waves(1), torch.arange(N) % 3),
        "channels": TensorDataset(waves(3).transpose(1, 2), waves(3)[:, :1].mul(0.5)),
        "electrodes": TensorDataset(noise(N, 24, 400), torch.arange(N) % 2),
        "table": TensorDataset(t, t.sum(1)),
        "wide_table": TensorDataset(noise(N, 30).bfloat16(), torch.rand(N, 1)),
        "tokens": TensorDataset(torch.arange(N * 64).reshape(N, 64), torch.arange(N) % 2),
        "texts": Bare(texts, torch.arange(N) % 5),
        "several": TensorDataset(t, (noise(N, 6) > 0).float()),
        "complex": TensorDataset(torch.fft.fft(waves(1)), torch.arange(N)),
        "others": TensorDataset(noise(N, 2, 3, 4, 5, 6)),
        "unnamed": TensorDataset(t),
        "stream": Stream(),
    }


class Hooked(TrainLabModule):
    """Changes batches on their way, as augmentation on the device does."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        x, md = batch
        return x, md | {"before": md["y"] + 100}

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, md = batch
        assert self.trainer.training == (self.training is True)
        return (x + 1 if self.trainer.training else x), md


class Module(LightningModule):
    """Loads its data itself."""

    def prepare_data(self):
        self.prepared = True

    def setup(self, stage):
        assert self.prepared
        self.stage = stage

    def train_dataloader(self):
        return loader(TensorDataset(*blobs()))

    def test_dataloader(self):
        assert self.stage == "test"
        return loader(TensorDataset(*blobs(8)))


class Data(LightningDataModule):
    def setup(self, stage):
        self.animals = Animals()
        assert self.trainer.max_epochs == 7

    def train_dataloader(self):
        return {"labeled": loader(self.animals), "unlabeled": loader(Stream(), shuffle=False)}

    def val_dataloader(self):
        return [loader(self.animals, shuffle=False), loader(Animals(spoiled), batch_size=3)]

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch | {"after": dataloader_idx} if isinstance(batch, dict) else batch


def module():
    optimizer = {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"lr": 0.1}}
    return TrainLabModule(torch.nn.Linear(1, 1), torch.nn.MSELoss(), optimizer)


def train_config(config):
    kind = config["kind"]
    if kind == "datamodule":
        return {"module": module(), "datamodule": Data()}
    if kind == "own":
        return {"module": Module()}
    if kind == "hooked":
        made = module()
        made.__class__ = Hooked
        return {"module": made, "train_dataloaders": loader(Animals())}
    if kind == "boxes":
        x, _ = blobs()
        data = loader(Bare(x, boxes(x)), collate_fn=boxed)
        return {"module": module(), "train_dataloaders": data}
    if kind == "empty":
        data = loader(TensorDataset(noise(3, 2)), drop_last=True)
        return {"module": module(), "train_dataloaders": data}
    dataset = (of_images() | of_others())[kind]
    shuffle = not isinstance(dataset, IterableDataset)
    validation = loader(dataset, shuffle=False, batch_size=5)
    data = loader(dataset, shuffle=shuffle)
    return {"module": module(), "train_dataloaders": data, "val_dataloaders": validation}


def infer_config(config, n: int = 6):
    x, _ = blobs(n)
    samples = [(image, {"index": i}) for i, image in enumerate(x)]
    return {"module": LabModule(torch.nn.Linear(1, 1)), "predict_dataloaders": loader(samples)}
