"""Leaving out, once and for all, the stimuli whose files cannot be used."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from datamodules.errors import CorruptFileError
from datamodules.progress import track
from datamodules.stimuli import Stimulus, StimulusDataset


class Skipped(NamedTuple):
    """An image that was left out, and why."""

    name: str
    image: Path
    reason: str


def _reason(dataset: StimulusDataset, index: int) -> str | None:
    try:
        dataset.load(index)
    except CorruptFileError as error:
        return str(error)
    return None


def skip_bad(dataset: StimulusDataset, num_workers: int) -> tuple[list[Stimulus], list[Skipped]]:
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


def warn_skipped(skipped: Sequence[Skipped], total: int, split: str, shown: int = 3) -> None:
    """Warn of the number of stimuli left out, with the reasons for the first few."""
    if skipped:
        reasons = "\n".join(f"  {item.reason}" for item in skipped[:shown])
        more = f"\n  … and {len(skipped) - shown} more" if len(skipped) > shown else ""
        warnings.warn(
            f"left out {len(skipped)} of {total} images of the {split} split:\n{reasons}{more}", stacklevel=2
        )
