import numpy as np
import pytest
import torch
from hypothesis import given

from salvit.metrics import NSS
from salvit.metrics.functional import nss
from tests.metrics import reference
from tests.metrics.cases import batch, batches, examples


@pytest.mark.parametrize("duplicates", [True, False])
@examples
@given(batches)
def test_agrees_with_the_reference(duplicates, case):
    pred, _, fixations = case
    expected = [
        reference.nss(s.tolist(), xy.tolist(), duplicates) for s, xy in zip(pred, fixations, strict=True)
    ]
    np.testing.assert_allclose(nss(pred, fixations, duplicates), expected, atol=1e-9)


@examples
@given(batches)
def test_scale_and_offset_do_not_matter(case):
    pred, _, fixations = case
    np.testing.assert_allclose(nss(8 * pred.double() - 3, fixations), nss(pred, fixations), atol=1e-9)


def test_sample_standard_deviation():
    score = nss(torch.tensor([[[0.0, 1.0]]]), [torch.tensor([[1.0, 0.0]])])
    assert score.item() == pytest.approx(0.5 / 0.5**0.5)


def test_duplicates_weigh_the_mean_or_not():
    pred = torch.tensor([[[0.0, 1.0, 2.0]]])
    fixations = [torch.tensor([[2.0, 0.0], [2.4, 0.2], [1.0, 0.0]])]
    assert nss(pred, fixations).item() == pytest.approx(2 / 3)
    assert nss(pred, fixations, duplicates=False).item() == pytest.approx(1 / 2)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 48, 64)])
def test_constant_map_scores_zero(value, shape):
    assert nss(torch.full(shape, value), [torch.zeros(3, 2)]).item() == 0


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_extreme_scales(scale):
    pred, _, fixations = batch(0)
    torch.testing.assert_close(nss(pred * scale, fixations), nss(pred, fixations))


def test_image_without_fixations_is_left_out():
    pred, _, fixations = batch(0, lengths=(4, 0, 5))
    metric = NSS()
    metric.update(pred, fixations)
    scores = nss(pred, fixations)
    assert scores.isnan().tolist() == [False, True, False]
    assert metric.compute().item() == pytest.approx(scores[[0, 2]].mean().item())
    assert metric.n_skipped == 1


def test_class_passes_its_option_on():
    pred, _, fixations = batch(1)
    metric = NSS(duplicates=False)
    metric.update(pred, fixations)
    torch.testing.assert_close(metric.per_image(), nss(pred, fixations, duplicates=False).float())
    assert not metric.per_image().allclose(nss(pred, fixations).float())


def test_bad_input_is_named():
    pred, _, fixations = batch(0)
    with pytest.raises(ValueError, match="of image 2 lies outside"):
        nss(pred, [*fixations[:2], torch.tensor([[9.0, 0.0]])])
    with pytest.raises(ValueError, match="2 entries for 3 images"):
        nss(pred, fixations[:2])
    pred[1, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="pred: image 1"):
        nss(pred, fixations)


def test_empty_batch():
    assert nss(torch.zeros(0, 2, 3), []).shape == (0,)


def test_the_populations_standard_deviation_is_over_all_pixels():
    pred, _, fixations = batch(0)
    pixels = pred[0].numel()
    expected = nss(pred, fixations) * (pixels / (pixels - 1)) ** 0.5
    torch.testing.assert_close(nss(pred, fixations, ddof=0), expected)
    metric = NSS(ddof=0)
    metric.update(pred, fixations)
    torch.testing.assert_close(metric.per_image(), expected.float())
