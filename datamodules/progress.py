"""A progress bar for loops that may be long."""

from collections.abc import Iterable, Iterator
from time import monotonic
from typing import TypeVar

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int, delay: float = 2.0) -> Iterator[T]:
    """Yield the items, showing a bar with the count once they have taken longer than a delay.

    Args:
        items: what to loop over.
        description: shown beside the bar.
        total: number of items.
        delay: seconds before the bar appears; only the first process of a run shows it.

    Example:
        >>> list(track("abc", "spelling", total=3))
        ['a', 'b', 'c']
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # stderr, and a console of its own: Lightning's progress bar may hold the live display of stdout.
    progress = Progress(
        *columns, console=Console(stderr=True), disable=getattr(rank_zero_only, "rank", 0) != 0
    )
    task = progress.add_task(description, total=total)
    began = monotonic()
    try:
        for item in items:
            yield item
            progress.advance(task)
            if not progress.live.is_started and monotonic() - began > delay:
                progress.start()
    finally:
        if progress.live.is_started:
            progress.stop()
