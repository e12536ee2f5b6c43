"""What every dataset answers, read from disk or generated, and the two ways in which one can be unusable."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from salvit.errors import SalvitError

Sample: TypeAlias = dict[str, Any]
Size: TypeAlias = tuple[int, int]
T = TypeVar("T")


class DatasetNotFoundError(SalvitError, FileNotFoundError):
    """The dataset, or a part of it, is not where it was looked for.

    The message names the file looked for, the layout expected and where the dataset is obtained.
    """


class CorruptFileError(SalvitError, ValueError):
    """A file of the dataset is there but cannot be used; the message begins with its path."""


class SaliencyDataset(Dataset[Sample], ABC):
    """A map-style dataset of images with where people looked, or with what the images show.

    A sample is a dict. Always there: ``image`` float32 [3, H, W], RGB in [0, 1], not normalised; ``size``
    (H0, W0), the stimulus' native size; ``name``, unique, used for output files; ``index``. Where the dataset
    has them: ``mirrored``, whether augmentation has mirrored it; ``density`` float32 [H0, W0], non-negative,
    sums to 1 (all-zero if there is none); ``fixations`` float32 [n, 2] of (x, y) in native pixels, 0-based
    with pixel centres at integers, with multiplicity; ``label`` int, the index of
    the class; ``labels`` float32 [C] in {0, 1}, of all classes that are there; and in pixels of ``image``:
    ``boxes`` float32 [n, 4] of edges (x0, y0, x1, y1), inside it and not empty, (0, 0, W, H) being all of it;
    ``box_labels`` int64 [n]; ``mask`` float32 [H, W] in {0, 1}, or None for an image without one. ``category`` is a
    name for the kind of image; ``target`` and ``distractors`` bool [H0, W0] are the odd item and the others, in
    native pixels.

    The methods below answer without decoding or rendering the image, so that statistics of a whole split
    (the count map of shuffled AUC, the center prior) are cheap.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """The sample at a position in ``range(len(self))``."""

    def name(self, index: int) -> str:
        """Name of the image, as in the sample."""
        return str(self[index]["name"])

    @abstractmethod
    def size(self, index: int) -> Size:
        """Native (height, width) of the stimulus in pixels."""

    @abstractmethod
    def fixations(self, index: int) -> Tensor:
        """Fixations inside the image: float32 [n, 2] of (x, y), as in the sample but never flipped."""

    @abstractmethod
    def density(self, index: int) -> Tensor:
        """Density of the fixations: float32 [H0, W0], as in the sample but never flipped."""

    def observers(self, index: int) -> list[Tensor] | None:
        """Fixations inside the image, one float32 [n_i, 2] per observer; None if nothing says whose they are."""
        return None

    def fingerprint(self) -> str:
        """What tells this dataset's images from others of the same names, beyond the datamodule's options."""
        return str(len(self))

    def dropped_fixations(self, index: int) -> int:
        """Number of recorded fixations left out because they lie outside the image."""
        return 0


def track(items: Iterable[T], description: str, total: int, delay: float = 2.0) -> Iterable[T]:
    """Loop over items with a progress bar on stderr, which appears once the loop is slow.

    Args:
        items: what to loop over.
        description: shown beside the bar.
        total: number of items.
        delay: seconds before the bar appears; only the first process of a run shows it.

    Example:
        >>> list(track("abc", "spelling", total=3))
        ['a', 'b', 'c']
    """
    is_first = getattr(rank_zero_only, "rank", 0) == 0
    return tqdm(items, description, total, delay=delay, leave=False, disable=not is_first)
