"""A fitted model in a notebook: images in, saliency maps out."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import torch
from PIL import Image
from torch import Tensor

from datamodules.base import Size, as_rgb, to_tensor
from salvit.errors import InvalidValueError
from salvit.metrics import at_native_size
from salvit.modules.checkpoint import read_checkpoint
from salvit.modules.saliency import SaliencyModule
from salvit.resize import resize_antialiased
from salvit.vit import input_size


class FittedSaliency:
    """A saliency model that takes images of any size and gives maps at their size.

    Args:
        module: the model.
        image_size: (height, width) that images are squashed to, as in training.
    """

    def __init__(self, module: SaliencyModule, image_size: Size) -> None:
        self.module = module.eval()
        self.image_size = image_size

    @overload
    def __call__(self, images: Image.Image | Tensor) -> Tensor: ...

    @overload
    def __call__(self, images: Sequence[Image.Image | Tensor]) -> list[Tensor]: ...

    def __call__(
        self, images: Image.Image | Tensor | Sequence[Image.Image | Tensor]
    ) -> Tensor | list[Tensor]:
        """Predict saliency.

        Args:
            images: a PIL image, a tensor [3, H, W] or [B, 3, H, W] of RGB in [0, 1], or a list of images.

        Returns:
            float32 [H, W] for one image, [B, H, W] for a batch, a list of [H, W] for a list; non-negative, on no
            particular scale.

        Raises:
            ValueError: if a tensor has another shape, or its values were not divided by 255.
        """
        if isinstance(images, Image.Image):
            image = as_rgb(images)
            return self._maps(to_tensor(image, self.image_size)[None], (image.height, image.width))[0]
        if not isinstance(images, Tensor):
            return [self(image) for image in images]
        if images.ndim not in (3, 4) or images.shape[-3] != 3:
            raise InvalidValueError(
                f"a tensor of images is [3, H, W] or [B, 3, H, W]; got {list(images.shape)}"
            )
        batch = images.float().reshape(-1, *images.shape[-3:])
        maps = self._maps(resize_antialiased(batch, self.image_size), (images.shape[-2], images.shape[-1]))
        return maps if images.ndim == 4 else maps[0]

    @torch.no_grad()
    def _maps(self, images: Tensor, size: Size) -> Tensor:
        predictions = self.module(images.to(self.module.device))
        return torch.stack(list(at_native_size(predictions, [size] * len(images))))


def load_saliency(checkpoint: str | Path, device: str | torch.device = "cpu") -> FittedSaliency:
    """Load a fitted saliency model from the checkpoint of a fit: `load_saliency(path)(image)` is a map.

    Args:
        checkpoint: a file that `salvit fit` has written, `runs/NAME/version_N/checkpoints/last.ckpt`.
        device: where to compute.

    Raises:
        FileNotFoundError, ValueError: if the file is not there, or holds no saliency model.
    """
    module = SaliencyModule.load_from_checkpoint(checkpoint, map_location=device)
    data = read_checkpoint(checkpoint)["salvit"]["data"] or {"init_args": {}}
    size = data["init_args"].get("image_size", input_size(module.vit))
    height, width = (size, size) if isinstance(size, int) else size
    return FittedSaliency(module, (height, width))
