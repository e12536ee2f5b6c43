"""The images that a model takes: their size, normalisation and patch grid."""

from collections.abc import Sequence
from typing import Any

from timm.data import resolve_model_data_config
from timm.models.naflexvit import NaFlexVit
from torch import Tensor

from salvit.errors import InvalidTypeError, InvalidValueError
from salvit.vit.plain import ViT


def input_size(vit: ViT) -> tuple[int, int]:
    """Return the (height, width) in pixels the model was built for."""
    embed = patch_embedding(vit)
    if isinstance(vit, NaFlexVit):
        rows, columns = embed.pos_embed_grid_size or (16, 16)
        return int(rows * embed.patch_size[0]), int(columns * embed.patch_size[1])
    height, width = embed.img_size
    return int(height), int(width)


def patch_grid(vit: ViT, images: Tensor | Sequence[int]) -> tuple[int, int]:
    """Return the patch grid (rows, columns) of an input.

    Args:
        vit: a plain timm ViT.
        images: a tensor [..., H, W], or the size (H, W) in pixels.

    Raises:
        ValueError: if the model cannot take an input of that size.
    """
    height, width = images.shape[-2:] if isinstance(images, Tensor) else images
    embed = patch_embedding(vit)
    if getattr(embed, "strict_img_size", False) and (height, width) != input_size(vit):
        raise InvalidValueError(
            f"the input is {height}×{width} pixels, this {type(vit).__name__} takes only {input_size(vit)}: "
            "resize the input, or load the model with img_size=(height, width), or, where it has that option, with "
            "dynamic_img_size=True as salvit.load_vit does"
        )
    patch_height, patch_width = embed.feat_ratio(as_scalar=False)
    if height % patch_height or width % patch_width or not height or not width:
        padded = ", also where the model would pad it: a map would cover the padding as well"
        raise InvalidValueError(
            f"the input is {height}×{width} pixels; its sides must be multiples of the patch size "
            f"{patch_height}×{patch_width}{padded if embed.dynamic_img_pad else ''}"
        )
    rows, columns = embed.dynamic_feat_size((height, width))
    return int(rows), int(columns)


def in_channels(vit: ViT) -> int:
    """Return how many channels the model's images have; 3 for all of timm's weights."""
    return int(getattr(vit, "in_chans", 3))


def normalize(vit: ViT, images: Tensor) -> Tensor:
    """Normalise RGB images with the mean and standard deviation the model was trained with.

    Args:
        vit: a plain timm ViT.
        images: float [..., 3, H, W] in [0, 1], or of as many channels as the model takes.

    Returns:
        A tensor of the same shape, dtype and device.

    Raises:
        TypeError: if the images are not a tensor of floats.
        ValueError: if they have another number of channels than the model's input, or values above 2 (a little
            above 1 are what resizing may leave).
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InvalidTypeError(f"images must be floats in [0, 1]; got {kind} (divide 8-bit values by 255)")
    if images.numel() and images.max() > 2:
        raise InvalidValueError(
            f"images must be floats in [0, 1]; these reach {float(images.max()):g} (divide by 255?)"
        )
    channels = in_channels(vit)
    if images.ndim < 3 or images.shape[-3] != channels:
        raise InvalidValueError(f"images must have shape [..., {channels}, H, W]; got {list(images.shape)}")
    config = resolve_model_data_config(vit)
    if len(config["mean"]) < channels:
        raise InvalidValueError(
            f"the model's configuration has no mean and standard deviation of {channels} channels"
        )
    mean, std = (images.new_tensor(config[key][:channels]).view(-1, 1, 1) for key in ("mean", "std"))
    return (images - mean) / std


def patch_embedding(vit: ViT) -> Any:
    """Return the module that makes tokens of patches."""
    return vit.embeds if isinstance(vit, NaFlexVit) else vit.patch_embed
