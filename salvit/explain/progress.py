"""How far the maps are, and which is being made."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """A bar on stderr, there from the start: one map may take minutes.

    Args:
        total: number of maps.
        even: whether they take about the same time each, so that the time left can be told.

    Example:
        >>> with Bar(2) as bar:
        ...     bar.say("rollout")
        ...     bar.advance(2)
    """

    def __init__(self, total: int, even: bool = True) -> None:
        left = (TextColumn("·"), TimeRemainingColumn(), TextColumn("left")) if even else ()
        self._progress = Progress(
            SpinnerColumn(),
            # Labels of methods may have brackets, which are markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            *left,
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("reading images", total=total)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, doing: str) -> None:
        """Show what is being done."""
        self._progress.update(self._task, description=doing, refresh=True)

    def advance(self, maps: int = 1) -> None:
        """Count maps as done, or as never to come."""
        self._progress.advance(self._task, maps)
