"""A run that fitted an estimator, sent to a server and fetched from it again."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

import torch_lab
from clearml_server.fixture import ClearMLServer
from mirror.mirrored_lab import mirrored
from torch_lab.errors import UsageError
from zygote import Zygote

RUN = "01_fitted-hparams_v0"
CONFIGURATION = """
    import numpy as np
    from sklearn.tree import DecisionTreeClassifier

    X = np.arange(20, dtype="float32").reshape(10, 2)


    def train_config(config):
        return {"estimator": DecisionTreeClassifier(), "train_data": (X, X[:, 0] > 8)}


    def infer_config(config):
        return {"estimator": DecisionTreeClassifier(), "predict_data": X}
"""


def test_it_is_sent_and_fetched_like_any_other(
    tmp_path: Path, zygote: Zygote, clearml_server: ClearMLServer
) -> None:
    with mirrored(tmp_path / "tiny", zygote, clearml_server.environment) as lab:
        package = next(each.parent for each in lab.root.glob("*/experiments"))
        folder = package / "experiments" / "01_fitted"
        folder.mkdir()
        (folder / "__main__.py").write_text(textwrap.dedent(CONFIGURATION))
        (folder / "hparams.py").write_text('hparams = {"config": {}}\n')
        script = str((folder / "hparams.py").relative_to(lab.root))
        done = lab.done("train", script)
        assert "sent to ClearML" in done.out + done.err
        task = lab.mirror(RUN).task_id
        before = lab.run(RUN).checkpoint()["state_dict"]["_extra_state"]
        shutil.rmtree(lab.artifacts / RUN)
        lab.done("infer", script, "--checkpoint", f"{task}")  # from the server
        done = lab.done("lab", "pull", f"{task}")
        assert "checkpoints   best, last" in done.out or "checkpoints   last" in done.out
        after = lab.run(RUN).checkpoint()["state_dict"]["_extra_state"]
        assert before.equal(after)
        (run,) = torch_lab.runs(lab.root)
        with pytest.raises(UsageError, match="load_estimator would run the code"):
            run.load_estimator()
        found = run.load_estimator(trust=True)
        assert found.predict(np.array([[0, 1], [18, 19]])).tolist() == [False, True]
