"""What every extractor shares: one call form, and one check of the input before anything is computed."""

import warnings
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from salvit.hooks import one_pass_at_a_time
from salvit.options import HasOptions
from salvit.untouched import lock_of, untouched
from salvit.vit import (
    ViT,
    in_channels,
    num_classes,
    num_prefix_tokens,
    once_a_pass,
    patch_grid,
    reads_out_as_timm,
    require_attention_maps,
    require_frozen_vit,
)

_USUAL = 50.0
"""Of a pixel. Nothing that was divided by 255 and by a standard deviation is larger; models of one's own may differ."""
_LARGEST = 1e6
"""Of a pixel. Maps of what is larger need not be NaN to be wrong: normalisation makes of activations whose squares
overflow the same zeros everywhere."""


class Extractor(HasOptions, ABC):
    """Turns what happens inside a ViT into maps over the image.

    A subclass stores its options under the names of its `__init__` parameters and implements `num_channels`
    and `_maps`; it extends `check` when the method has no meaning for some models. Extractors hold no
    tensors, so they pickle, and one instance serves any number of models. In `_maps` gradients are off until
    `salvit.gradients.differentiable` or torch turns them on, images are checked, and `target` is [B] or, for the
    predicted classes, None; `salvit.gradients.target_logits` takes both.

    Example:
        >>> from salvit.gradients import differentiable, outside_graph, target_logits
        >>> class GradientLength(Extractor):
        ...     class_specific = True
        ...     def num_channels(self, vit):
        ...         return 1
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
        reads_attention: whether the model must have one attention map per block (differential attention has two).
    """

    class_specific: ClassVar[bool] = False
    reads_attention: ClassVar[bool] = True

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
            ValueError: if the model is in training mode or lacks what the method needs; if the images have
                the wrong shape, size, dtype or device or contain NaN, infinity or what would overflow; if
                the targets do not fit; or if the model itself gives NaN or infinity.
        """
        # Not only while it computes: the model is to be seen without what another thread has hooked into it.
        with lock_of(vit):
            self.check(vit)
            check_images(vit, images)
            self.check_grid(vit, patch_grid(vit, images))
            classes = check_target(vit, images, target)
            # Out of inference mode, which Lightning tests in: nothing made in it could be differentiated.
            with (
                untouched(vit) as guard,
                guard,
                torch.inference_mode(False),
                torch.no_grad(),
                one_pass_at_a_time(vit, once_a_pass(vit)),
            ):
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
            ValueError: if it is in training mode or lacks what the method needs.
        """
        require_frozen_vit(vit)
        if self.class_specific and num_classes(vit) < 1:
            raise ValueError(
                f"{self!r} explains a class, and the model has no classifier head: load weights that have one"
            )
        if self.class_specific and not vit.global_pool and reads_out_as_timm(vit):
            raise ValueError(
                f"{self!r} explains a class, and the model classifies every token by itself "
                f'(global_pool=""): load it with another'
            )
        if self.reads_attention:
            require_attention_maps(vit, repr(self))

    def check_grid(self, vit: ViT, grid: tuple[int, int]) -> None:
        """Raise, before anything is computed, if the method has no meaning on a patch grid.

        Args:
            vit: the model.
            grid: patches (rows, columns).

        Raises:
            ValueError: if it is too small.
        """

    def _require_maps(self, vit: ViT, images: Tensor, maps: Tensor) -> None:
        """Raise unless an extractor, which may be one's own, has done what it says."""
        promised = (len(images), self.num_channels(vit))
        if not isinstance(maps, Tensor) or maps.ndim != 4 or maps.shape[:2] != promised:
            found = list(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise ValueError(
                f"{self!r} must give maps [B, K, h, w] with K = num_channels(vit), here [{promised[0]}, "
                f"{promised[1]}, h, w]; it gave {found}"
            )
        if not torch.isfinite(maps).all():
            raise ValueError(
                f"{self!r} gives NaN or infinity for images {_not_finite(maps)} of the batch: weights are damaged, or "
                "activations overflow the model's dtype"
            )

    @abstractmethod
    def num_channels(self, vit: ViT) -> int:
        """Return K, the number of maps per image that the method gives for this model."""

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


def check_images(vit: ViT, images: Tensor) -> None:
    """Raise unless `images` is a batch that `vit` can take.

    Args:
        vit: a plain timm ViT.
        images: what should be a finite float tensor [B, 3, H, W] on the model's device and of its dtype.

    Raises:
        TypeError: if it is not a floating-point tensor.
        ValueError: if shape, size, device, dtype or values do not fit; the message says which.
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be a float tensor, normalised for the model; got {kind}")
    channels = in_channels(vit)
    if images.ndim != 4 or images.shape[1] != channels or not len(images):
        raise ValueError(f"images must have shape [B, {channels}, H, W] with B ≥ 1; got {list(images.shape)}")
    weight = next(vit.parameters())
    if images.device != weight.device:
        raise ValueError(
            f"images are on {images.device}, the model on {weight.device}: move one with .to(device)"
        )
    if images.is_meta:
        raise ValueError(
            "model and images are on the meta device, where nothing is computed: move them and the model"
        )
    if images.dtype != weight.dtype and not torch.is_autocast_enabled(images.device.type):
        raise ValueError(f"images are {images.dtype}, the model {weight.dtype}: convert one, or use autocast")
    patch_grid(vit, images)
    largest = float(images.detach().abs().max())
    if not largest <= _USUAL:
        if wrong := _not_finite(images):
            raise ValueError(f"images {wrong} of the batch contain NaN or infinity")
        what = f"images reach {largest:.3g}, and those normalised for a model are of the order of 1"
        if largest > _LARGEST:
            raise ValueError(f"{what}: activations would overflow; see salvit.vit.normalize")
        warnings.warn(f"{what}: were they divided by 255, and by salvit.vit.normalize?", stacklevel=3)


def _normal(tensor: Tensor) -> Tensor:
    """The tensor, or where it was made in inference mode a copy that was not."""
    return tensor.clone() if tensor.is_inference() else tensor


def _not_finite(batch: Tensor) -> list[int]:
    indices: list[int] = (~torch.isfinite(batch)).flatten(1).any(1).nonzero().flatten().tolist()
    return indices


def check_target(vit: ViT, images: Tensor, target: int | Tensor | None) -> Tensor | None:
    """Return the target classes as one index per image.

    Args:
        vit: a plain timm ViT.
        images: [B, 3, H, W].
        target: None, a class index, or a [B] tensor of integers.

    Returns:
        int64 [B] on the images' device, or None for the predicted classes.

    Raises:
        ValueError: if the targets have the wrong length, dtype or range, or the model has no classes.
    """
    if target is None:
        return None
    if num_classes(vit) < 1:
        raise ValueError(f"target is {target!r}, and the model has no classifier head: leave target out")
    try:
        classes = torch.as_tensor(target, device=target.device if isinstance(target, Tensor) else "cpu")
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"target must be None, a class index or [B] integers; got {target!r} "
            "(`salvit explain --target` takes names)"
        ) from None
    if classes.dtype.is_floating_point or classes.dtype.is_complex or classes.dtype == torch.bool:
        raise ValueError(f"target must be a class index or a [B] tensor of integers; got {classes.dtype}")
    if classes.ndim > 1 or (classes.ndim == 1 and len(classes) != len(images)):
        raise ValueError(
            f"target must be one class or one per image, [{len(images)}]; got {list(classes.shape)}"
        )
    classes = classes.long().expand(len(images))
    outside = classes[(classes < 0) | (classes >= num_classes(vit))]
    if len(outside):
        raise ValueError(f"target class {int(outside[0])} is outside 0 … {num_classes(vit) - 1}")
    # Only now, so that what comes from the host is checked without waiting for a GPU.
    return classes.to(images.device)


def check_seed(seed: int) -> None:
    """Raise unless random numbers can be drawn with a seed on every machine.

    Args:
        seed: the option.

    Raises:
        ValueError: if it is negative, or has more than 63 bits.
    """
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be between 0 and 2**63 - 1; got {seed}")


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
        raise ValueError(
            f"{type(vit).__name__} attends over {tokens.shape[-1]} tokens, not over {prefix} prefix tokens "
            f"and a {height}×{width} patch grid; models that drop or merge tokens are not supported"
        )
    return tokens[..., prefix:].unflatten(-1, (height, width))
