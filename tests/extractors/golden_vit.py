"""The reference outputs that lie beside a development checkout, and the ViTs they were made with."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer

FOLDER = Path(__file__).resolve().parents[2] / "../shared/golden"


def load_golden(name: str, block_eps: float = 1e-6):
    """A reference's float32 model, images, targets and arrays."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        pytest.skip("golden outputs are not beside this checkout")
    golden = np.load(path)
    config = json.loads(str(golden["config"]))
    vit = VisionTransformer(
        img_size=config["img"],
        patch_size=config["patch"],
        embed_dim=config["dim"],
        depth=config["depth"],
        num_heads=config["heads"],
        num_classes=config["classes"],
        norm_layer=LayerNorm,
    )
    prefix = "weight/"
    weights = {
        key.removeprefix(prefix): torch.tensor(golden[key]) for key in golden if key.startswith(prefix)
    }
    vit.load_state_dict(weights)
    for block in vit.blocks:
        block.norm1.eps = block.norm2.eps = block_eps
    images, targets = torch.tensor(golden["images"]), torch.tensor(golden["targets"])
    return vit.requires_grad_(False).eval(), images, targets, golden
