import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from scipy.stats import chi2

from datamodules import PopOutDataModule
from datamodules.popout import SHAPES, SINGLETONS, PopOutDataset
from datamodules.popout.observer import TARGET, draw_fixations
from datamodules.popout.scene import MAX_ITEMS, draw_scenes
from tests.datamodules.data.images import same


def displays(length=1000, seed=0, split="train", size=(64, 64)):
    return PopOutDataset(length, seed, split, size)


@pytest.fixture(scope="module")
def samples():
    return displays().__getitems__(list(range(200)))


def near(sample, reach):
    """The target's box, widened."""
    x0, y0, x1, y1 = (int(edge) for edge in sample["boxes"][0])
    return slice(max(y0 - reach, 0), y1 + reach), slice(max(x0 - reach, 0), x1 + reach)


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes(seed=0, stream=0, indices=list(range(1500)), size=(32, 32), fixations=1)


def test_a_display_depends_on_seed_split_and_index_alone(samples):
    rows = [150, 3, 77]
    for row, sample in zip(rows, displays(length=2000).__getitems__(rows), strict=True):
        assert same(sample, samples[row])
        assert same(displays()[row], samples[row])
        # Without rendering.
        assert torch.equal(displays().density(row), sample["density"])
        assert torch.equal(displays().fixations(row), sample["fixations"])
        assert displays().size(row) == sample["size"]


def test_no_two_displays_are_the_same(samples):
    seen = [sample["image"].numpy().tobytes() for sample in samples[:50]]
    for other in (displays(seed=1), displays(split="val"), displays(split="test")):
        seen += [sample["image"].numpy().tobytes() for sample in other.__getitems__(list(range(50)))]
    assert len(set(seen)) == 200


def test_values(samples):
    kinds = {"image": (3, 64, 64), "mask": (64, 64), "fixations": (60, 2), "density": (64, 64)}
    for sample in samples:
        assert all((sample[key].shape, sample[key].dtype) == (kinds[key], torch.float32) for key in kinds)
        assert 0 <= sample["image"].min() < sample["image"].max() <= 1
        assert (sample["items"].shape, sample["items"].dtype) == ((64, 64), torch.uint8)
        assert torch.equal(sample["fixations"], sample["fixations"].round())
        assert 0 <= sample["fixations"].min() <= sample["fixations"].max() <= 63
        assert sample["density"].min() > 0
        assert float(sample["density"].sum()) == pytest.approx(1, abs=1e-5)
        assert sample["size"] == (64, 64)
        # The label is the shape at the mask and nowhere else.
        assert torch.equal((sample["items"] == sample["label"] + 1).float(), sample["mask"])
        assert 0 <= sample["label"] < len(SHAPES)
        # The box encloses the mask tightly.
        inside = sample["mask"][near(sample, 0)]
        assert inside.sum() == sample["mask"].sum() > 0
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
    assert len({sample["name"] for sample in samples}) == 200


def test_items_do_not_touch(samples):
    scenes = displays().draw(list(range(200)))
    for sample, count in zip(samples, scenes.count, strict=True):
        shapes = sample["items"].numpy()
        assert label(shapes > 0)[1] >= count
        assert label(shapes > 0)[1] == sum(label(shapes == kind)[1] for kind in np.unique(shapes[shapes > 0]))


def test_items_are_painted_and_the_ground_is_textured(samples):
    contrasts = []
    for sample in samples:
        ground = sample["image"][:, sample["items"] == 0]
        target = sample["image"][:, sample["mask"] == 1]
        assert ground.std(1).max() > 0.005
        contrasts.append(float((target.mean(1) - ground.mean(1)).abs().max()))
    assert np.mean(contrasts) > 0.15
    assert min(contrasts) > 0.02


def test_the_observer_looks_at_the_target(samples):
    on_target = [float(sample["density"][near(sample, 5)].sum()) for sample in samples]
    assert np.mean(on_target) == pytest.approx(TARGET, abs=0.1)
    others = [float(s["density"][(s["items"] > 0) & (s["mask"] == 0)].mean()) for s in samples]
    ground = [float(s["density"][s["items"] == 0].mean()) for s in samples]
    assert np.mean(others) > 1.3 * np.mean(ground)


