"""The name of a model as a row of a table: two models that differ have two names."""

import json
from pathlib import Path
from typing import Any

from salvit.extractors import METHODS, Extractor


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


def method_name(extractor: Extractor) -> str:
    """Name a method as it is typed, with the options that are not the default ones.

    Args:
        extractor: of a class in `METHODS`, or of another class, which is named by its class.

    Example:
        >>> from salvit.extractors import RawAttention, Rollout
        >>> method_name(Rollout()), method_name(RawAttention(block=[0, 1], per_head=True))
        ('rollout', 'raw_attention:block=[0,1],per_head=true')
    """
    names = {method: name for name, method in METHODS.items()}
    name = names.get(type(extractor), type(extractor).__name__)
    changed = [f"{option}={_typed(value)}" for option, value in extractor.changed_options().items()]
    return f"{name}:{','.join(changed)}" if changed else name


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
