"""The same, with a RunCheckpoint among the Trainer's own callbacks."""

from torch_lab.callbacks import RunCheckpoint

from .hparams import hparams

hparams["trainer"]["init"]["callbacks"] = RunCheckpoint("loss/train", every_n_steps=3, keep=9)
hparams["checkpoint"] = {"every_n_steps": 1, "keep": 1}
