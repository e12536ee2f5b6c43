"""Which picture stands where in the grid of an image."""

from collections.abc import Sequence

from salvit.explain.explained import Explained
from salvit.explain.grid import PER_ROW, Cell, reflow, thumbnail
from salvit.explain.task import Step
from salvit.report.pictures import photo


def layout(one: Explained, steps: Sequence[Step]) -> list[list[Cell]]:
    """Rows of cells: for each class the image and the maps of it, below each other; what is the same for all, once.

    Args:
        one: an image with its overlays.
        steps: which of them.
    """
    predicted = "" if one.predicted is None else f"predicted: {one.described(one.predicted)}"
    image = Cell(thumbnail(photo(one.photo.shown)), one.photo.name, predicted)
    if len(one.targets) <= 1:
        return reflow([image, *(_cell(one, step) for step in steps)])
    common = [_cell(one, step) for step in steps if step.position is None]
    rows = [
        row
        for position in range(len(one.targets))
        for row in reflow([image, *(_cell(one, step) for step in steps if step.position == position)])
    ]
    if len(rows) == len(one.targets) and len(rows[0]) + len(common) <= PER_ROW:
        return [rows[0] + common, *rows[1:]]
    return rows + reflow(common)


def _cell(one: Explained, step: Step) -> Cell:
    note = "not class-specific" if step.position is None else one.described(one.target(step))
    return Cell(one.overlays[step], step.method, note)
