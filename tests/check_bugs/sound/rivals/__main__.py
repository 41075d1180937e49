"""A critic that is trained more often than what it judges, with a penalty on its gradients."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EVERY = 5


class Rivals(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.automatic_optimization = False
        self.maker = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))
        self.critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

    def penalty(self, real, made):
        share = torch.rand(len(real), 1, device=self.device)
        between = (share * real + (1 - share) * made).requires_grad_(True)
        scores = self.critic(between).sum()
        (gradient,) = torch.autograd.grad(scores, between, create_graph=True)
        return (gradient.norm(dim=1) - 1).pow(2).mean()

    def training_step(self, batch, batch_idx):
        (real,) = batch
        to_make, to_judge = self.optimizers()
        z = torch.randn(len(real), 3, device=self.device)
        made = self.maker(z).detach()
        judged = self.critic(made).mean() - self.critic(real).mean()
        judged = judged + 10 * self.penalty(real, made)
        to_judge.zero_grad()
        self.manual_backward(judged)
        to_judge.step()
        self.log("critic", judged)
        if batch_idx % EVERY == 0:
            loss = -self.critic(self.maker(z)).mean()
            to_make.zero_grad()
            self.manual_backward(loss)
            to_make.step()
            self.log("maker", loss)

    def configure_optimizers(self):
        betas = (0.0, 0.9)
        made = torch.optim.Adam(self.maker.parameters(), self.lr, betas)
        return made, torch.optim.Adam(self.critic.parameters(), self.lr, betas)


def train_config(config):
    points = torch.randn(120, 2) @ torch.tensor([[1.0, 0.5], [0.0, 0.3]])
    loader = DataLoader(TensorDataset(points), config["batch_size"], shuffle=True)
    return {"module": Rivals(config["lr"]), "train_dataloaders": loader}
