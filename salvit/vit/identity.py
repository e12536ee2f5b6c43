"""Whether two models are the same."""

import hashlib
from typing import Any

import torch
from timm.data import resolve_model_data_config

from salvit.vit.blocks import num_heads
from salvit.vit.images import input_size
from salvit.vit.plain import ViT

_WITHOUT_EFFECT = ("training", "fused_attn", "grad_checkpointing")
"""On what a frozen model computes."""


def weights_hash(vit: ViT) -> str:
    """Return the SHA-256 of a model's weights in hexadecimal: names, shapes, dtypes and values, on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(vit.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def describe_vit(vit: ViT) -> dict[str, Any]:
    """Describe a model in plain values: equal descriptions, equal maps.

    Example:
        >>> from salvit.vit import load_vit
        >>> describe_vit(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32))["num_heads"]
        3
    """
    config = resolve_model_data_config(vit)
    return {
        "weights_sha256": weights_hash(vit),
        "class": type(vit).__name__,
        "modules": hashlib.sha256(repr(vit).encode()).hexdigest(),
        "settings_sha256": _settings_hash(vit),
        "num_heads": num_heads(vit),
        "input_size": list(input_size(vit)),
        "global_pool": str(vit.global_pool),
        "mean": list(config["mean"]),
        "std": list(config["std"]),
    }


def _settings_hash(vit: ViT) -> str:
    """Of what is neither a weight nor printed: buffers that are not saved, and plain attributes of the modules."""
    digest = hashlib.sha256()
    saved = vit.state_dict().keys()
    for name, buffer in sorted(vit.named_buffers()):
        if name not in saved:
            digest.update(f"{name} {buffer.dtype} {list(buffer.shape)}\n".encode())
            digest.update(raw_bytes(buffer))
    for name, module in vit.named_modules():
        for key, value in sorted(vars(module).items()):
            if not key.startswith("_") and key not in _WITHOUT_EFFECT and _is_plain(value):
                digest.update(f"{name}.{key} {value!r}\n".encode())
    return digest.hexdigest()


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def raw_bytes(tensor: torch.Tensor) -> memoryview:
    """The values of a tensor on any device, to be hashed."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
