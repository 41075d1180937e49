"""The next letter: tied weights, flattened scores, a warmup from nothing, accumulated gradients."""

import math
from types import SimpleNamespace

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

TEXT = "the quick brown fox jumps over the lazy dog and runs away from it, as foxes do. " * 12
LETTERS = sorted(set(TEXT))


class Windows(Dataset):
    def __init__(self, text, length):
        self.ids = torch.tensor([LETTERS.index(each) for each in text])
        self.length = length

    def __len__(self):
        return (len(self.ids) - 1) // self.length

    def __getitem__(self, i):
        begin = i * self.length
        window = self.ids[begin : begin + self.length + 1]
        return {"input_ids": window[:-1], "labels": window[1:].clone()}


class Writer(pl.LightningModule):
    def __init__(self, args):
        super().__init__()
        self.args = args
        self.embedding = nn.Embedding(len(LETTERS), args.width)
        self.place = nn.Parameter(0.02 * torch.randn(args.length, args.width))
        layer = nn.TransformerEncoderLayer(args.width, 2, 32, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(args.width, len(LETTERS), bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        length = ids.shape[1]
        ahead = nn.Transformer.generate_square_subsequent_mask(length, device=ids.device)
        x = self.embedding(ids) + self.place[:length]
        return self.head(self.layers(x, mask=ahead, is_causal=True))

    def loss(self, batch):
        scores = self(batch["input_ids"])
        labels = batch["labels"].masked_fill(torch.rand_like(scores[..., 0]) < 0.1, -100)
        return nn.functional.cross_entropy(scores.view(-1, len(LETTERS)), labels.reshape(-1))

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log_dict({"loss/train": loss, "perplexity/train": loss.exp()})
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("loss/validate", self.loss(batch))

    def configure_optimizers(self):
        flat = [each for each in self.parameters() if each.dim() < 2]
        wide = [each for each in self.parameters() if each.dim() >= 2]
        groups = [{"params": wide, "weight_decay": 0.1}, {"params": flat, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.args.lr, betas=(0.9, 0.95))
        total = self.trainer.estimated_stepping_batches

        def factor(step):
            if step < self.args.warmup:
                return step / self.args.warmup
            done = (step - self.args.warmup) / max(1, total - self.args.warmup)
            return 0.1 + 0.45 * (1 + math.cos(math.pi * done))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": scheduler, "interval": "step", "frequency": 1}]


def train_config(config):
    args = SimpleNamespace(**config)
    cut = int(0.8 * len(TEXT))
    return {
        "module": Writer(args),
        "train_dataloaders": DataLoader(Windows(TEXT[:cut], args.length), 8, shuffle=True),
        "val_dataloaders": DataLoader(Windows(TEXT[cut:], args.length), 8),
    }
