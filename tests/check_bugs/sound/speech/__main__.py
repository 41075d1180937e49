"""Sounds to letters with CTC; lengths beside the padded tensors, weights that are averaged."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, StochasticWeightAveraging
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

SYMBOLS = 5  # and the blank, which is 0


def spoken(n, seed):
    drawn = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(n):
        letters = torch.randint(1, SYMBOLS + 1, (3,), generator=drawn)
        sound = letters.repeat_interleave(4).float().unsqueeze(1)
        made.append((sound + 0.1 * torch.randn(12, 4, generator=drawn), letters))
    return made


def together(samples):
    sounds, letters = zip(*samples, strict=True)
    lengths = torch.tensor([len(each) for each in sounds])
    targets = torch.tensor([len(each) for each in letters])
    return pad_sequence(sounds, batch_first=True), lengths, torch.cat(letters), targets


class Listener(pl.LightningModule):
    def __init__(self, hidden, lr):
        super().__init__()
        self.save_hyperparameters()
        self.rnn = nn.GRU(4, hidden, bidirectional=True, batch_first=True)
        self.out = nn.Linear(2 * hidden, SYMBOLS + 1)

    def loss(self, batch):
        sounds, lengths, letters, targets = batch
        scores = self.out(self.rnn(sounds)[0]).log_softmax(-1).transpose(0, 1)
        return nn.functional.ctc_loss(scores, letters, lengths, targets, zero_infinity=True)

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("train_loss", loss, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch, _):
        self.log("valid_loss", self.loss(batch), batch_size=len(batch[0]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.hparams.lr)


def train_config(config):
    return {
        "module": Listener(**config),
        "train_dataloaders": DataLoader(spoken(48, 0), 8, shuffle=True, collate_fn=together),
        "val_dataloaders": DataLoader(spoken(16, 1), 8, collate_fn=together),
        "callbacks": [
            ModelCheckpoint(monitor="valid_loss", filename="{epoch}-{valid_loss:.2f}"),
            StochasticWeightAveraging(swa_lrs=1e-3),
        ],
    }
