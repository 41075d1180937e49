"""A stream without a length or a validation: steps are counted, not epochs."""

import argparse

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Waves(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        for _ in range(self.n):
            phase = 6.28 * torch.rand(())
            yield torch.sin(phase + torch.linspace(0, 6.28, 17))


class Next(pl.LightningModule):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.rnn = nn.GRU(1, args.hidden, batch_first=True)
        self.out = nn.Linear(args.hidden, 1)

    def training_step(self, wave):
        seen, coming = wave[:, :-1], wave[:, 1:]
        states, _ = self.rnn(seen.unsqueeze(-1))
        loss = nn.functional.smooth_l1_loss(self.out(states).squeeze(-1), coming)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=self.args.lr)


def train_config(config):
    args = argparse.Namespace(**config)
    return {
        "module": Next(args),
        "train_dataloaders": DataLoader(Waves(args.length), batch_size=args.batch_size),
    }
