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
        classes: its classes.
        targets: the classes to explain; none for each image's predicted one.
    """

    def __init__(self, vit: ViT, classes: Classes, targets: Sequence[int]) -> None:
        super().__init__()
        self.vit = vit
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
        explained: list[int | None] = [None] * len(photos)
        target = None
        if step.extractor.class_specific:
            explained = [next(iter(one)) if step.target is None else step.target for one in known]
            target = torch.tensor(explained, device=images.device)
        with _enough_memory(step.method, len(photos)):
            maps = step.extractor(self.vit, images, target).float().mean(dim=1).cpu()
        about = [
            self._columns("predicted", "probability", next(iter(one), None), one)
            | self._columns("target", "target_probability", index, one)
            for one, index in zip(known, explained, strict=True)
        ]
        return [Explanation(*parts) for parts in zip(photos, maps, about, strict=True)]

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

    def _columns(
        self, key: str, probability: str, index: int | None, known: dict[int, float]
    ) -> dict[str, str]:
        values = ("", "", "")
        if index is not None:
            values = (str(index), self.classes.name(index), str(round(known[index], 6)))
        return dict(zip((key, f"{key}_name", probability), values, strict=True))


@contextmanager
def _enough_memory(what: str, images: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UnavailableError(
            f"{what} needs more memory than the device has for {images} images at a time: "
            "lower --batch-size, or take --device cpu"
        ) from error
