import pytest
import torch

from salvit.extractors import AGCAM
from salvit.metrics import MaxSensitivity
from salvit.metrics.functional import max_sensitivity
from tests.metrics.models import TARGETS, images_and_heatmaps, tiny_vit

IMAGES = torch.ones(2, 3, 4, 4, dtype=torch.float64)


def test_agrees_with_trying_one_by_one():
    images, _ = images_and_heatmaps(0)
    vit = tiny_vit()

    def explain(batch):
        return AGCAM()(vit, batch, TARGETS)

    scores = max_sensitivity(explain, images, radius=0.1, samples=4, seed=5)
    generator = torch.Generator().manual_seed(5)
    largest = torch.zeros(3, dtype=torch.float64)
    for _ in range(4):
        moved = images + (torch.rand(3, 16, 16, generator=generator) * 2 - 1).double() * 0.1
        for i in range(3):
            before = AGCAM()(vit, images[i : i + 1], TARGETS[i])
            after = AGCAM()(vit, moved[i : i + 1], TARGETS[i])
            largest[i] = max(
                largest[i], (after - before).square().sum().sqrt() / before.square().sum().sqrt()
            )
    torch.testing.assert_close(scores, largest, rtol=1e-6, atol=0)
    assert (scores > 0).all()


def test_the_box_is_respected_and_filled():
    seen = []
    max_sensitivity(lambda x: seen.append(x) or x, IMAGES, radius=0.3, samples=50)
    deltas = torch.stack(seen[1:]) - 1
    assert deltas.abs().max() <= 0.3
    assert deltas.min() < -0.29
    assert deltas.max() > 0.29
    assert deltas[:, 0].equal(deltas[:, 1])


def test_more_samples_never_lower_it_and_the_seed_decides():
    few, many = (max_sensitivity(lambda x: x, IMAGES, samples=samples) for samples in (3, 30))
    assert (many >= few).all()
    assert many.equal(max_sensitivity(lambda x: x, IMAGES, samples=30))
    assert not many.equal(max_sensitivity(lambda x: x, IMAGES, samples=30, seed=1))


def test_scale_of_the_map_does_not_matter():
    torch.testing.assert_close(
        max_sensitivity(lambda x: 7 * x, IMAGES), max_sensitivity(lambda x: x, IMAGES), rtol=1e-12, atol=0
    )


def test_maps_without_a_norm_are_skipped():
    scale = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    metric = MaxSensitivity()
    metric.update(lambda x: x * scale, IMAGES)
    metric.update(lambda x: x / scale, IMAGES)
    assert metric.per_image().isnan().tolist() == [True, False, True, False]
    assert metric.n_skipped == 2


def test_a_map_that_breaks_nearby_is_skipped():
    assert max_sensitivity(lambda x: torch.where(x == 1, x, torch.nan), IMAGES).isnan().all()


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"samples": 0}])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected radius > 0 and samples ≥ 1"):
        max_sensitivity(lambda x: x, IMAGES, **options)
