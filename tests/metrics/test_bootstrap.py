import math

import numpy as np
import pytest
import torch

from salvit.metrics.functional import bootstrap_differences, bootstrap_interval


@pytest.fixture
def scores():
    return torch.rand(200, generator=torch.Generator().manual_seed(0)) ** 2


def resampled(values, resamples):
    """Means of [..., n] over resampled images, one by one, drawn as the seed 0 draws them."""
    generator = np.random.default_rng(0)
    n = values.shape[-1]
    return [values[..., generator.integers(n, size=n)].mean(-1) for _ in range(resamples)]


def test_agrees_with_resampling_one_by_one(scores):
    expected = np.quantile(resampled(np.sort(scores.double().numpy()), 500), [0.025, 0.975])
    assert bootstrap_interval(scores, resamples=500) == pytest.approx(tuple(expected), abs=1e-12)


def test_ninety_five_of_a_hundred_intervals_cover_the_mean():
    generator = torch.Generator().manual_seed(1)
    intervals = [bootstrap_interval(torch.rand(60, generator=generator), resamples=300) for _ in range(100)]
    covered = sum(low <= 0.5 <= high for low, high in intervals)
    assert 88 <= covered <= 99


def test_seeded_and_wider_with_more_confidence(scores):
    low, high = bootstrap_interval(scores)
    assert (low, high) == bootstrap_interval(scores)
    assert (low, high) != bootstrap_interval(scores, seed=1)
    wider = bootstrap_interval(scores, confidence=0.99)
    assert wider[0] < low < scores.mean() < high < wider[1]


def test_skipped_images_are_left_out_and_one_image_has_no_interval(scores):
    holes = torch.cat([scores, torch.full((50,), torch.nan)])
    assert bootstrap_interval(holes) == bootstrap_interval(scores)
    for few in ([], [0.3], [0.3, torch.nan]):
        assert all(math.isnan(end) for end in bootstrap_interval(torch.tensor(few)))
    for images in (0, 1):
        means, low, high = bootstrap_differences(torch.tensor([[1.0], [0.25]])[:, :images])
        assert low.isnan().all()
        assert high.isnan().all()
        assert means.isnan().all() if not images else means[0, 1] == 0.75


def test_bad_shape():
    with pytest.raises(ValueError, match=r"\[n\], one per image"):
        bootstrap_interval(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"expected \[m, n\]"):
        bootstrap_differences(torch.zeros(3))


def test_differences_agree_with_resampling_one_by_one(scores):
    other = scores + 0.3 * torch.rand(200, generator=torch.Generator().manual_seed(2))
    methods = torch.stack([scores, other, scores])
    means, low, high = bootstrap_differences(methods, resamples=500)
    drawn = np.array(resampled(methods.double().numpy(), 500))
    expected = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
    assert [float(low[0, 1]), float(high[0, 1])] == pytest.approx(expected, abs=1e-12)
    assert float(means[0, 1]) == pytest.approx(float((scores.double() - other.double()).mean()))
    torch.testing.assert_close(means, -means.T)
    torch.testing.assert_close(low, -high.T)
    assert low[0, 2] == means[0, 2] == high[0, 2] == 0


def test_differences_are_of_images_that_all_were_scored_on(scores):
    holes = torch.stack([scores, scores**2])
    holes[0, 7] = holes[1, 9] = torch.nan
    kept = [image for image in range(200) if image not in (7, 9)]
    pairs = zip(bootstrap_differences(holes), bootstrap_differences(holes[:, kept]), strict=True)
    assert all(torch.equal(found, expected) for found, expected in pairs)