def test_fixations_follow_the_density(samples):
    """χ² of the counts in a 4×4 grid over 200 displays, and of those near the target."""
    observed, expected = np.zeros((4, 4)), np.zeros((4, 4))
    hits, chances = 0, []
    for sample in samples:
        x, y = sample["fixations"].long().unbind(1)
        np.add.at(observed, (y // 16, x // 16), 1)
        expected += 60 * sample["density"].reshape(4, 16, 4, 16).sum((1, 3)).numpy()
        box = torch.zeros(64, 64)
        box[near(sample, 0)] = 1
        hits += int(box[y, x].sum())
        chances += [float((sample["density"] * box).sum())] * 60
    assert ((observed - expected) ** 2 / expected).sum() < chi2.ppf(0.9999, 15)
    p = np.array(chances)
    assert abs(hits - p.sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_drawing_inverts_the_cumulative_density():
    density = torch.zeros(2, 3, 4)
    density[0, 2, 1] = 1
    density[1, 0, 0] = density[1, 1, 3] = 0.5
    draws = np.array([[0.0, 0.5, 1 - 1e-7], [0.0, 0.4999, 0.5]], dtype=np.float32)
    first, second = draw_fixations(density, draws)
    assert first.tolist() == [[1, 2]] * 3
    assert second.tolist() == [[0, 0], [0, 0], [3, 1]]


def odd_one_out(values):
    """How far the target is from the nearest distractor, in the largest distance between distractors."""
    target = np.linalg.norm(values[1:] - values[0], axis=-1).min()
    others = np.linalg.norm(values[1:, None] - values[None, 1:], axis=-1).max()
    return target / max(others, 1e-6)


def features(scenes, row):
    count = scenes.count[row]
    stripes = 2 * scenes.stripes[row, :count]
    return {
        "colour": scenes.colour[row, :count],
        "orientation": np.stack([np.cos(stripes), np.sin(stripes)], axis=1),
        "size": scenes.radius[row, :count, None],
        "shape": np.eye(len(SHAPES))[scenes.shape[row, :count]],
    }


@pytest.mark.parametrize("singleton", SINGLETONS)
def test_the_target_is_odd_in_one_dimension(scenes, singleton):
    rows = np.flatnonzero(scenes.singleton == SINGLETONS.index(singleton))
    assert len(rows) > 300
    assert singleton != "orientation" or scenes.stripe_depth[rows].min() > 0.5  # so that it shows
    for dimension in ("colour", "orientation", "size"):
        oddness = np.array([odd_one_out(features(scenes, row)[dimension]) for row in rows])
        if dimension == singleton:
            assert oddness.min() > 1
        else:
            assert np.median(oddness) < 1


def test_only_an_odd_shape_gives_itself_away_by_shape(scenes):
    kinds = {singleton: [] for singleton in SINGLETONS}
    for row, singleton in enumerate(scenes.singleton):
        shapes = scenes.shape[row, : scenes.count[row]]
        assert shapes[0] not in shapes[1:]
        kinds[SINGLETONS[singleton]].append(len(set(shapes[1:])))
    assert set(kinds.pop("shape")) == {1}
    assert all(np.mean(counts) > 3 for counts in kinds.values())


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (lambda s: s.shape[:, 0], 10),
        (lambda s: s.singleton, 4),
        (lambda s: s.count - 4, MAX_ITEMS - 3),
        (lambda s: (s.centre[:, 0] // 8).astype(int) @ (1, 4), 16),
    ],
    ids=["label", "singleton", "number of items", "place of the target"],
)
def test_every_kind_is_equally_frequent(scenes, values, kinds):
    counts = np.bincount(values(scenes), minlength=kinds)
    assert len(counts) == kinds
    expected = len(scenes.count) / kinds
    assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.9999, kinds - 1)


@settings(max_examples=20, deadline=None)
@given(size=st.tuples(st.integers(32, 230), st.integers(32, 230)), index=st.integers(0, 999))
def test_any_size(size, index):
    sample = displays(size=size)[index]
    scenes = displays(size=size).draw([index])
    assert sample["image"].shape == (3, *size)
    assert sample["image"].isfinite().all()
    assert torch.equal(sample["items"] == sample["label"] + 1, sample["mask"] == 1)
    assert sample["mask"].any()
    x, y = sample["fixations"].unbind(1)
    assert 0 <= x.min() <= x.max() < size[1]
    assert 0 <= y.min() <= y.max() < size[0]
    centre, radius = scenes.centre[0, : scenes.count[0]], scenes.radius[0, : scenes.count[0], None]
    assert (centre - radius >= -1).all()
    assert (centre + radius <= np.array(size[::-1])).all()


def test_items_scale_with_the_shorter_side():
    small, large = (displays(size=size).draw([5]).radius for size in ((64, 64), (96, 200)))
    assert np.allclose(large[0, :4], 1.5 * small[0, :4])
    shares = [float((displays(size=(side, side))[5]["items"] > 0).float().mean()) for side in (64, 192)]
    assert shares[0] == pytest.approx(shares[1], rel=0.1)


def test_images_too_small_and_no_such_display():
    with pytest.raises(ValueError, match="at least 32 pixels"):
        PopOutDataModule(image_size=(31, 64))
    for index in (-1, 3):
        with pytest.raises(IndexError, match=rf"display {index} of a val split of 3"):
            displays(length=3, split="val")[index]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches(num_workers):
    data = PopOutDataModule(
        train_size=6, val_size=5, test_size=4, image_size=(32, 48), batch_size=3, num_workers=num_workers
    )
    first, last = data.val_dataloader()
    assert first["name"] + last["name"] == [f"val_{index:06d}" for index in range(5)]
    shapes = {"image": (3, 3, 32, 48), "mask": (3, 32, 48), "label": (3,)}
    assert {key: tuple(first[key].shape) for key in shapes} == shapes
    assert [tuple(boxes.shape) for boxes in first["boxes"]] == [(1, 4)] * 3
    assert torch.equal(torch.cat(first["box_labels"]), first["label"])
    assert first["label"].dtype == torch.int64
    expected = data.dataset("val")[4]
    for key in ("image", "mask", "items", "density"):
        assert torch.equal(last[key][1], expected[key])
    train = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert sorted(train.tolist()) == list(range(6))
    predicted = data.dataset("predict")
    assert len(predicted) == 4
    assert torch.equal(predicted[2]["image"], data.dataset("test")[2]["image"])


def test_statistics_of_a_split():
    data = PopOutDataModule(train_size=300, val_size=40, image_size=32, num_workers=0)
    counts, prior = data.fixation_counts("val", (32, 32)), data.center_prior((32, 32))
    assert int(counts.sum()) == 40 * 60
    assert float(prior.sum()) == pytest.approx(1)
    # Targets are everywhere alike: what is left is the observer's center bias.
    assert prior[12:20, 12:20].mean() > 1.15 * torch.cat([prior[:4], prior[-4:]]).mean()


def test_a_batch_is_rendered_faster_than_one_display_after_the_other():
    dataset = displays()
    indices = list(range(128))
    dataset.__getitems__(indices)
    start = time.process_time()
    dataset.__getitems__(indices)
    middle = time.process_time()
    [dataset[index] for index in indices]
    assert middle - start < 0.8 * (time.process_time() - middle)
