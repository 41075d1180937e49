"""Reviews sorted into good and bad by a small transformer."""

import argparse
import math
import random

import pytorch_lightning as pl
import torch
import torchmetrics
from pytorch_lightning.callbacks import EarlyStopping, LearningRateMonitor
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, random_split

PAD, UNK = 0, 1

SUBJECTS = ["the film", "this book", "the food", "that game", "her song", "the new phone"]
GOOD = ["was wonderful", "made me smile", "is worth every minute", "was a delight"]
BAD = ["was dreadful", "made me yawn", "is a waste of time", "was a disaster"]
FILLERS = ["honestly", "to my surprise", "as my friend had said", "in the end", "all in all"]


def write_reviews(n, rng):
    reviews = []
    for _ in range(n):
        label = rng.randrange(2)
        words = f"{rng.choice(SUBJECTS)} {rng.choice(GOOD if label else BAD)}".split()
        for _ in range(rng.randrange(3)):
            words += rng.choice(FILLERS).split()
        reviews.append((words, label))
    return reviews


class Vocabulary:
    def __init__(self, texts):
        words = sorted({word for text in texts for word in text})
        self.index = {word: i for i, word in enumerate(words, start=2)}

    def __len__(self):
        return len(self.index) + 2

    def encode(self, words):
        return [self.index.get(word, UNK) for word in words]


class Reviews(Dataset):
    def __init__(self, reviews, vocabulary, word_dropout=0.1):
        self.reviews = reviews
        self.vocabulary = vocabulary
        self.word_dropout = word_dropout

    def __len__(self):
        return len(self.reviews)

    def __getitem__(self, i):
        words, label = self.reviews[i]
        ids = self.vocabulary.encode(words)
        ids = [UNK if random.random() < self.word_dropout else each for each in ids]
        return torch.tensor(ids), label


def collate(batch):
    texts, labels = zip(*batch, strict=True)
    ids = pad_sequence(texts, batch_first=True, padding_value=PAD)
    return {"ids": ids, "mask": ids == PAD, "labels": torch.tensor(labels)}


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout, max_len=64):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div)
        pe[0, :, 1::2] = torch.cos(position * div)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return self.dropout(x + self.pe[:, : x.size(1)])


class TextClassifier(pl.LightningModule):
    def __init__(self, vocab_size, d_model, nhead, num_layers, lr, warmup, dropout=0.1):
        super().__init__()
        self.save_hyperparameters()
        self.embedding = nn.Embedding(vocab_size, d_model, padding_idx=PAD)
        self.position = PositionalEncoding(d_model, dropout)
        layer = nn.TransformerEncoderLayer(d_model, nhead, 2 * d_model, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, 2)
        self.train_acc = torchmetrics.Accuracy(task="multiclass", num_classes=2)
        self.val_acc = torchmetrics.Accuracy(task="multiclass", num_classes=2)

    def forward(self, ids, mask):
        x = self.position(self.embedding(ids) * math.sqrt(self.hparams.d_model))
        x = self.encoder(x, src_key_padding_mask=mask)
        keep = (~mask).unsqueeze(-1)
        return self.head((x * keep).sum(1) / keep.sum(1))

    def training_step(self, batch, batch_idx):
        logits = self(batch["ids"], batch["mask"])
        loss = nn.functional.cross_entropy(logits, batch["labels"])
        self.train_acc(logits, batch["labels"])
        self.log("train/loss", loss)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        logits = self(batch["ids"], batch["mask"])
        loss = nn.functional.cross_entropy(logits, batch["labels"])
        self.val_acc(logits, batch["labels"])
        size = len(batch["labels"])
        self.log("val/loss", loss, prog_bar=True, batch_size=size)
        self.log("val/acc", self.val_acc, prog_bar=True, batch_size=size)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        total, warmup = self.trainer.estimated_stepping_batches, self.hparams.warmup

        def factor(step):
            if step < warmup:
                return (step + 1) / warmup
            return max(0.0, (total - step) / max(1, total - warmup))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--max_epochs", type=int, default=4)
    args = parser.parse_args()
    pl.seed_everything(1234, workers=True)

    reviews = write_reviews(160, random.Random(0))
    vocabulary = Vocabulary(words for words, _ in reviews)
    dataset = Reviews(reviews, vocabulary)
    train, val = random_split(dataset, [128, 32], generator=torch.Generator().manual_seed(0))
    train_loader = DataLoader(train, args.batch_size, shuffle=True, collate_fn=collate)
    val_loader = DataLoader(val, args.batch_size, collate_fn=collate)

    model = TextClassifier(len(vocabulary), d_model=32, nhead=2, num_layers=2, lr=args.lr, warmup=8)
    callbacks = [
        EarlyStopping(monitor="val/loss", patience=3),
        LearningRateMonitor(logging_interval="step"),
    ]
    trainer = pl.Trainer(max_epochs=args.max_epochs, callbacks=callbacks, log_every_n_steps=4)
    trainer.fit(model, train_loader, val_loader)


if __name__ == "__main__":
    main()
