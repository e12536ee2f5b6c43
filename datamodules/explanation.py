"""What the datasets that explanations are scored on share: images with a class, boxes and perhaps masks."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from datamodules.base import Split
from datamodules.boxes import warn_boxes
from datamodules.files import FilesDataModule
from datamodules.stimuli import Stimulus, StimulusDataset
from datamodules.view import center_crop, squash


class ExplanationDataModule(FilesDataModule):
    """Base of the datamodules of labelled images with boxes; a subclass says what lies where.

    Boxes and masks follow their image into the input of the ViT. There are no fixations.

    Args:
        root: folder of the dataset; by default the environment variable named by the class attribute ``env``.
        resize: "squash" shows the whole image, whatever its proportions, as the authors of AG-CAM do; "crop"
            keeps the proportions and shows the middle, as timm's models were evaluated.
        crop_pct: with "crop", the share of the shorter side that is seen.
        **kwargs: as for :class:`datamodules.files.FilesDataModule`.

    Raises:
        ValueError: if ``resize`` is neither, or ``crop_pct`` not in (0, 1].
    """

    def __init__(
        self,
        root: str | Path | None = None,
        resize: Literal["squash", "crop"] = "squash",
        crop_pct: float = 0.875,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        if resize not in ("squash", "crop"):
            raise ValueError(f"resize must be 'squash' or 'crop', not {resize!r}.")
        if not 0 < crop_pct <= 1:
            raise ValueError(f"crop_pct must be above 0 and at most 1, not {crop_pct}.")
        self.resize = squash if resize == "squash" else partial(center_crop, crop_pct=crop_pct)

    @property
    @abstractmethod
    def class_names(self) -> Sequence[str]:
        """Names of the classes for people, in the order of their labels."""

    def stimulus_dataset(
        self,
        stimuli: Sequence[Stimulus],
        split: Split,
        sigma: float | None = None,
        classes: int | None = None,
    ) -> StimulusDataset:
        """Dataset of stimuli, whose boxes have been looked through: one warning says what is wrong with them.

        Raises:
            CorruptFileError: if an annotation cannot be read, or all are left out for that.
        """
        dataset = super().stimulus_dataset(stimuli, split, sigma, classes)
        warn_boxes(dataset.box_counts(), len(dataset), split)
        return dataset
