from pathlib import Path

from torch_lab.utils import import_script_as_module

hparams = import_script_as_module(Path(__file__).parent / "hparams.py").hparams
hparams["checkpoint"]["checkpoint_task_id"] = "00_waves-hparams_v0"
hparams["trainer"]["init"]["max_epochs"] = 4
