"""An agent that learns from what it does: episodes as batches, advantages, an entropy bonus."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, IterableDataset


class Episodes(IterableDataset):
    def __init__(self, agent, count):
        self.agent, self.count = agent, count

    def __iter__(self):
        for _ in range(self.count):
            yield self.episode()

    @torch.no_grad()
    def episode(self):
        state, states, actions, rewards = torch.zeros(2), [], [], []
        for _ in range(6):
            action = Categorical(logits=self.agent.actor(state)).sample()
            states.append(state)
            actions.append(action)
            state = state + torch.tensor([action - 1.0, 0.1])
            rewards.append(1.0 - float(state[0].abs()))
        returns = torch.tensor(rewards).flip(0).cumsum(0).flip(0)
        return torch.stack(states), torch.stack(actions), returns


class Agent(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.actor = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
        self.critic = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))

    def training_step(self, batch, _):
        states, actions, returns = batch
        values = self.critic(states).squeeze(-1)
        chosen = Categorical(logits=self.actor(states))
        advantage = (returns - values).detach()
        actor = -(chosen.log_prob(actions) * advantage).mean()
        loss = actor + (returns - values).pow(2).mean()
        loss = loss - self.config["entropy"] * chosen.entropy().mean()
        self.log_dict({"loss": loss, "return": returns.mean()})
        return loss

    def train_dataloader(self):
        return DataLoader(Episodes(self, self.config["episodes"]), batch_size=None)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.config["lr"])


def train_config(config):
    return {"module": Agent(config)}
