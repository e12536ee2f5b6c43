"""What the datamodules of datasets on disk share: where the files are, and what is done about bad ones."""

import os
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.base.annotations import annotated_points
from datamodules.base.datamodule import SaliencyDataModule, Split
from datamodules.base.dataset import CorruptFileError, DatasetNotFoundError, track
from datamodules.base.stimuli import Stimulus, StimulusDataset
from datamodules.base.view import Resize, center_crop, squash, warn_boxes
from salvit.errors import InvalidValueError


class Skipped(NamedTuple):
    """An image that was left out, and why."""

    name: str
    image: Path
    reason: str


class FilesDataModule(SaliencyDataModule):
    """Base of the datamodules that read a dataset from disk.

    Args:
        root: folder of the dataset; by default the environment variable named by the class attribute ``env``.
        image_size: side, or (height, width), that images are squashed to (antialiased bilinear).
        batch_size: images per batch and process.
        num_workers: processes that load data; None: one per usable core, at most 8; 0: the main one loads.
        on_error: what to do about a corrupt or missing file: raise an error that names it, or look through
            each split once, leave such images out, warn with their number and list them in ``skipped``.
        hflip: mirror half of the training samples, chosen at random: the image and all that lies in it.

    Attributes:
        skipped: what ``on_error="skip"`` has left out so far, with the reasons.

    Raises:
        ValueError: if a size is not positive or ``on_error`` is neither "raise" nor "skip".
    """

    env: ClassVar[str]
    """Environment variable that names the root when the argument does not."""
    obtain: ClassVar[str]
    """Where the dataset is obtained, for the error message."""
    images_expected: ClassVar[int | None] = None
    """Images that the complete dataset has to predict, where a benchmark wants them all."""
    layout: str
    """The files expected under the root, for the error message."""

    def __init__(
        self,
        root: str | Path | None = None,
        image_size: int | tuple[int, int] = 224,
        batch_size: int = 32,
        num_workers: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        hflip: bool = False,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers)
        if on_error not in ("raise", "skip"):
            raise InvalidValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")
        self.on_error = on_error
        self.hflip = hflip
        self.resize: Resize = squash
        self.skipped: list[Skipped] = []
        self._root = root
        if root is not None:
            # Lightning puts these into checkpoints, and torch.load(weights_only=True) refuses a Path.
            self.hparams["root"] = str(root)

    @property
    def root(self) -> Path:
        """Folder of the dataset, from the argument or from the environment.

        Raises:
            DatasetNotFoundError: if neither names a folder that exists.
        """
        named = self._root or os.environ.get(self.env)
        if not named:
            raise self.not_found("its root folder", f"pass root or set {self.env}")
        root = Path(named).expanduser()
        if not root.is_dir():
            raise self.not_found(root, "no such folder")
        return root

    def not_found(self, wanted: Path | str, detail: str) -> DatasetNotFoundError:
        """The error for something that is not there: what was looked for, the layout, where to get it."""
        dataset = type(self).__name__.removesuffix("DataModule")
        return DatasetNotFoundError(
            f"{dataset}: cannot find {wanted} ({detail}).\n"
            f"Expected under the root, which is the argument root or the environment variable {self.env}:\n"
            f"{self.layout}\nObtain it from {self.obtain}"
        )

    def stems(self, folder: Path, suffix: str) -> set[str]:
        """Stems of the files in a folder that end in a suffix; hidden ones are left out.

        Raises:
            DatasetNotFoundError: if there are none.
        """
        found = {path.stem for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")}
        if not found:
            raise self.not_found(
                folder / f"*{suffix}", "no such file" if folder.is_dir() else "no such folder"
            )
        return found

    def locate(self, *places: str) -> Path | None:
        """The first of some places under the root at which there is a file or a folder."""
        return next((self.root / place for place in places if (self.root / place).exists()), None)

    def require(self, paths: Iterable[Path]) -> None:
        """Check that files are there; with ``on_error="skip"`` that is left to the reading of each image.

        Raises:
            DatasetNotFoundError: that names the first missing file and how many there are.
        """
        missing = [] if self.on_error == "skip" else [path for path in paths if not path.is_file()]
        if missing:
            raise self.not_found(missing[0], f"the first of {len(missing)} missing")

    def annotated(
        self, folder: Path, annotations: Mapping[str, NDArray[np.float64]], path: Path
    ) -> dict[str, Stimulus]:
        """Stimuli by stem of a folder whose fixations are all in one file, ``path``.

        Raises:
            DatasetNotFoundError: if an image has no annotation or the reverse, unless bad ones are skipped.
        """
        stems = sorted(self.stems(folder, ".jpg") | annotations.keys())
        self.require(folder / f"{stem}.jpg" for stem in stems)
        unmentioned = [stem for stem in stems if stem not in annotations]
        if unmentioned and self.on_error == "raise":
            raise self.not_found(f"{unmentioned[0]} in {path}", f"the first of {len(unmentioned)} missing")
        return {
            stem: Stimulus(stem, folder / f"{stem}.jpg", partial(annotated_points, annotations, stem, path))
            for stem in stems
        }

    def stimulus_dataset(
        self,
        stimuli: Sequence[Stimulus],
        split: Split,
        sigma: float | None = None,
        classes: int | None = None,
    ) -> StimulusDataset:
        """Dataset of stimuli with this datamodule's options; bad ones are left out where configured.

        Args:
            stimuli: the images of the split and what belongs to each.
            split: only "train" is augmented.
            sigma: standard deviation in native pixels of the Gaussian that turns fixations into a density,
                for stimuli without a density map.
            classes: number of classes of the boxes, for datasets with several classes in an image.

        Raises:
            CorruptFileError: if all would be left out.
        """
        make = partial(
            StimulusDataset, image_size=self.image_size, sigma=sigma, resize=self.resize, classes=classes
        )
        if self.on_error == "skip":
            stimuli, skipped = _skip_bad(make(stimuli), self.num_workers)
            if not stimuli:
                raise CorruptFileError(
                    f"no image of the {split} split can be used; the first: {skipped[0].reason}"
                )
            _warn_skipped(skipped, len(skipped) + len(stimuli), split)
            self.skipped += skipped
        return make(stimuli, hflip=self.hflip and split == "train")


class ExplanationDataModule(FilesDataModule):
    """Base of the datamodules of labelled images with boxes; a subclass says what lies where.

    Boxes and masks follow their image into the input of the ViT. There are no fixations.

    Args:
        root: folder of the dataset; by default the environment variable named by the class attribute ``env``.
        resize: "squash" shows the whole image, whatever its proportions, as the authors of AG-CAM do; "crop"
            keeps the proportions and shows the middle, as timm's models were evaluated.
        crop_pct: with "crop", the share of the shorter side that is seen.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.

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
            raise InvalidValueError(f"resize must be 'squash' or 'crop', not {resize!r}.")
        if not 0 < crop_pct <= 1:
            raise InvalidValueError(f"crop_pct must be above 0 and at most 1, not {crop_pct}.")
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


def _reason(dataset: StimulusDataset, index: int) -> str | None:
    try:
        dataset.load(index)
    except CorruptFileError as error:
        return str(error)
    return None


def _skip_bad(dataset: StimulusDataset, num_workers: int) -> tuple[list[Stimulus], list[Skipped]]:
    """Read every stimulus once and tell the good from the bad.

    Args:
        dataset: whose stimuli to read; in order, so that every process finds the same.
        num_workers: threads that read.

    Returns:
        The usable stimuli, and the others with the reason.
    """
    good: list[Stimulus] = []
    bad: list[Skipped] = []
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        reasons = pool.map(lambda index: _reason(dataset, index), range(len(dataset)))
        pairs = zip(dataset.stimuli, reasons, strict=True)
        for stimulus, reason in track(pairs, "checking files", len(dataset)):
            if reason is None:
                good.append(stimulus)
            else:
                bad.append(Skipped(stimulus.name, stimulus.image, reason))
    return good, bad


def _warn_skipped(skipped: Sequence[Skipped], total: int, split: str, shown: int = 3) -> None:
    """Warn of the number of stimuli left out, with the reasons for the first few."""
    if skipped:
        reasons = "\n".join(f"  {item.reason}" for item in skipped[:shown])
        more = f"\n  … and {len(skipped) - shown} more" if len(skipped) > shown else ""
        warnings.warn(
            f"left out {len(skipped)} of {total} images of the {split} split:\n{reasons}{more}", stacklevel=2
        )
