"""LabModule: a model to infer with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
from torch import nn

from torch_lab.errors import ConfigurationError
from torch_lab.modules import pairs, weights

OutputTransform = Callable[[Any, Any], tuple[Any, Any]]

_METRICS = "metrics."


class LabModule(pl.LightningModule):
    """Wraps `model` for batches `(x, md)`; its checkpoints hold the model's own state dict.

    `output_transform(y_pred, md)` makes from a batch of predictions what is written, the "out"
    of a step, and returns it with md.
    """

    def __init__(self, model: nn.Module, output_transform: OutputTransform | None = None) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ConfigurationError(
                f"model must be a torch.nn.Module, not {model!r} ({type(model).__name__})"
            )
        self.model = model
        self.output_transform = output_transform

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model makes of it."""
        return self.model(*args, **kwargs)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Predictions `y_pred`, metadata `md`, and `out` if there is an output_transform."""
        x, md = pairs.to_predict(batch)
        return self._with_out({"y_pred": self(x), "md": md})

    def apply_transform_to_batch(self, y_pred: Any, md: Any) -> tuple[Any, Any]:
        """What output_transform makes of a batch, None without one, and md: for your own steps."""
        return (None, md) if self.output_transform is None else self.output_transform(y_pred, md)

    def _with_out(self, step: dict[str, Any]) -> dict[str, Any]:
        if self.output_transform is not None:
            step["out"], step["md"] = self.output_transform(step["y_pred"], step["md"])
        return step

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the weights as the model does, and put what else the module keeps beside them."""
        state = checkpoint.get("state_dict")
        if not state:
            return
        model, rest = weights.split_off_model(state)
        checkpoint["state_dict"] = model
        # Metrics count anew in each epoch; what they hold in the midst of one is exact_state's.
        checkpoint["module_state"] = {k: v for k, v in rest.items() if not k.startswith(_METRICS)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Undo on_save_checkpoint; weights named as in torch-lab 1.x are found too."""
        state = checkpoint.get("state_dict")
        if not state:
            return
        own = self.state_dict()
        rest = checkpoint.get("module_state")
        if rest is None:
            model, rest = weights.split_off_model(own)
            rest = {name: state[name] for name in rest if name in state}
            state = weights.model_part(state, model)
        metrics = {name: value for name, value in own.items() if name.startswith(_METRICS)}
        # A module that only infers has no loss to give a checkpoint's `loss_function.…` to.
        parts = dict(self.named_children())
        rest = {name: value for name, value in rest.items() if name.split(".")[0] in parts}
        checkpoint["state_dict"] = weights.merge_model(own, state, {**rest, **metrics})

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As torch's, but a mismatch is one CheckpointMismatch."""
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        except RuntimeError as error:
            comparison = weights.compare(self.state_dict(), state_dict, drop=weights.MODEL)
            raise weights.translated(error, self.model, comparison) from None
