"""Scores of 12 real images by pysaliency 0.2.22 and by closed forms, where they lie beside the checkout."""

from pathlib import Path

import numpy as np
import pytest
import torch

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
