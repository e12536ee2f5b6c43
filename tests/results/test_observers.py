import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from salvit.metrics import OtherImages, saliency_metrics
from salvit.metrics.functional import auc, fixation_counts, information_gain, nss, shuffled_auc
from salvit.results.observers import leave_one_out, of_fixations, update_upper_bound
from tests.metrics import reference
from tests.metrics.cases import points_in

SIZE, SIGMA = (12, 16), 2.0


@pytest.fixture
def observers():
    generator = torch.Generator().manual_seed(0)
    return [points_in(SIZE, n, generator) for n in (4, 0, 3, 6, 1)]


def metrics_of(profile, all_fixations):
    sizes = [SIZE] * len(all_fixations)
    baseline = torch.rand(SIZE, generator=torch.Generator().manual_seed(1)) + 0.1
    pool, others = fixation_counts(all_fixations, sizes, SIZE), OtherImages(all_fixations, sizes)
    metrics = saliency_metrics(pool, profile=profile, others=others, baseline=baseline)
    return of_fixations(metrics), baseline


def density_without(observers, left_out):
    binary = np.zeros(SIZE)
    for points in [*observers[:left_out], *observers[left_out + 1 :]]:
        for point in points.tolist():
            binary[reference.pixel(point, SIZE)] = 1
    blurred = gaussian_filter(binary, SIGMA, mode="reflect")
    return torch.from_numpy(blurred / blurred.sum())


def scored(profile, observers, held_out=99):
    own = torch.cat(observers)
    elsewhere = points_in(SIZE, 9, torch.Generator().manual_seed(3))
    metrics, baseline = metrics_of(profile, [own, elsewhere])
    pairs = leave_one_out(observers, SIZE, SIGMA, held_out)
    others = sum(len(points) > 0 for points in observers) - 1
    update_upper_bound(metrics, metrics.clone(), pairs, own, others)
    return metrics, baseline, elsewhere


def test_each_observer_is_predicted_by_all_others_and_of_many_only_some(observers):
    pairs = leave_one_out(observers, SIZE, SIGMA, held_out=99)
    for (density, points), left_out in zip(pairs, (0, 2, 3, 4), strict=True):
        torch.testing.assert_close(density, density_without(observers, left_out).float())
        assert points is observers[left_out]
    many = [torch.full((1, 2), float(i)) for i in range(9)]
    pairs = leave_one_out(many, SIZE, SIGMA, held_out=3)
    assert [points[0, 0].item() for _, points in pairs] == [0, 4, 8]


def test_scores_are_means_over_the_observers(observers):
    metrics, baseline, elsewhere = scored("tuebingen", observers)
    expected = {"IG": [], "AUC": [], "sAUC": [], "NSS": []}
    for left_out in (0, 2, 3, 4):
        density, points = density_without(observers, left_out).float()[None], [observers[left_out]]
        # The pool is the other image alone: that of the other observers on this one is no other image.
        pool = fixation_counts([elsewhere, points[0]], [SIZE] * 2, SIZE)
        mixed = 3 / 4 * density + baseline / baseline.sum() / 4
        expected["IG"].append(information_gain(mixed, points, baseline).item())
        expected["AUC"].append(auc(density, points).item())
        expected["sAUC"].append(shuffled_auc(density, points, pool).item())
        expected["NSS"].append(nss(density, points, ddof=0).item())
    found = {name: score.item() for name, score in metrics.compute().items()}
    assert found == pytest.approx({name: np.mean(values) for name, values in expected.items()}, abs=1e-4)


@pytest.mark.parametrize(
    ("profile", "names"),
    [("exact", ["NSS", "sAUC", "AUC"]), ("mit", ["AUC-Judd", "AUC-Borji", "sAUC", "NSS"])],
)
def test_metrics_of_a_density_are_left_out(profile, names, observers):
    metrics, *_ = scored(profile, observers)
    assert list(metrics) == names
    assert all(score.isfinite() for score in metrics.compute().values())


@pytest.mark.parametrize("observers", [[], [torch.zeros(3, 2)], [torch.zeros(3, 2), torch.zeros(0, 2)]])
def test_one_observer_alone_is_skipped_and_counted(observers):
    own = torch.cat([torch.zeros(0, 2), *observers])
    metrics, _ = metrics_of("exact", [own, torch.ones(1, 2)])
    pairs = leave_one_out(observers, SIZE, SIGMA, held_out=5)
    update_upper_bound(metrics, metrics.clone(), pairs, own, 0)
    assert [metric.n_skipped for metric in metrics.values()] == [1, 1, 1]


def test_people_who_agree_are_hard_to_beat():
    where = torch.tensor([[3.0, 3.0], [12.0, 9.0]])
    metrics, *_ = scored("exact", [where + 0.2 * i for i in range(4)])
    assert metrics["AUC"].compute() > 0.9
