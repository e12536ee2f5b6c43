"""Base of the datamodules that read a dataset from disk: they find files and handle bad ones."""

import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from datamodules.base.annotations import annotation_of
from datamodules.base.datamodule import SaliencyDataModule, Split
from datamodules.base.dataset import CorruptFileError, DatasetNotFoundError, Size, T, track
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
        root: folder of the dataset; by default the environment variable named by ``env``.
        on_error: "raise" stops at a corrupt or missing file; "skip" reads each split once, leaves such images
            out, warns with their number and lists them in ``skipped``.
        hflip: mirror half of the training samples, chosen at random, with all their annotations.
        **kwargs: as for :class:`datamodules.base.SaliencyDataModule`; images are squashed to ``image_size``
            (antialiased bilinear).

    Attributes:
        skipped: the images left out so far, with the reasons.

    Raises:
        ValueError: if a size is not positive or ``on_error`` is unknown.
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
        on_error: Literal["raise", "skip"] = "raise",
        hflip: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
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
        """Folder of the dataset.

        Raises:
            DatasetNotFoundError: if neither the argument nor the environment names an existing folder.
        """
        named = self._root or os.environ.get(self.env)
        if not named:
            raise self.not_found("its root folder", f"pass root or set {self.env}")
        root = Path(named).expanduser()
        if not root.is_dir():
            raise self.not_found(root, "no such folder")
        return root

    def not_found(self, wanted: Path | str, detail: str) -> DatasetNotFoundError:
        """The error for a missing file: it names the file, the expected layout, and the source of the dataset."""
        dataset = type(self).__name__.removesuffix("DataModule")
        return DatasetNotFoundError(
            f"{dataset}: cannot find {wanted} ({detail}).\n"
            f"Expected under the root, which is the argument root or the environment variable {self.env}:\n"
            f"{self.layout}\nObtain it from {self.obtain}"
        )

    def stems(self, pattern: Path) -> set[str]:
        """The part of each file name that matches ``*`` in a pattern such as ``images/*.jpg``, without hidden files.

        Raises:
            DatasetNotFoundError: if there are no such files.
        """
        names = [path.name for path in pattern.parent.glob(pattern.name) if not path.name.startswith(".")]
        if not names:
            raise self.not_found(pattern, "no such file" if pattern.parent.is_dir() else "no such folder")
        return {name.removesuffix(pattern.name[1:]) for name in names}

    def matched(self, *patterns: Path, keep: Callable[[str], bool] = bool) -> dict[str, list[Path]]:
        """Files of each image by stem, one for each pattern, such as ``images/*.jpg`` and ``maps/*.png``.

        Stems for which ``keep`` is false are left out.

        Raises:
            DatasetNotFoundError: if a pattern has no files, or a stem lacks one and bad images are not skipped.
        """
        stems = sorted(filter(keep, set().union(*map(self.stems, patterns))))
        files = {stem: [path.with_name(path.name.replace("*", stem)) for path in patterns] for stem in stems}
        self.require(path for paths in files.values() for path in paths)
        return files

    def locate(self, *places: str) -> Path | None:
        """The first of these paths under the root that exists, or None."""
        return next((self.root / place for place in places if (self.root / place).exists()), None)

    def existing(self, *paths: Path) -> Path:
        """The first of these paths that is a file.

        Raises:
            DatasetNotFoundError: if none is; names the first.
        """
        for path in paths:
            if path.is_file():
                return path
        raise self.not_found(paths[0], "no such file")

    def require(self, paths: Iterable[Path]) -> None:
        """Check that files exist. With ``on_error="skip"`` reading each image finds the missing ones instead.

        Raises:
            DatasetNotFoundError: names the first missing file and the number of missing files.
        """
        missing = [] if self.on_error == "skip" else [path for path in paths if not path.is_file()]
        if missing:
            raise self.not_found(missing[0], f"missing files: {len(missing)}")

    def annotated(
        self, folder: Path, annotations: Mapping[str, T], path: Path
    ) -> dict[str, tuple[Path, Callable[[Size], T]]]:
        """Images of a folder by stem, each with a reader of its annotation; all of these are in one file, ``path``.

        Raises:
            DatasetNotFoundError: if an image or its annotation is missing and bad images are not skipped.
        """
        stems = sorted(self.stems(folder / "*.jpg") | annotations.keys())
        self.require(folder / f"{stem}.jpg" for stem in stems)
        unmentioned = [stem for stem in stems if stem not in annotations]
        if unmentioned and self.on_error == "raise":
            raise self.not_found(f"{unmentioned[0]} in {path}", f"missing images: {len(unmentioned)}")
        return {
            stem: (folder / f"{stem}.jpg", partial(annotation_of, annotations, stem, path)) for stem in stems
        }

    def stimulus_dataset(
        self,
        stimuli: Sequence[Stimulus],
        split: Split,
        sigma: float | None = None,
        classes: int | None = None,
    ) -> StimulusDataset:
        """Dataset of stimuli with this datamodule's options, without bad stimuli if ``on_error`` is "skip".

        Boxes, if there are any, are read once; one warning counts the problems with them.

        Args:
            stimuli: the images of the split.
            split: for messages.
            sigma: standard deviation in native pixels of the Gaussian for stimuli without a density map.
            classes: number of classes, for datasets with several classes in an image.

        Raises:
            CorruptFileError: if no stimulus can be used.
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
            if skipped:
                title = (
                    f"left out {len(skipped)} of {len(skipped) + len(stimuli)} images of the {split} split:"
                )
                more = [f"… and {len(skipped) - 3} more"] if len(skipped) > 3 else []
                reasons = [item.reason for item in skipped[:3]]
                warnings.warn("\n  ".join([title, *reasons, *more]), stacklevel=2)
            self.skipped += skipped
        dataset = make(stimuli)
        warn_boxes(dataset.box_counts(), len(dataset), split)
        return dataset


class ExplanationDataModule(FilesDataModule):
    """Base of the datamodules of labelled images with boxes and masks, without fixations.

    Args:
        root: folder of the dataset; by default the environment variable named by ``env``.
        resize: "squash" shows the whole image and ignores its proportions, as the authors of AG-CAM do; "crop"
            keeps the proportions and shows the middle, as timm evaluates its models.
        crop_pct: with "crop", the visible fraction of the shorter side.
        **kwargs: as for :class:`datamodules.base.FilesDataModule`.

    Raises:
        ValueError: if ``resize`` is unknown, or ``crop_pct`` is not in (0, 1].
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
        """Readable names of the classes, in the order of their labels."""


def _skip_bad(dataset: StimulusDataset, num_workers: int) -> tuple[list[Stimulus], list[Skipped]]:
    """Read every stimulus in ``num_workers`` threads; return the usable ones, and the others with the reason."""

    def checked(index: int) -> Stimulus | Skipped:
        stimulus = dataset.stimuli[index]
        try:
            dataset[index]
        except CorruptFileError as error:
            return Skipped(stimulus.name, stimulus.image, str(error))
        return stimulus

    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        found = list(track(pool.map(checked, range(len(dataset))), "checking files", len(dataset)))
    good = [item for item in found if isinstance(item, Stimulus)]
    return good, [item for item in found if isinstance(item, Skipped)]
