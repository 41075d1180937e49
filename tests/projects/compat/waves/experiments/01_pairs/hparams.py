from torch_lab.loggers import ClearMlLogger
from torch_lab.paths import ARTIFACTS_DIR, PROCESSED_DIR

hparams = {
    "task": {"project_name": "waves", "tags": ["pairs"]},
    "checkpoint": {"checkpoint_task_id": None},
    "trainer": {
        "init": {"max_epochs": 2, "log_every_n_steps": 1},
        "fit": {},
        "predict": {},
    },
    "config": {
        "data": str(PROCESSED_DIR / "short_waves.npz"),
        "module": "ready",
        "learning_rate": 0.1,
        "batch_size": 8,
        "num_workers": 0,
        "monitor": "loss/validate_epoch",
        "mode": "min",
    },
}
hparams["trainer"]["init"]["logger"] = ClearMlLogger(
    hparams, "__main__.py", "01_pairs-hparams", ARTIFACTS_DIR
)
