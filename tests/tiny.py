"""Small models and data that run in a second."""

import json
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from datamodules import PopOutDataModule


def save_vit(path: Path, seed: int = 0, **options) -> str:
    """A weights file with its description: 32×32 pixels, patches of 8, 2 blocks of 3 heads, 24 wide, 10 classes."""
    torch.manual_seed(seed)
    model = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 10}
    model |= options
    vit = VisionTransformer(**model)
    for parameter in vit.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    save_file(vit.state_dict(), path)
    description = {"model": model, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    path.with_suffix(".json").write_text(json.dumps(description))
    return str(path)


def quiet_trainer(folder: Path, **options) -> Trainer:
    """A trainer on the CPU that writes to a folder, and nothing to the screen."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    place = {"accelerator": "cpu", "devices": 1, "default_root_dir": folder}
    write = {"logger": False, "enable_checkpointing": False}
    return Trainer(**{**quiet, **place, **write, "max_epochs": 1, **options})


def tiny_popout(**options) -> PopOutDataModule:
    """A few displays of 32×32 pixels."""
    sizes = {"train_size": 8, "val_size": 3, "test_size": 5, "image_size": 32, "batch_size": 4}
    return PopOutDataModule(**{**sizes, "num_workers": 0, **options})
