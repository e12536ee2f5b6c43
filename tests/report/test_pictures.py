import numpy as np
import pytest
import torch
from PIL import Image

from salvit.report.pictures import grey, heat, label_font, overlay, panel, photo, robust, row


def pixels(picture):
    return np.asarray(picture).astype(int)


def test_grey_spans_eight_bits_heat_grows_brighter_and_a_constant_map_is_dark():
    picture = grey(torch.tensor([[-2.0, 0.0], [1.0, 2.0]]))
    assert pixels(picture).tolist() == [[0, 128], [191, 255]]
    assert (np.diff(pixels(heat(torch.linspace(0, 1, 9)[None])).sum(-1)) > 0).all()
    constant = torch.full((2, 3), 7.0)
    assert pixels(grey(constant)).max() == 0
    assert pixels(heat(constant)).max() < 5


def test_a_photo_keeps_its_colours():
    image = torch.tensor([1.0, 0.5, 0.0])[:, None, None].expand(3, 2, 4)
    picture = photo(image)
    assert picture.size == (4, 2)
    assert pixels(picture)[0, 0].tolist() == [255, 128, 0]


def test_an_overlay_is_as_large_as_the_map_and_coloured_only_where_it_is_salient():
    saliency = torch.zeros(20, 30)
    saliency[5, 25] = 1
    picture = overlay(torch.full((3, 10, 10), 0.5), saliency)
    assert picture.size == (30, 20)
    colours = pixels(picture)
    spread = colours.max(-1) - colours.min(-1)
    assert spread[5, 25] > 50
    assert spread[15, 5] == 0


def test_a_panel_has_a_line_of_labels_above_rows_of_one_height():
    assert row([Image.new("RGB", (20, 10)), Image.new("L", (10, 10))], height=40).size == (80 + 6 + 40, 40)
    picture = panel([[Image.new("RGB", (10, 10), "red")] * 2] * 3, ("a", "b"), height=50)
    assert picture.size == (106, 22 + 3 * 56)
    assert pixels(picture)[:22].min() < 128
    assert pixels(picture)[22 + 25, 25].tolist() == [255, 0, 0]
    for rows in ([], [[Image.new("L", (1, 1))]]):
        with pytest.raises(ValueError, match="needs rows of 2 pictures"):
            panel(rows, ("a", "b"))


def test_labels_in_other_alphabets_are_no_boxes():
    """A font draws what it does not have as one and the same box."""
    font = label_font()
    boxes = bytes(font.getmask("\uffff"))
    for letter in "aZäöüßéñøžğΩжЩ’…×":
        assert bytes(font.getmask(letter)) != boxes, letter


def test_a_few_extreme_values_are_cut_off_and_no_others():
    saliency = torch.arange(1000.0).view(20, 50)
    saliency[-1, -3:] = 1e6
    assert robust(saliency).max() < 1000
    assert (robust(saliency) == saliency).float().mean() == pytest.approx(0.99)
    sparse = torch.zeros(20, 50)
    sparse[3, 4] = 1
    assert robust(sparse).equal(sparse)
