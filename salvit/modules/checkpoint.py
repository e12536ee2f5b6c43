"""What a checkpoint says about the model it belongs to, and the refusal of any other."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from salvit.decoder import SaliencyDecoder
from salvit.extractors import Extractor
from salvit.vit import ViT, weights_hash

Description = dict[str, Any]


def check_readable(path: Path) -> None:
    """Raise unless a file is a checkpoint.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, holds more than tensors and plain values, or is something else.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint {path}: --ckpt_path takes a file that `salvit fit` has written"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises RuntimeError, UnpicklingError, EOFError, struct.error, KeyError and more on damaged files.
    except Exception as error:
        raise ValueError(
            f"cannot read the checkpoint {path} ({type(error).__name__}): is it whole?"
        ) from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ValueError(
            f"{path} is no Lightning checkpoint: --ckpt_path takes a file that `salvit fit` has written"
        )


def describe(name: str, extractor: Extractor, decoder: SaliencyDecoder, vit: ViT) -> Description:
    """Describe a saliency model in plain values, as they are stored in checkpoints.

    Args:
        name: of the backbone.
        extractor: of the maps.
        decoder: on top.
        vit: the backbone.

    Returns:
        Backbone's name and weights' SHA-256, the extractor's class and options, the decoder's channels and
        whether it has a center bias.
    """
    return {
        "vit": name,
        "weights_sha256": weights_hash(vit),
        "extractor": {
            "class_path": f"{type(extractor).__module__}.{type(extractor).__qualname__}",
            "init_args": extractor.options(),
        },
        "decoder": {
            "channels": [layer.in_channels for layer in decoder.convolutions],
            "center_bias": decoder.center_bias is not None,
        },
    }


def check_same_model(stored: Description | None, present: Description) -> None:
    """Raise unless a checkpoint belongs to the model that is to load it.

    The present configuration is what the user typed: nothing in the checkpoint overrides it. The backbone is
    compared by its weights, not by its name, so a renamed file is no reason to refuse.

    Args:
        stored: the checkpoint's description, None if it has none.
        present: the model's.

    Raises:
        ValueError: if there is no description or they differ; the message names each difference and the remedy.
    """
    if stored is None:
        raise ValueError("the checkpoint was not written by salvit's SaliencyModule: it describes no model")
    differences = [
        f"  {key}: the checkpoint has {stored.get(key)}, this run has {present[key]}"
        for key in ("weights_sha256", "extractor", "decoder")
        if stored.get(key) != present[key]
    ]
    if differences:
        raise ValueError(
            f"the checkpoint belongs to another model (backbone {stored.get('vit')!r}; here {present['vit']!r}):\n"
            + "\n".join(differences)
            + "\nRun it with the config.yaml saved beside it, or without --ckpt_path."
        )


def without_backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop the frozen backbone's tensors from a state dict."""
    return {name: tensor for name, tensor in state.items() if not name.startswith("vit.")}
