"""One image, what the model says of it, and what has been made of it so far."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from salvit.explain.classes import Classes
from salvit.explain.folder import GRIDS
from salvit.explain.images import Photo
from salvit.explain.index import Row
from salvit.explain.summary import shown_probability
from salvit.explain.task import Step


class Explained:
    """An image with what the model says of it, and its overlays so far.

    Args:
        photo: the image.
        scores: float32 [C], the model's probabilities, or None without a head.
        targets: classes to explain; empty for the predicted one.
        classes: of the model.
    """

    def __init__(self, photo: Photo, scores: Tensor | None, targets: Sequence[int], classes: Classes) -> None:
        self.photo = photo
        self.scores = scores
        self.classes = classes
        self.predicted = None if scores is None else int(scores.argmax())
        self.targets = list(targets) or ([] if self.predicted is None else [self.predicted])
        self.overlays: dict[Step, Image.Image] = {}

    @property
    def grid_file(self) -> str:
        """Where its grid is, relative to the output folder."""
        return grid_file(self.photo.name)

    def target(self, step: Step) -> int | None:
        """The class that a map explains."""
        return None if step.position is None else self.targets[step.position]

    def described(self, index: int | None) -> str:
        """A class by name, index and probability; "" if there is none."""
        if index is None:
            return ""
        return f"{self.classes.describe(index)}, {shown_probability(self._score(index))}"

    def row(self, step: Step, stem: str) -> Row:
        """The index's row of a map.

        Args:
            step: which map.
            stem: where its files are, relative to the output folder and without suffix.
        """
        target = self.target(step)
        return Row(
            image=str(self.photo.path),
            name=self.photo.name,
            height=self.photo.size[0],
            width=self.photo.size[1],
            predicted=_or_empty(self.predicted),
            predicted_name=self._name(self.predicted),
            probability=self._score(self.predicted),
            method=step.method,
            target=_or_empty(target),
            target_name=self._name(target),
            target_probability=self._score(target),
            map=f"{stem}.npy",
            overlay=f"{stem}.png",
            grid="",
            image_sha256=self.photo.sha256,
        )

    def _name(self, index: int | None) -> str:
        return "" if index is None else self.classes.name(index)

    def _score(self, index: int | None) -> float | str:
        return "" if self.scores is None or index is None else round(float(self.scores[index]), 6)


def grid_file(name: str) -> str:
    """Where the grid of the image of a name is, relative to the output folder."""
    return f"{GRIDS}/{name}.png"


def _or_empty(index: int | None) -> int | str:
    return "" if index is None else index
