"""What every extractor shares: one call form, and one check of model and input before anything is computed."""

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.requirements import check_images, check_model, check_target, not_finite
from salvit.options import HasOptions
from salvit.vit import ViT, num_heads, num_prefix_tokens, patch_grid


class Extractor(HasOptions, ABC):
    """Turns the inner workings of a ViT into maps over the image.

    A subclass stores its options under the names of its `__init__` parameters, raises ValueError for one that is out of
    range, and implements `_maps`. It overrides `num_channels` if it gives several maps, and names what it needs of a
    model in `requires`. Extractors hold no tensors: they can be pickled, and one instance serves any number of models.
    Negative block indices count from the last. In `_maps` gradients are off until
    `salvit.extractors.gradients.differentiable` turns them on.

    Every call leaves the model as it was, also after an error or Ctrl-C. The user's hooks run as usual. Use a model in
    one thread at a time: maps extracted in two threads at once may be wrong.

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
        class_specific: whether the maps depend on the target class; such methods need a classifier.
        requires: needs of the method, by name in `salvit.extractors.requirements`: "attention", one map per block;
            "additions", blocks whose attention is a sum over tokens; "gradients", no gradient checkpointing;
            "float_weights", float32 or float64; "pixel_rule", patches embedded by one convolution; "residual",
            blocks that add their input; "two_classes", more than one class.
    """

    class_specific: ClassVar[bool] = False
    requires: ClassVar[frozenset[str]] = frozenset({"attention"})

    def __str__(self) -> str:
        """The method as `salvit.extractors.parse_method` reads it, with the options that are not the default ones."""
        names = {method: name for name, method in METHODS.items()}
        name = names.get(type(self), f"{type(self).__module__}.{type(self).__qualname__}")
        changed = [
            f"{option}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'), default=repr)}"
            for option, value in self.changed_options().items()
        ]
        return f"{name}:{','.join(changed)}" if changed else name

    # The hooks and modes that record a pass do not work in compiled code.
    @torch.compiler.disable
    def __call__(self, vit: ViT, images: Tensor, target: int | Tensor | None = None) -> Tensor:
        """Extract the maps of a batch; no map depends on what else is in the batch.

        Args:
            vit: a plain timm ViT in eval mode, on the device of the images.
            images: [B, 3, H, W], normalised for the model (`salvit.vit.normalize`).
            target: the class explained: None for each image's predicted class, one class index for all images, or a
                [B] tensor of integers; checked even if the method is not `class_specific`.

        Returns:
            Maps [B, K, h, w] over the patch grid, K = `num_channels(vit)`, without gradient; float32, or float64 for a
            float64 model.

        Raises:
            TypeError: if the model is not a plain timm ViT or is compiled, or the images are not floats.
            IndexError: if the model lacks a block that an option names.
            ValueError: if the model is in training mode or lacks what the method needs; if images or targets do not
                fit; or if the model gives NaN or infinity.
        """
        self.check(vit)
        check_images(vit, images)
        self.check_grid(vit, patch_grid(vit, images))
        classes = check_target(vit, images, target)
        # Out of inference mode, which Lightning tests in: nothing made in it could be differentiated.
        with torch.inference_mode(False), torch.no_grad():
            explained = _normal(classes) if self.class_specific and classes is not None else None
            maps = self._maps(vit, _normal(images), explained)
        promised = [len(images), self.num_channels(vit)]
        found = list(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        if not isinstance(maps, Tensor) or maps.ndim != 4 or found[:2] != promised:
            raise InvalidValueError(
                f"{self} must give maps [B, K, h, w] with K = num_channels(vit), here [{promised[0]}, "
                f"{promised[1]}, h, w]; it gave {found}"
            )
        if wrong := not_finite(maps):
            raise InvalidValueError(
                f"{self} gives NaN or infinity for images {wrong} of the batch: weights are damaged, or "
                "activations overflow the model's dtype"
            )
        return maps.to(torch.promote_types(maps.dtype, torch.float32))

    def check(self, vit: ViT) -> None:
        """Raise, before anything is computed, the error of a call if the model does not support the method."""
        check_model(self, vit)

    def check_grid(self, vit: ViT, grid: tuple[int, int]) -> None:
        """Raise ValueError, before anything is computed, if a patch grid (rows, columns) is too small."""

    def num_channels(self, vit: ViT) -> int:
        """Return K, the number of maps per image: 1, or one per head of the last block with the option `per_head`."""
        return num_heads(vit) if getattr(self, "per_head", False) else 1

    def forward_passes(self, vit: ViT) -> int:
        """Return how many forward passes an image takes: 1, or more where the method alters images."""
        return 1

    @abstractmethod
    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        """Return maps [B, K, h, w]; gradients are off, `target` is [B] int64 or None (predicted class)."""


def _normal(tensor: Tensor) -> Tensor:
    """The tensor, or where it was made in inference mode a copy that was not."""
    return tensor.clone() if tensor.is_inference() else tensor


def patches_to_grid(vit: ViT, images: Tensor, tokens: Tensor) -> Tensor:
    """Drop the prefix tokens of the last dimension of [..., N] and fold the patches onto the patch grid, [..., h, w].

    Args:
        vit: a plain timm ViT.
        images: the batch [B, 3, H, W] it was given.
        tokens: [..., N], one value per token.

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


Method = TypeVar("Method", bound="type[Extractor]")

METHODS: dict[str, type[Extractor]] = {}
"""Class of each method by name."""

GROUP = "salvit.methods"
"""Entry points of this group are methods: `name = "package.module:Class"`."""


def register_method(name: str) -> Callable[[Method], Method]:
    """Give a class of extractors the name of its method.

    Args:
        name: letters, digits and underscores.

    Raises:
        ValueError: if the name has another form, or belongs to another class.
    """
    if not name.isidentifier():
        raise InvalidValueError(f'a method name has letters, digits and underscores only; got "{name}"')

    def register(kind: Method) -> Method:
        known = METHODS.setdefault(name, kind)
        if known is not kind:
            raise InvalidValueError(
                f'the method name "{name}" belongs to {known.__module__}.{known.__qualname__}'
            )
        return kind

    return register


def register_entry_points() -> None:
    """Register the methods of other packages; one that cannot be imported is left out with a warning."""
    for point in entry_points(group=GROUP):
        try:
            register_method(point.name)(point.load())
        except Exception as error:
            warnings.warn(f'the method "{point.name}" ({point.value}) is left out: {error}', stacklevel=2)
