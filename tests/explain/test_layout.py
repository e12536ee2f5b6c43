"""Where each picture stands in the grid of an image, and what is legible there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from salvit.explain.writer import _resized, layout
from salvit.extractors import METHODS
from tests.datamodules.data.images import write_image
from tests.explaining import explain, index


def row(method, target):
    """Of the table; the predicted class is 0."""
    of_class = {"target": target, "target_name": "", "target_probability": "0.111" if target else ""}
    return {"method": method, **of_class, "predicted": "0", "predicted_name": "", "probability": "0.111"}


def titles(specific, common, targets):
    """The titles of a grid's cells, with the class of those that have one."""
    rows = [row(f"s{i}", str(target)) for i in range(specific) for target in targets]
    rows += [row(f"c{i}", "") for i in range(common)]
    picture = Image.new("RGB", (1, 1))
    named = {f"class {target}, p = 0.111": f"@{target}" for target in targets}
    cells = layout("dog", picture, rows, [picture] * len(rows))
    return [[cell.title + named.get(cell.note, "") for cell in line] for line in cells]


@pytest.mark.parametrize(
    ("specific", "common", "targets", "rows"),
    [
        (2, 1, [4], ["dog s0@4 s1@4 c0"]),
        # Rows of one class are about equally long.
        (6, 2, [4], ["dog s0@4 s1@4 s2@4 s3@4", "s4@4 s5@4 c0 c1"]),
        # Classes stand below each other; maps that explain no class fill the first row.
        (2, 2, [4, 7], ["dog s0@4 s1@4 c0 c1", "dog s0@7 s1@7"]),
        # They have their own rows where the first is full.
        (4, 1, [4, 7], ["dog s0@4 s1@4 s2@4 s3@4", "dog s0@7 s1@7 s2@7 s3@7", "c0"]),
        (
            *(6, 7, [4, 7]),
            [
                *("dog s0@4 s1@4 s2@4", "s3@4 s4@4 s5@4", "dog s0@7 s1@7 s2@7", "s3@7 s4@7 s5@7"),
                *("c0 c1 c2 c3", "c4 c5 c6"),
            ],
        ),
    ],
)
def test_where_each_map_stands(specific, common, targets, rows):
    assert titles(specific, common, targets) == [row.split() for row in rows]


def test_a_model_without_a_head_has_no_class():
    picture = Image.new("RGB", (1, 1))
    [[image, cell]] = layout("dog", picture, [row("c", "") | {"predicted": ""}], [picture])
    assert (image.note, cell.note) == ("", "not class-specific")


def test_a_map_that_shrinks_loses_no_pixel_and_a_constant_one_stays_constant():
    peak = torch.zeros(8, 8)
    peak[0, 7] = 64
    small = _resized(peak, (2, 2))
    assert small.argmax() == 1
    assert small.sum() > 1
    assert len(_resized(torch.full((8, 8), 0.1), (3, 5)).unique()) == 1


@pytest.mark.parametrize(("few", "coloured"), [(True, (0.4, 1.0)), (False, (0.0, 0.3))])
def test_extreme_values_of_a_few_places_do_not_make_the_others_black(
    in_an_empty_folder, shapes, monkeypatch, few, coloured
):
    """As of full LRP, and of rollout on DINOv2; what is written for scores stays as it is."""
    maps = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    maps[0, 0, 3, 4 : 5 if few else 8] = 1000
    if not few:
        maps[0, 0, :3] = 1000
    maps[0, 0, 31, 31] = -5  # speaks against the class: no colour
    monkeypatch.setattr(METHODS["rollout"], "_maps", lambda *_: maps)
    explain(write_image(Path("dog.png"), (32, 32)), "--method", "rollout", *shapes)
    with Image.open("runs/explain/maps/dog/rollout.png") as picture:
        colours = np.asarray(picture).astype(int)
    share = (colours.max(-1) - colours.min(-1) > 50).mean()
    assert coloured[0] < share < coloured[1]
    assert np.load("runs/explain/maps/dog/rollout.npy").max() > 500
    [row] = index()
    assert 0 <= float(row["shown_from"]) < 0.2
    assert float(row["shown_to"]) == pytest.approx(1, abs=0.1) if few else float(row["shown_to"]) > 500
