"""PopOut: generated displays with one odd item. Nothing is stored or downloaded."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes

from datamodules.base import SaliencyDataModule, SaliencyDataset, Sample, Size, Split
from datamodules.popout.observer import draw_fixations, observer_density
from datamodules.popout.render import render
from datamodules.popout.scene import SHAPES, SINGLETONS, Scenes, draw_scenes
from salvit.errors import InvalidValueError

__all__ = ["SHAPES", "SINGLETONS", "PopOutDataModule", "PopOutDataset"]

_STREAMS: dict[Split, int] = {"train": 0, "val": 1, "test": 2, "predict": 2}
_OBSERVERS, _FIXATIONS_EACH = 15, 4


@dataclass(eq=False)
class PopOutDataset(SaliencyDataset):
    """Displays of 4 to 12 shapes on a textured ground; one is odd in colour, orientation, size or shape.

    The label is the shape of the odd item, one of ten. Unless the shape is odd, the other items have mixed shapes:
    only a model that finds the odd item can name it. A display depends only on the seed, the split and the index.
    A sample also has `label`, `mask` and the box (`boxes`, `box_labels`) of the target, `singleton`, the odd
    dimension, and `items` uint8 [H, W], 0 on the ground and 1 + shape on every item.

    Args:
        length: number of displays.
        seed: seed of the dataset.
        split: splits share no display.
        image_size: (height, width) in pixels.

    Example:
        >>> sample = PopOutDataset(length=8, seed=0, split="train", image_size=(64, 64))[3]
        >>> sample["image"].shape, SHAPES[sample["label"]], len(sample["fixations"])
        (torch.Size([3, 64, 64]), 'arrow', 60)
    """

    length: int
    seed: int
    split: Split
    image_size: Size

    def __len__(self) -> int:
        """Number of displays."""
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """The display at a position in `range(len(self))`."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Sample]:
        """Several displays, rendered together; DataLoader calls this for a batch."""
        scenes = self.draw(indices)
        images, masks, items = render(scenes)
        density = observer_density(scenes)
        fixations = draw_fixations(density, scenes.draws)
        boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])  # from pixels to edges
        return [
            {
                "image": images[row],
                "density": density[row],
                "fixations": fixations[row],
                "size": self.image_size,
                "name": self.name(index),
                "index": index,
                "label": int(scenes.shape[row, 0]),
                "singleton": SINGLETONS[scenes.singleton[row]],
                "mask": masks[row],
                "items": items[row],
                "boxes": boxes[row, None],
                "box_labels": torch.tensor([int(scenes.shape[row, 0])]),
            }
            for row, index in enumerate(indices)
        ]

    def name(self, index: int) -> str:
        """Split and number of the display."""
        return f"{self.split}_{index:06d}"

    def size(self, index: int) -> Size:
        """(height, width) of every display."""
        return self.image_size

    def fixations(self, index: int) -> Tensor:
        """Fixations [60, 2] of (x, y), without rendering the display."""
        return _statistics(self, index)[1]

    def density(self, index: int) -> Tensor:
        """The observer model's density [H, W], without rendering the display."""
        return _statistics(self, index)[0]

    def draw(self, indices: list[int]) -> Scenes:
        """The scenes of some displays, before they are rendered."""
        for index in indices:
            if not 0 <= index < self.length:
                raise IndexError(f"display {index} of a {self.split} split of {self.length}")
        stream = _STREAMS[self.split]
        return draw_scenes(self.seed, stream, indices, self.image_size, _OBSERVERS * _FIXATIONS_EACH)


@lru_cache(maxsize=1)
def _statistics(displays: PopOutDataset, index: int) -> tuple[Tensor, Tensor]:
    """Density and fixations of a display; most callers ask for both."""
    scenes = displays.draw([index])
    density = observer_density(scenes)
    return density[0], draw_fixations(density, scenes.draws)[0]


class PopOutDataModule(SaliencyDataModule):
    """Generated pop-out displays, the default dataset.

    Args:
        train_size: displays in the train split.
        val_size: displays in the val split.
        test_size: displays in the test split, which is also the predict split.
        seed: seed of the dataset.
        image_size: side, or (height, width), in pixels, at least 32; displays scale with the shorter side.
        **kwargs: as for :class:`datamodules.base.SaliencyDataModule`.

    Raises:
        ValueError: if the images are too small.

    Example:
        >>> data = PopOutDataModule(train_size=64, batch_size=8, num_workers=0)
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([8, 3, 64, 64])
    """

    def __init__(
        self,
        train_size: int = 4096,
        val_size: int = 512,
        test_size: int = 512,
        seed: int = 0,
        image_size: int | tuple[int, int] = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size, **kwargs)
        if min(self.image_size) < 32:
            raise InvalidValueError(
                f"image_size {image_size}: items of a display need at least 32 pixels a side."
            )
        self.seed = seed
        self.lengths = {"train": train_size, "val": val_size, "test": test_size, "predict": test_size}

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their labels."""
        return list(SHAPES)

    def make_dataset(self, split: Split) -> PopOutDataset:
        """The displays of a split."""
        return PopOutDataset(self.lengths[split], self.seed, split, self.image_size)
