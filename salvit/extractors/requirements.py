"""What a method needs of a model and of its input, all checked before anything is computed."""

from collections.abc import Callable
from typing import Any, get_args

import torch
from timm.layers import PatchEmbed
from timm.models import beit
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from timm.models.vision_transformer_relpos import RelPosBlock
from torch import Tensor, nn

from salvit.errors import InvalidTypeError, InvalidValueError
from salvit.vit import (
    ViT,
    block_indices,
    has_class_token,
    has_residual,
    in_channels,
    num_classes,
    patch_grid,
    reads_class_token,
    reads_out_as_timm,
    require_attention,
    require_attention_maps,
    require_frozen_vit,
)
from salvit.vit.variants import BlockWithoutResidual


def check_model(extractor: Any, vit: ViT) -> None:
    """Raise the errors of `Extractor.check`."""
    require_frozen_vit(vit)
    for name in sorted(extractor.requires | ({"classifier"} if extractor.class_specific else set())):
        _REQUIREMENTS[name](vit, str(extractor))
    for option in ("block", "start_layer"):
        blocks: Any = getattr(extractor, option, [])
        if not isinstance(blocks, str):
            for block in block_indices(vit, blocks if isinstance(blocks, list) else [blocks]):
                require_attention(vit, block, str(extractor))
    if getattr(extractor, "rows", None) != "class":
        return
    if not has_class_token(vit):
        raise InvalidValueError(
            f'{extractor} needs a class token, and this {type(vit).__name__} has none: use rows="auto"'
        )
    if extractor.class_specific and not reads_class_token(vit):
        raise InvalidValueError(
            f"{extractor} follows the class token's row, and this {type(vit).__name__} does not classify from its "
            f'class token (global_pool="{vit.global_pool}"): use rows="auto"'
        )


def _classifier(vit: ViT, what: str) -> None:
    if num_classes(vit) < 1:
        raise InvalidValueError(
            f"{what} explains a class, and the model has no classifier head: load weights that have one"
        )
    if not vit.global_pool and reads_out_as_timm(vit):
        raise InvalidValueError(
            f'{what} explains a class, and the model classifies every token by itself (global_pool=""): load it with '
            "another global_pool"
        )


def _two_classes(vit: ViT, what: str) -> None:
    if num_classes(vit) == 1:
        raise InvalidValueError(
            f"{what} needs the probability of the class, which is always 1 in a model with one class: use a method "
            "that follows the logit"
        )


def _gradients(vit: ViT, what: str) -> None:
    if getattr(vit, "grad_checkpointing", False):
        raise InvalidValueError(
            f"{what} needs the model's forward pass to run once, and gradient checkpointing repeats it: call "
            "vit.set_grad_checkpointing(False) first"
        )


def _additions(vit: ViT, what: str) -> None:
    for index, block in enumerate(vit.blocks):
        attention: Any = getattr(block, "attn", None)
        if type(block) not in (Block, BlockWithoutResidual, beit.Block, EvaBlock, RelPosBlock):
            problem = f"another form, {type(block).__name__}"
        elif getattr(attention, "gate", None) is not None:
            problem = "a gate behind its attention"
        elif type(getattr(attention, "norm", None)) not in (nn.Identity, type(None)):
            problem = "a normalisation behind its attention"
        else:
            continue
        raise InvalidValueError(
            f"{what} needs blocks whose attention output is a weighted sum over the tokens; "
            f"block {index} of this {type(vit).__name__} has {problem}"
        )


def _residual(vit: ViT, what: str) -> None:
    if not all(map(has_residual, vit.blocks)):
        raise InvalidValueError(
            f"{what} follows the gradient along the residual stream, and this {type(vit).__name__} has no residual "
            "connections"
        )


def _float_weights(vit: ViT, what: str) -> None:
    dtypes = {parameter.dtype for parameter in vit.parameters()}
    if len(dtypes) > 1 or not dtypes <= {torch.float32, torch.float64}:
        found = " and ".join(sorted(map(str, dtypes)))
        raise InvalidValueError(
            f"{what} needs float32 or float64 weights, and this model's are {found}: call vit.float()"
        )


def _pixel_rule(vit: ViT, what: str) -> None:
    embed: Any = getattr(vit, "patch_embed", getattr(vit, "embeds", None))
    if type(embed) is not PatchEmbed or type(embed.proj) is not nn.Conv2d or embed.dynamic_img_pad:
        raise InvalidValueError(
            f"{what} has no relevance rule for this model's patch embedding ({type(embed).__name__}): it covers "
            "timm's PatchEmbed, one convolution without padding"
        )


