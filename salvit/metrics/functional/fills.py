"""What removed pixels are filled with."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from salvit.errors import InvalidValueError

Fill = Literal["zero", "mean", "blur", "noise"]
_BLUR_KERNEL, _BLUR_SIGMA = 11, 5.0


def filled(images: Tensor, fill: Fill, seed: int = 0) -> Tensor:
    """What the pixels of images become when they are removed.

    Args:
        images: [B, 3, H, W], normalised for the model.
        fill: "zero" is the mean colour of the model's training data, "mean" that of each image, "blur" the
            image under a Gaussian of σ = 5 pixels (11 × 11), "noise" standard normal noise.
        seed: of the noise, the same for all images, so that no image depends on its batch.

    Returns:
        [B, 3, H, W], with axes of length 1 where all values along them are equal.

    Raises:
        ValueError: There is no such fill, or the image is too small to be blurred.

    Example:
        >>> filled(torch.tensor([[[[1.0, 3.0]]]]), "mean")
        tensor([[[[2.]]]])
    """
    if fill == "zero":
        return images.new_zeros(len(images), 1, 1, 1)
    if fill == "mean":
        return images.mean((2, 3), keepdim=True)
    if fill == "blur":
        return _blurred(images)
    if fill == "noise":
        noise = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed))
        return noise.to(images.device, images.dtype).expand_as(images)
    raise InvalidValueError(f'there is no fill "{fill}"; expected one of {", ".join(get_args(Fill))}')


def _blurred(images: Tensor) -> Tensor:
    if min(images.shape[2:]) <= _BLUR_KERNEL // 2:
        raise InvalidValueError(
            f"images of {images.shape[2]}×{images.shape[3]} pixels cannot be blurred over {_BLUR_KERNEL} "
            "pixels: take another fill"
        )
    return gaussian_blur(images, [_BLUR_KERNEL] * 2, [_BLUR_SIGMA] * 2)
