"""Export of a ViT trained here, in the form that `load_vit` reads."""

import os
import sys
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from safetensors.torch import save

from salvit.modules.classification import ClassificationModule
from salvit.results.files import write


class BackboneWriter(Callback):
    """Writes the ViT of a `ClassificationModule` after `test`, with the scores and the command that made it.

    Args:
        path: path of the safetensors file; a JSON file of the same stem beside it holds architecture,
            normalisation, names of the classes and provenance. Weights are stored in float16.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write both files."""
        assert isinstance(pl_module, ClassificationModule)
        if not trainer.is_global_zero:
            return
        weights = {
            name: tensor.detach().cpu().to(torch.float16).contiguous()
            for name, tensor in pl_module.vit.state_dict().items()
        }
        datamodule = getattr(trainer, "datamodule", None)
        description = {
            **pl_module.weights_description,
            "label_names": getattr(datamodule, "class_names", []),
            "command": " ".join(["salvit", *sys.argv[1:]]),
            "seed": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "steps": max(trainer.global_step, pl_module.trained_steps),
            "scores": {
                name: round(float(value), 4)
                for name, value in trainer.callback_metrics.items()
                if name.startswith("test/")
            },
        }
        json_name = self.path.with_suffix(".json").name
        write(self.path.parent, {self.path.name: save(weights), json_name: description})
