"""OSIE in SALICON's layout, where it lies beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

from datamodules import SaliconDataModule
from datamodules.base import fixation_density
from salvit.metrics import functional

ROOT = Path(__file__).resolve().parents[2] / "../shared/data/osie"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="OSIE is not beside the checkout")


@pytest.fixture(scope="module")
def osie():
    datamodule = SaliconDataModule(ROOT, num_workers=0)
    datamodule.setup("fit")
    return datamodule


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("split", "images", "fixations"), [("train", 320, 45092), ("val", 100, 14009)])
def test_counts(osie, split, images, fixations):
    assert len(osie.dataset(split)) == images
    assert osie.fixation_counts(split, (480, 640)).sum() == fixations


def test_maps_are_gaussians_of_the_fixations(osie):
    dataset = osie.dataset("val")
    for index in range(0, 100, 10):
        computed = fixation_density(dataset.fixations(index), dataset.size(index), sigma=19.0)
        assert np.corrcoef(computed.flatten(), dataset.density(index).flatten())[0, 1] > 0.9999


@pytest.mark.slow
def test_center_prior_scores(osie):
    prior = osie.center_prior((480, 640))[None].double()
    pool = osie.fixation_counts("val", (480, 640))
    dataset = osie.dataset("val")
    scores = []
    for index in range(len(dataset)):
        density, fixations = dataset.density(index)[None].double(), [dataset.fixations(index)]
        scores.append(
            [
                functional.cc(prior, density).item(),
                functional.nss(prior, fixations).item(),
                functional.sim(prior, density).item(),
                functional.kld(prior, density).item(),
                functional.shuffled_auc(prior, fixations, pool).item(),
            ]
        )
    assert np.mean(scores, axis=0) == pytest.approx([0.308, 0.876, 0.367, 1.335, 0.499], abs=6e-4)
