from lightning.pytorch.callbacks import ModelCheckpoint

import lightning as L


def train_config(config):
    return {"module": L.LightningModule(), "callbacks": [ModelCheckpoint()]}
