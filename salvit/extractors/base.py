"""What every extractor shares: one call form, and one check of model and input before anything is computed."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.requirements import check_images, check_model, check_target, not_finite
from salvit.options import HasOptions
from salvit.vit import ViT, num_prefix_tokens, patch_grid


class Extractor(HasOptions, ABC):
    """Turns what happens inside a ViT into maps over the image.

    A subclass stores its options under the names of its `__init__` parameters, implements `_maps`, and `num_channels`
    where it gives several maps, and names in `requires` what the method needs of a model. Extractors hold no tensors,
    so they pickle, and one instance serves any number of models. In `_maps` gradients are off until
    `salvit.extractors.gradients.differentiable` or torch turns them on, images are checked, and `target` is [B] or,
    for the predicted classes, None; `salvit.extractors.gradients.target_logits` takes both.

    A model is as it was before after every call, also after an error or Ctrl-C. Hooks that it has run as they always
    do. One model belongs to one thread at a time: what is extracted in two threads at once may be wrong.

    Example:
        >>> from salvit.extractors.gradients import differentiable, outside_graph, target_logits
        >>> class GradientLength(Extractor):
        ...     class_specific = True
        ...     def _maps(self, vit, images, target):
        ...         with differentiable():
        ...             images = outside_graph(images).requires_grad_()
        ...             [gradient] = torch.autograd.grad(target_logits(vit(images), target), images)
        ...         return gradient.norm(dim=1, keepdim=True)
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> GradientLength()(vit, torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 1, 32, 32])

    Attributes:
        class_specific: whether the maps depend on the target class.
        requires: what a model must have, by name in `salvit.extractors.requirements`: "attention", one map per block
            (differential attention has two); "additions", blocks whose attention adds to a token what it takes from
            each other one; "gradients", no gradient checkpointing; "float_weights", float32 or float64; "pixel_rule",
            patches embedded by one convolution; "two_classes", more than one class. Class-specific methods need a
            classifier.
    """

    class_specific: ClassVar[bool] = False
    requires: ClassVar[frozenset[str]] = frozenset({"attention"})

    # Within a function that is compiled, a pass that is watched must run as it is written.
    @torch.compiler.disable
    def __call__(self, vit: ViT, images: Tensor, target: int | Tensor | None = None) -> Tensor:
        """Extract the maps of a batch; no map depends on what else is in the batch.

        Args:
            vit: a plain timm ViT in eval mode, on the device of the images.
            images: [B, 3, H, W], normalised for the model (`salvit.vit.normalize`).
            target: the class explained: None for each image's predicted class, one class index for all
                images, or a [B] tensor of integers; of no effect, but checked, unless `class_specific`.

        Returns:
            Maps [B, K, h, w] over the patch grid, K = `num_channels(vit)`, without gradient; float32, or
            float64 for a float64 model.

        Raises:
            TypeError: if the model is not a plain timm ViT or is compiled, or the images are not floats.
            IndexError: if the model lacks a block that an option names.
            ValueError: if the model is in training mode or lacks what the method needs; if the images have
                the wrong shape, size, dtype or device or contain NaN or infinity; if the targets do not fit; or if
                the model itself gives NaN or infinity.
        """
        self.check(vit)
        check_images(vit, images)
        self.check_grid(vit, patch_grid(vit, images))
        classes = check_target(vit, images, target)
        # Out of inference mode, which Lightning tests in: nothing made in it could be differentiated.
        with torch.inference_mode(False), torch.no_grad():
            explained = _normal(classes) if self.class_specific and classes is not None else None
            maps = self._maps(vit, _normal(images), explained)
        self._require_maps(vit, images, maps)
        return maps.to(torch.promote_types(maps.dtype, torch.float32))

    def check(self, vit: ViT) -> None:
        """Raise, before anything is computed, if the method has no meaning for the model.

        Args:
            vit: the model.

        Raises:
            TypeError: if it is not a plain timm ViT, or is compiled.
            IndexError: if it lacks a block that an option names.
            ValueError: if it is in training mode or lacks what the method needs.
        """
        check_model(self, vit)

    def check_grid(self, vit: ViT, grid: tuple[int, int]) -> None:
        """Raise, before anything is computed, if the method has no meaning on a patch grid.

        Args:
            vit: the model.
            grid: patches (rows, columns).

        Raises:
            ValueError: if it is too small.
        """

    def _require_maps(self, vit: ViT, images: Tensor, maps: Tensor) -> None:
        """Raise unless the maps are what `num_channels` promises, and finite."""
        promised = (len(images), self.num_channels(vit))
        if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[:2] != promised:
            found = list(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise InvalidValueError(
                f"{self!r} must give maps [B, K, h, w] with K = num_channels(vit), here [{promised[0]}, "
                f"{promised[1]}, h, w]; it gave {found}"
            )
        if wrong := not_finite(maps):
            raise InvalidValueError(
                f"{self!r} gives NaN or infinity for images {wrong} of the batch: weights are damaged, or "
                "activations overflow the model's dtype"
            )

    def num_channels(self, vit: ViT) -> int:
        """Return K, the number of maps per image that the method gives for this model: 1 if a class says nothing else.

        Args:
            vit: the model.
        """
        return 1

    def forward_passes(self, vit: ViT) -> int:
        """Return how many forward passes an image takes: 1, or more where a method asks about altered images.

        Such a method is shown to take long, and given an image at a time.

        Args:
            vit: the model.
        """
        return 1

    @abstractmethod
    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        """Return maps [B, K, h, w]; gradients are off, `target` is [B] int64 or None (predicted class)."""


def _normal(tensor: Tensor) -> Tensor:
    """The tensor, or where it was made in inference mode a copy that was not."""
    return tensor.clone() if tensor.is_inference() else tensor


def patches_to_grid(vit: ViT, images: Tensor, tokens: Tensor) -> Tensor:
    """Drop the prefix tokens of the last dimension and fold the patches onto the patch grid.

    Args:
        vit: a plain timm ViT.
        images: the batch [B, 3, H, W] it was given.
        tokens: [..., N], one value per token.

    Returns:
        [..., h, w].

    Raises:
        ValueError: if N is not prefix tokens + h·w, as in a model that drops or merges tokens.
    """
    prefix, (height, width) = num_prefix_tokens(vit), patch_grid(vit, images)
    if tokens.shape[-1] != prefix + height * width:
        raise InvalidValueError(
            f"{type(vit).__name__} attends over {tokens.shape[-1]} tokens, not over {prefix} prefix tokens "
            f"and a {height}×{width} patch grid; models that drop or merge tokens are not supported"
        )
    return tokens[..., prefix:].unflatten(-1, (height, width))
