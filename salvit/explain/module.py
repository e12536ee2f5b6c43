"""The module that Lightning predicts with: classes of images, and their maps by one method."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from salvit.errors import InvalidValueError, UnavailableError
from salvit.explain.data import Batch, Photo
from salvit.vit import ViT, normalize, num_classes
from salvit.vit.classes import Classes


class Explanation(NamedTuple):
    """A map of an image.

    Attributes:
        photo: the image.
        saliency: float32 [h, w] on the CPU, at the method's resolution; the mean over its maps.
        about: columns of the table about the predicted class and the explained one.
    """

    photo: Photo
    saliency: Tensor
    about: dict[str, str]


class ExplainModule(LightningModule):
    """A frozen ViT; each batch names the method that explains it.

    Args:
        vit: the model.
        size: (height, width) of its input.
        classes: its classes.
        targets: the classes to explain; none for each image's predicted one.
    """

    def __init__(self, vit: ViT, size: tuple[int, int], classes: Classes, targets: Sequence[int]) -> None:
        super().__init__()
        self.vit = vit
        self.size = size
        self.classes = classes
        self.targets = list(targets)
        self._known: dict[str, dict[int, float]] = {}  # see _probabilities

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Explanation]:
        """The maps of a batch's images by its method.

        Raises:
            ValueError: if the model's output is not finite.
            RuntimeError: if the device has not enough memory.
        """
        step, photos, _ = batch
        if not photos:
            return []
        images = normalize(self.vit, torch.stack([photo.pixels for photo in photos]))
        known = self._probabilities(images, [photo.name for photo in photos])
        classes: list[int | None] = [None] * len(photos)
        if step.extractor.class_specific:
            classes = [next(iter(one)) if step.target is None else step.target for one in known]
        target = torch.tensor(classes, device=images.device) if step.extractor.class_specific else None
        with _enough_memory(step.method, len(photos)):
            maps = step.extractor(self.vit, images, target).float().mean(dim=1).cpu()
        return [
            Explanation(
                photo,
                saliency,
                self._about("predicted", "probability", next(iter(one), None), one)
                | self._about("target", "target_probability", index, one),
            )
            for photo, saliency, one, index in zip(photos, maps, known, classes, strict=True)
        ]

    def _probabilities(self, images: Tensor, names: Sequence[str]) -> list[dict[int, float]]:
        """Probabilities by class of each image: of the predicted class first, then of the targets."""
        if any(name not in self._known for name in names):
            with _enough_memory("the model", len(names)):
                output = self.vit(images).float().cpu()
            if not output.isfinite().all():
                raise InvalidValueError(
                    "the model gives NaN or infinity, so nothing can be explained: are its weights whole?"
                )
            for name, row in zip(names, output.softmax(dim=-1), strict=True):
                shown = [int(row.argmax()), *self.targets] if num_classes(self.vit) else []
                self._known[name] = {index: float(row[index]) for index in shown}
        return [self._known[name] for name in names]

    def _about(
        self, key: str, probability: str, index: int | None, known: dict[int, float]
    ) -> dict[str, str]:
        if index is None:
            return {key: "", f"{key}_name": "", probability: ""}
        return {
            key: str(index),
            f"{key}_name": self.classes.name(index),
            probability: str(round(known[index], 6)),
        }


@contextmanager
def _enough_memory(what: str, images: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UnavailableError(
            f"{what} needs more memory than the device has for {images} images at a time: "
            "lower --batch-size, or take --device cpu"
        ) from error
