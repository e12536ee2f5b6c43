"""Scores of 12 real images by pysaliency 0.2.22 and by closed forms, where they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pytest
import torch

from salvit.metrics import AUC, CC, KLD, NSS, SIM, ShuffledAUC, saliency_metrics, update_metrics
from salvit.metrics.functional import auc, cc, fixation_counts, kld, nss, shuffled_auc, sim

GOLDEN = Path(__file__).resolve().parents[2] / "../shared/golden/metrics.npz"
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.exists():
        pytest.skip("no ../shared/golden/metrics.npz beside the checkout")
    with np.load(GOLDEN) as archive:
        return dict(archive)


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request):
    return request.param


def case(golden, dtype):
    pred, density = (torch.from_numpy(golden[name]).to(dtype) for name in ("pred", "density"))
    return pred, density, [torch.from_numpy(golden[f"fix_xy_{i:02d}"]) for i in range(len(pred))]


def pool_of(pred, fixations):
    return fixation_counts(fixations, [tuple(pred.shape[1:])] * len(pred), tuple(pred.shape[1:]))


FUNCTIONALS = {
    "nss_counts_ddof1": lambda s, g, xy: nss(s, xy),
    # pysaliency divides by the population's standard deviation
    "nss_pysaliency": lambda s, g, xy: nss(s, xy, ddof=0),
    "auc_uniform": lambda s, g, xy: auc(s, xy),
    "sauc_exact": lambda s, g, xy: shuffled_auc(s, xy, pool_of(s, xy)),
    "sauc_bruteforce": lambda s, g, xy: shuffled_auc(s, xy, pool_of(s, xy)),
    "cc": lambda s, g, xy: cc(s, g),
    "sim_minmax": lambda s, g, xy: sim(s, g),
    "sim_sumnorm": lambda s, g, xy: sim(s, g, minmax=False),
    "kld_mit": lambda s, g, xy: kld(s, g),
    "kld_formula": lambda s, g, xy: kld(s, g),
}


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_functionals(golden, dtype, name):
    scores = FUNCTIONALS[name](*case(golden, dtype))
    np.testing.assert_allclose(scores, golden[f"expected_{name}"], rtol=0, atol=TOLERANCE[dtype])


CLASSES = {
    "nss_counts_ddof1": NSS,
    "auc_uniform": AUC,
    "sauc_exact": ShuffledAUC,
    "cc": CC,
    "sim_minmax": SIM,
    "kld_mit": KLD,
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes(golden, dtype, name):
    pred, density, fixations = case(golden, dtype)
    metric, truth = CLASSES[name](), {"density": density, "fixations": fixations}
    for part in (slice(0, 5), slice(5, 12)):
        metric.update(pred[part], truth[metric.truth][part])
    expected = golden[f"expected_{name}"]
    np.testing.assert_allclose(metric.per_image(), expected, rtol=0, atol=TOLERANCE[dtype])
    assert metric.compute().item() == pytest.approx(expected.mean(), abs=TOLERANCE[dtype])


TUEBINGEN = {
    "AUC": "auc_uniform",
    "sAUC": "sauc_exact",
    "NSS": "nss_pysaliency",
    "CC": "cc",
    "KLD": "kld_mit",
    "SIM": "sim_sumnorm",
}


def test_profile_tuebingen(golden, dtype):
    pred, density, fixations = case(golden, dtype)
    metrics = saliency_metrics(pool_of(pred, fixations), profile="tuebingen", baseline=density.mean(0))
    sizes = [tuple(pred.shape[1:])] * len(pred)
    update_metrics(metrics, pred, {"size": sizes, "density": density, "fixations": fixations})
    for name, key in TUEBINGEN.items():
        expected = golden[f"expected_{key}"]
        np.testing.assert_allclose(
            metrics[name].per_image(), expected, rtol=0, atol=TOLERANCE[dtype], err_msg=name
        )
