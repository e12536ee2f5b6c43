"""The name of a model in tables: two models that differ have two names."""

from pathlib import Path
from typing import Any


def backbone_name(
    vit: str | dict[str, Any], weights: str | Path | None = None, pretrained: bool = True
) -> str:
    """Name a backbone.

    Args:
        vit: a timm name, a weights file, or the architecture of a ViT that is trained from scratch.
        weights: local weights for a timm name.
        pretrained: False for random weights.

    Example:
        >>> backbone_name("vit_base_patch16_224.dino", weights="files/dino.pth")
        'vit_base_patch16_224.dino with weights dino.pth'
    """
    if not isinstance(vit, str):
        return "ViT from scratch"
    name = Path(vit).name if Path(vit).is_file() else vit
    if weights is not None:
        return f"{name} with weights {Path(weights).name}"
    return name if pretrained else f"{name} with random weights"
