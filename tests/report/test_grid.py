"""The grid as a picture: nothing overlaps, nothing is cut off."""

import numpy as np
import pytest
from PIL import Image

from salvit.report.grid import Cell, _wrapped, grid, reflow, thumbnail
from salvit.report.pictures import label_font

LONG = "dragonfly, darning needle, devil's darning needle and a_word_that_is_wider_than_any_cell_of_a_grid_could_be"


def pixels(picture):
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (3200, 300), (8, 8)])
def test_thumbnails_keep_proportions_within_the_cell(size):
    width, height = thumbnail(Image.new("RGB", size)).size
    assert width <= 320
    assert height <= 240
    assert width == 320 or height == 240
    assert abs(width - size[0] * height / size[1]) <= max(1, size[0] / size[1])


def test_captions_are_wrapped_to_the_cell_and_whole_and_a_probability_is_not_broken():
    font = label_font()
    lines = _wrapped(LONG, font, 190)
    assert "".join(lines).replace(" ", "") == LONG.replace(" ", "")
    assert all(font.getlength(line) <= 190 for line in lines)
    width = int(font.getlength("predicted: heart (6), p =")) + 1
    lines = _wrapped("predicted: heart (6), p = 0.650", font, width)
    assert lines == ["predicted: heart (6),", "p = 0.650"]


def test_every_picture_is_there_whole_below_its_caption():
    colours = ["red", "lime", "blue"]
    rows = [[Cell(Image.new("RGB", (30, 240), colour), LONG, LONG) for colour in colours]] * 2
    picture = pixels(grid(rows))
    pure = (picture == 255) & (picture.sum(-1, keepdims=True) == 255)
    assert pure.sum((0, 1)).tolist() == [2 * 30 * 240] * 3
    first = np.flatnonzero(pure[..., 0].any(1))[0]
    assert picture[:first].min() < 50  # ink of the caption
    assert (picture[-10:] == 255).all()
    assert (picture[:, -10:] == 255).all()


@pytest.mark.parametrize("number", [0, 1, 5, 6, 11, 21])
def test_rows_hold_every_cell_in_order(number):
    cells = [Cell(Image.new("RGB", (1, 1)), str(i), "") for i in range(number)]
    rows = reflow(cells)
    assert [cell for row in rows for cell in row] == cells
    assert all(0 < len(row) <= 5 for row in rows)
