import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salvit.metrics import PopOut
from salvit.metrics.functional import popout
from salvit.metrics.functional.popout import COLUMNS, fixations_to_find, item_side

SIZE = (24, 30)


def display(seed, items=4, side=4):
    """Masks of one target and of some distractors, squares that do not touch."""
    rng = np.random.default_rng(seed)
    cells = rng.permutation(12)[: items + 1]
    target, distractors = np.zeros(SIZE, dtype=bool), np.zeros(SIZE, dtype=bool)
    for place, cell in enumerate(cells):
        row, column = 8 * (cell // 4) + 1, 7 * (cell % 4) + 1
        (distractors if place else target)[row : row + side, column : column + side] = True
    return torch.from_numpy(target), torch.from_numpy(distractors)


def saliency(seed, size=SIZE):
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_scores(values, target, distractors):
    """The three ratios by going through the pixels one by one; floats as in the authors' pictures, from 0."""
    best = {"target": 0.0, "distractors": 0.0, "background": 0.0}
    sums = {name: [] for name in best}
    low, high = min(map(min, values)), max(map(max, values))
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            value = (value - low) / (high - low)
            kind = "distractors" if distractors[row][column] else "background"
            kind = "target" if target[row][column] else kind
            best[kind] = max(best[kind], value)
            sums[kind].append(value)
    on_target, on_others = (sum(sums[kind]) / len(sums[kind]) for kind in ("target", "distractors"))
    return [
        best["target"] / best["distractors"],
        best["background"] / best["target"],
        (on_target - on_others) / (on_target + on_others),
    ]


def slow_search(values, target, side, limit):
    """Fixate the highest pixel that has not been inhibited, as a list sorted once."""

    def inhibited(place, by):
        inside = [max(0, int(b - side / 2)) <= p < int(b + side / 2) for p, b in zip(place, by, strict=True)]
        return place == by or all(inside)

    places = ((row, column) for row in range(len(values)) for column in range(len(values[0])))
    seen, fixations = [], 0
    for row, column in sorted(places, key=lambda place: (-values[place[0]][place[1]], place)):
        if values[row][column] <= 0:
            break
        if any(inhibited((row, column), place) for place in seen):
            continue
        fixations += 1
        if target[row][column]:
            return fixations, True
        if fixations == limit:
            break
        seen.append((row, column))
    return limit, False


@pytest.mark.parametrize("seed", range(5))
def test_scores_against_a_loop_over_the_pixels(seed):
    target, distractors = display(seed)
    values = saliency(seed)
    found = popout(values[None], [target], [distractors])[0]
    expected = slow_scores(values.tolist(), target.tolist(), distractors.tolist())
    assert found[:3].tolist() == pytest.approx(expected, abs=1e-8)
    assert tuple(found[3:].tolist()) == slow_search(values.tolist(), target.tolist(), 4, 100)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    side=st.integers(1, 9),
    limit=st.integers(1, 12),
    levels=st.sampled_from([2, 5, 1000]),
)
def test_search_against_a_sorted_list(seed, side, limit, levels):
    values = (saliency(seed) * levels).floor()  # few levels: ties, and zeros that nobody looks at
    target, _ = display(seed)
    expected = slow_search(values.tolist(), target.tolist(), side, limit)
    assert fixations_to_find(values, target, side, limit) == expected


def test_maps_are_resized_to_the_masks_and_the_side_is_that_of_most_items():
    target, distractors = display(2)
    small = saliency(2, (6, 10))
    whole = torch.nn.functional.interpolate(small[None, None], SIZE, mode="bilinear")[0]
    found = popout(small[None], [target], [distractors])
    torch.testing.assert_close(found, popout(whole, [target], [distractors]), rtol=1e-6, atol=1e-6)
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[1:4, 1:8], mask[10:14, 10:12], mask[17, 0] = True, True, True
    assert item_side(mask) == 4


def test_edge_cases():
    target, distractors = display(3)
    nothing = torch.zeros(SIZE, dtype=torch.bool)
    constant = torch.full((1, *SIZE), 3.0)
    assert popout(constant, [target], [distractors])[0].tolist() == [1, 1, 0, 100, 0]
    for case in ((constant, nothing, distractors), (constant, target, nothing)):
        assert popout(case[0], [case[1]], [case[2]]).isnan().all()
    assert popout(constant * torch.nan, [target], [distractors]).isnan().all()
    assert popout(torch.empty(0, *SIZE), [], []).shape == (0, 5)
    background = (~(target | distractors)).float()[None]
    row = popout(background, [target], [distractors])[0]
    assert row[:2].isnan().all()
    assert row[2:].tolist() == [-1, 100, 0]
    row = popout(target.float()[None], [target], [distractors])[0]
    assert row[0].isnan()
    assert row[1:].tolist() == [0, 1, 1, 1]
    everything = popout(saliency(0)[None], [target], [~target])[0]
    assert everything.isnan().tolist() == [False, True, False, False, False]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (([torch.ones(3, 3)], []), "distractors has 0 entries for 1"),
        (([], [torch.ones(3, 3)]), "targets has 0 entries for 1"),
        (([torch.ones(3, 3)], [torch.ones(3, 4)]), r"image 0 have shapes.*expected the same"),
        (([torch.ones(3)], [torch.ones(3)]), "expected"),
        (([None], [torch.ones(3, 3)]), "expected the same"),
    ],
)
def test_bad_input(masks, message):
    with pytest.raises(ValueError, match=message):
        popout(torch.rand(1, 3, 3), *masks)
    for options in ({"side": 0}, {"side": 3, "limit": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            fixations_to_find(torch.rand(3, 3), torch.ones(3, 3, dtype=torch.bool), **options)


def test_metric_is_the_mean_over_images():
    metric, rows = PopOut(limit=7), []
    for seed in range(3):
        target, distractors = display(seed)
        arguments = (saliency(seed)[None].float(), [target], [distractors])
        metric.update(*arguments)
        rows.append(popout(*arguments, limit=7)[0])
    target, distractors = display(4)
    metric.update(torch.rand(1, *SIZE), [target], [torch.zeros(SIZE)])
    expected = torch.stack(rows).mean(0).tolist()
    assert [float(metric.compute()[name]) for name in COLUMNS] == pytest.approx(expected, rel=1e-6)
    assert metric.n_skipped == 1
    metric.update(target.float()[None], [target], [distractors])  # no ratio, but scored
    assert metric.n_skipped == 1
    assert metric.per_image()["MSR_targ"].isnan().tolist() == [False, False, False, True, True]
