hparams = {"config": {}}
