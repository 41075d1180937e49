"""Sentences of different length, padded; log-probabilities and NLLLoss."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

VOCABULARY = 30


def sentences(n, seed):
    drawn = torch.Generator().manual_seed(seed)
    made = []
    for i in range(n):
        length = int(torch.randint(3, 9, (), generator=drawn))
        text = torch.randint(1, VOCABULARY, (length,), generator=drawn)
        made.append((text, i % 2))
    return made


def collate(samples):
    texts, labels = zip(*samples, strict=True)
    return pad_sequence(texts, batch_first=True), torch.tensor(labels)


class Reader(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(VOCABULARY, config["width"], padding_idx=0)
        self.lstm = nn.LSTM(config["width"], config["width"], batch_first=True)
        self.drop = nn.Dropout(config["dropout"])
        self.out = nn.Linear(config["width"], 2)
        self.loss = nn.NLLLoss()

    def forward(self, text):
        _, (state, _) = self.lstm(self.embedding(text))
        return torch.log_softmax(self.out(self.drop(state[-1])), dim=-1)

    def training_step(self, batch, _):
        text, label = batch
        loss = self.loss(self(text), label)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        text, label = batch
        scores = self(text)
        hits = (scores.argmax(dim=1) == label).float().mean()
        self.log_dict(
            {"val_loss": self.loss(scores, label), "val_hits": hits}, batch_size=len(text)
        )

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.config["lr"])
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
        }


def train_config(config):
    how = {"batch_size": config["batch_size"], "collate_fn": collate}
    return {
        "module": Reader(config),
        "train_dataloaders": DataLoader(sentences(64, 0), shuffle=True, **how),
        "val_dataloaders": DataLoader(sentences(32, 1), **how),
    }