_REQUIREMENTS: dict[str, Callable[[ViT, str], None]] = {
    "additions": _additions,
    "attention": require_attention_maps,
    "classifier": _classifier,
    "float_weights": _float_weights,
    "gradients": _gradients,
    "pixel_rule": _pixel_rule,
    "residual": _residual,
    "two_classes": _two_classes,
}


def check_images(vit: ViT, images: Tensor) -> None:
    """Raise unless `images` is a finite float tensor [B, 3, H, W] on the model's device and of its dtype.

    Raises:
        TypeError: if it is not a floating-point tensor.
        ValueError: if shape, size, device, dtype or values do not fit; the message says which.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InvalidTypeError(f"images must be a float tensor, normalised for the model; got {kind}")
    channels = in_channels(vit)
    if images.ndim != 4 or images.shape[1] != channels or not len(images):
        raise InvalidValueError(
            f"images must have shape [B, {channels}, H, W] with B ≥ 1; got {list(images.shape)}"
        )
    weight = next(vit.parameters())
    if images.device != weight.device:
        raise InvalidValueError(
            f"images are on {images.device}, the model on {weight.device}: move one with .to(device)"
        )
    if images.dtype != weight.dtype and not torch.is_autocast_enabled(images.device.type):
        raise InvalidValueError(
            f"images are {images.dtype}, the model {weight.dtype}: convert one, or use autocast"
        )
    patch_grid(vit, images)
    if wrong := not_finite(images):
        raise InvalidValueError(f"images {wrong} of the batch contain NaN or infinity")


def not_finite(batch: Tensor) -> list[int]:
    """Return the indices of the images of a batch [B, ...] whose values are not all finite."""
    if torch.isfinite(batch.detach().sum()) or torch.isfinite(batch).all():
        return []
    indices: list[int] = (~torch.isfinite(batch)).flatten(1).any(1).nonzero().flatten().tolist()
    return indices


def check_finite(activations: Tensor) -> None:
    """Raise ValueError if activations [B, ...] have NaN or infinity, which later steps of a method could hide."""
    if not_finite(activations):
        raise InvalidValueError(
            "the model gives NaN or infinity: weights are damaged, or activations overflow the model's dtype"
        )


def check_target(vit: ViT, images: Tensor, target: int | Tensor | None) -> Tensor | None:
    """Return the target classes as int64 [B] on the images' device, or None for the predicted classes.

    Raises:
        ValueError: if the targets have the wrong length, dtype or range, or the model has no classes.
    """
    if target is None:
        return None
    if num_classes(vit) < 1:
        raise InvalidValueError(
            f"target is {target!r}, and the model has no classifier head: leave target out"
        )
    try:
        classes = torch.as_tensor(target, device=target.device if isinstance(target, Tensor) else "cpu")
    except (TypeError, ValueError, RuntimeError):
        raise InvalidValueError(
            f"target must be None, a class index or [B] integers; got {target!r} "
            "(`salvit explain --target` takes names)"
        ) from None
    if classes.dtype.is_floating_point or classes.dtype.is_complex or classes.dtype == torch.bool:
        raise InvalidValueError(
            f"target must be a class index or a [B] tensor of integers; got {classes.dtype}"
        )
    if classes.shape not in ((), (len(images),)):
        raise InvalidValueError(
            f"target must be one class or one per image, [{len(images)}]; got {list(classes.shape)}"
        )
    classes = classes.long().expand(len(images))
    outside = classes[(classes < 0) | (classes >= num_classes(vit))]
    if len(outside):
        raise InvalidValueError(f"target class {int(outside[0])} is outside 0 … {num_classes(vit) - 1}")
    # Moved last: values on the CPU are checked without waiting for a GPU.
    return classes.to(images.device)


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise ValueError unless the value of an option is one of those of a `Literal`."""
    if value not in get_args(choices):
        raise InvalidValueError(f"{name} must be one of {', '.join(get_args(choices))}; got {value!r}")


def check_seed(seed: int) -> None:
    """Raise ValueError unless a seed is between 0 and 2**63 - 1, the range that every platform accepts."""
    if not 0 <= seed < 2**63:
        raise InvalidValueError(f"seed must be between 0 and 2**63 - 1; got {seed}")
