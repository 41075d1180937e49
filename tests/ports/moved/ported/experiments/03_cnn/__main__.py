"""A compiled CNN in mixed precision, with a one-cycle schedule and averaged weights."""

import copy

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchmetrics.classification import MulticlassAccuracy

torch.set_float32_matmul_precision("high")


class Stripes(Dataset):
    """Images with stripes in one of four directions; the later ones are rarer."""

    def __init__(self, n, train):
        generator = torch.Generator().manual_seed(int(train))
        chances = torch.tensor([0.4, 0.3, 0.2, 0.1])
        self.labels = torch.multinomial(chances, n, replacement=True, generator=generator)
        steps = torch.linspace(0, 12, 12)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        waves = torch.stack([x, y, x + y, x - y]).sin()
        noise = 0.5 * torch.randn(n, 12, 12, generator=generator)
        self.images = (waves[self.labels] + noise).unsqueeze(1)
        self.train = train

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i]
        if self.train:
            image = image.roll(int(torch.randint(12, ())), dims=-1)
        return image, self.labels[i]


def balanced_sampler(labels):
    weights = 1.0 / torch.bincount(labels)[labels]
    return WeightedRandomSampler(weights, num_samples=len(labels), replacement=True)


def cnn(n_classes):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(16, n_classes),
    )


class EMA(pl.Callback):
    """Keeps a moving average of the weights and validates with it."""

    def __init__(self, decay=0.9):
        self.decay = decay
        self.ema_state = None
        self.backup = None

    def on_fit_start(self, trainer, pl_module):
        if self.ema_state is None:
            self.ema_state = copy.deepcopy(pl_module.state_dict())

    @torch.no_grad()
    def on_train_batch_end(self, trainer, pl_module, *args):
        for name, value in pl_module.state_dict().items():
            average = self.ema_state[name]
            if value.is_floating_point():
                average.mul_(self.decay).add_(value, alpha=1 - self.decay)
            else:
                average.copy_(value)

    def on_validation_start(self, trainer, pl_module):
        if self.ema_state is not None:
            self.backup = copy.deepcopy(pl_module.state_dict())
            pl_module.load_state_dict(self.ema_state)

    def on_validation_end(self, trainer, pl_module):
        if self.backup is not None:
            pl_module.load_state_dict(self.backup)
            self.backup = None

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        checkpoint["ema_state"] = self.ema_state

    def on_load_checkpoint(self, trainer, pl_module, checkpoint):
        self.ema_state = checkpoint["ema_state"]


class Classifier(pl.LightningModule):
    def __init__(self, model, max_lr):
        super().__init__()
        self.save_hyperparameters(ignore="model")
        self.model = model
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        self.accuracy = MulticlassAccuracy(4)

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.criterion(self(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.accuracy(logits, y)
        self.log_dict({"val_loss": self.criterion(logits, y), "val_acc": self.accuracy})

    def predict_step(self, batch, batch_idx):
        return self(batch[0]).softmax(dim=-1)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.hparams.max_lr,
            total_steps=self.trainer.estimated_stepping_batches,
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def train_config(config):
    train, val = Stripes(128, train=True), Stripes(48, train=False)
    sampler = balanced_sampler(train.labels)
    train_loader = DataLoader(train, batch_size=16, sampler=sampler, drop_last=True)
    val_loader = DataLoader(val, batch_size=16)

    model = Classifier(torch.compile(cnn(4), backend="aot_eager"), **config)
    callbacks = [EMA(0.9)]
    loaders = {"train_dataloaders": train_loader, "val_dataloaders": val_loader}
    return {"module": model, "callbacks": callbacks, **loaders}
