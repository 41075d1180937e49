hparams = {"trainer": {"init": {"max_epochs": 7}}, "config": {"kind": "images"}}
