from pathlib import Path

from torch_lab.utils import import_script_as_module

hparams = import_script_as_module(Path(__file__).parent / "hparams_checkpoint.py").hparams
hparams["checkpoint"]["weights_only"] = True
hparams["checkpoint"]["checkpoint_name"] = "best"
hparams["trainer"]["init"]["max_epochs"] = 1
