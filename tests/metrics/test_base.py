import copy
import pickle
import warnings

import pytest
import torch
from torchmetrics import MetricCollection

from salvit.metrics import AUC, CC, KLD, NSS, SIM, ShuffledAUC, at_native_size
from salvit.metrics.functional import auc, cc, fixation_counts, kld, nss, shuffled_auc, sim
from tests.metrics.cases import batch

CLASSES = {NSS: nss, CC: cc, SIM: sim, KLD: kld, AUC: auc, ShuffledAUC: None}
of_every_class = pytest.mark.parametrize("cls", CLASSES)


def updated(metric, case, step):
    pred, density, fixations = case
    truth = {"density": density, "fixations": fixations}[metric.truth]
    for start in range(0, len(pred), step):
        metric.update(pred[start : start + step], truth[start : start + step])
    return metric


@of_every_class
@pytest.mark.parametrize("step", [1, 4, 6])
def test_per_image_scores_are_the_functionals_in_order_of_update(cls, step):
    pred, density, fixations = case = batch(0, images=6, lengths=(4, 0, 5, 3, 0, 2))
    metric = updated(cls(), case, step)
    scores = metric.per_image()
    assert scores.dtype == torch.float32
    if cls is ShuffledAUC:
        expected = shuffled_auc(pred, fixations, fixation_counts(fixations, [(6, 9)] * 6, (6, 9)))
    else:
        expected = CLASSES[cls](pred, density if metric.truth == "density" else fixations)
    torch.testing.assert_close(scores, expected.float(), equal_nan=True)
    assert metric.compute().item() == pytest.approx(expected.nanmean().item(), abs=1e-6)
    assert metric.n_skipped == expected.isnan().sum()


@of_every_class
def test_reset_forgets_and_later_images_are_seen(cls):
    first, second = batch(0), batch(1)
    metric = updated(cls(), first, 3)
    before = metric.per_image().clone()
    metric.reset()
    updated(metric, second, 3)
    torch.testing.assert_close(metric.per_image(), updated(cls(), second, 3).per_image())
    assert not metric.per_image().allclose(before)
    updated(metric, first, 3)
    assert len(metric.per_image()) == 6


@of_every_class
def test_no_images_at_all(cls):
    metric = cls()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert metric.compute().isnan()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert metric.per_image().shape == (0,)
        assert metric.n_skipped == 0


@of_every_class
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
def test_copies_keep_the_scores(cls, copied):
    metric = updated(cls(), batch(0), 3)
    torch.testing.assert_close(copied(metric).per_image(), metric.per_image())


def test_collection_takes_all_arguments_by_name():
    pred, density, fixations = batch(0)
    collection = MetricCollection([cls() for cls in CLASSES])
    for _ in range(2):
        collection.update(pred=pred, density=density, fixations=fixations)
    assert set(collection.compute()) == {cls.__name__ for cls in CLASSES}
    assert all(len(metric.per_image()) == 6 for metric in collection.values())


def test_collection_never_merges_metrics_that_agree_on_the_first_batch():
    pred = torch.tensor([[[0.0, 1.0, 2.0]]])
    once, thrice = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[2.0, 0.0]] * 3 + [[1.0, 0.0]])
    collection = MetricCollection({"all": NSS(), "binary": NSS(duplicates=False)})
    collection.update(pred, [once])
    collection.update(pred, [thrice])
    assert collection["all"].per_image().tolist() == [0.0, 0.75]
    assert collection["binary"].per_image().tolist() == [0.0, 0.5]


def test_set_dtype_keeps_float64_scores():
    pred, density, _ = case = batch(0)
    metric = updated(CC().set_dtype(torch.float64), case, 3)
    assert metric.per_image().equal(cc(pred, density))


@pytest.mark.parametrize("size", [(61, 83), (600, 800)])
def test_a_constant_map_is_constant_at_native_size(size):
    """Rounding in the interpolation would otherwise be scored as a map."""
    maps = torch.rand(20, generator=torch.Generator().manual_seed(0))[:, None, None].expand(20, 8, 8)
    for map_ in at_native_size(maps, [size] * 20):
        assert map_.unique().numel() == 1
