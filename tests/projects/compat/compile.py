"""What people's own scripts did with torch_lab.utils: build a configuration and look at it."""

import sys

from torch_lab.utils import (
    compile_config,
    dict_as_str,
    get_hparams_and_config_path,
    set_hparams_debug_overrides,
)

hparams, config_path = get_hparams_and_config_path(sys.argv[1], dev_run="2")
print(dict_as_str(hparams["trainer"]))
assert set_hparams_debug_overrides(hparams, "0.5")["config"]["num_workers"] == 0
config = compile_config(config_path, hparams, field="train_config", pdb=False)
x, md = next(iter(config["train_dataloaders"]))
print(config_path, sorted(config), tuple(x.shape), sorted(md))
config = compile_config(config_path, hparams, "-", "data/out.csv", field="infer_config")
print(sorted(config))
