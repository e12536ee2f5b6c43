import numpy as np
import pytest
import torch

from salvit.metrics import PROFILES, OtherImages, saliency_metrics, update_metrics
from salvit.metrics.functional import auc, cc, fixation_counts, information_gain, kld, nss, shuffled_auc, sim
from salvit.metrics.profiles import find_spec
from tests.metrics.cases import batch

COLUMNS = {
    "exact": "CC ↑, NSS ↑, SIM ↑, KLD ↓, sAUC ↑, AUC ↑",
    "mit": "AUC-Judd ↑, SIM ↑, EMD ↓, AUC-Borji ↑, sAUC ↑, CC ↑, NSS ↑, KLD ↓",
    "tuebingen": "IG ↑, AUC ↑, sAUC ↑, NSS ↑, CC ↑, KLD ↓, SIM ↑",
}
SIZES = [(6, 9)] * 3


@pytest.fixture
def case():
    return batch(0)


def made(profile, fixations, **options):
    pool = fixation_counts(fixations, SIZES, SIZES[0])
    options = {"others": OtherImages(fixations, SIZES), "baseline": torch.ones(6, 9), **options}
    return saliency_metrics(pool, profile=profile, **options)


def scored(profile, case, **options):
    pred, density, fixations = case
    metrics = made(profile, fixations, **options)
    update_metrics(metrics, pred, {"size": SIZES, "density": density, "fixations": fixations})
    return metrics


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_its_columns_and_keeps_one_score_per_image(profile, case):
    metrics = scored(profile, case)
    expected = COLUMNS[profile] if find_spec("ot") else COLUMNS[profile].replace("EMD ↓, ", "")
    found = [f"{name} {'↑' if one.higher_is_better else '↓'}" for name, one in metrics.items()]
    assert ", ".join(found) == expected
    for name, metric in metrics.items():
        assert list(metric.columns) == [name]
        kept = {key: value for key, value in metric.metric_state.items() if isinstance(value, list)}
        assert {key: sum(part.numel() for part in value) for key, value in kept.items()} == {"scores": 3}
    assert all(score.isfinite() for score in metrics.compute().values())


def test_tuebingen_is_pysaliency_on_a_map(case):
    pred, density, fixations = case
    metrics = scored("tuebingen", case, baseline=density[0])
    pool = fixation_counts(fixations, SIZES, SIZES[0])
    expected = {
        "IG": information_gain(pred, fixations, density[0]),
        "AUC": auc(pred, fixations),
        "sAUC": shuffled_auc(pred, fixations, pool),
        "NSS": nss(pred, fixations) * (54 / 53) ** 0.5,
        "CC": cc(pred, density),
        "KLD": kld(pred, density),
        "SIM": sim(pred, density, minmax=False),
    }
    for name, scores in expected.items():
        np.testing.assert_allclose(metrics[name].per_image(), scores, atol=1e-6, err_msg=name)


def test_mit_scores_the_binary_fixation_map_takes_a_seed_and_without_pot_leaves_emd_out(case, monkeypatch):
    pred, density, points = case
    once = [torch.tensor([[float(i), 1.0], [3.0, 4.0]]) for i in range(3)]
    twice = [torch.cat([points, points[:1]]) for points in once]
    found = [scored("mit", (pred, density, fixations))["NSS"].per_image() for fixations in (once, twice)]
    assert found[0].equal(found[1])
    metrics = made("mit", points, seed=5)
    assert [metrics[name].seed for name in ("AUC-Judd", "AUC-Borji", "sAUC")] == [5] * 3
    monkeypatch.setattr("salvit.metrics.profiles.find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"EMD is left out .*salvit\[emd\]"):
        assert "EMD" not in made("mit", points)


def test_what_a_profile_needs_is_asked_for():
    with pytest.raises(ValueError, match="others=OtherImages"):
        saliency_metrics(profile="mit")
    with pytest.raises(ValueError, match="baseline="):
        saliency_metrics(profile="tuebingen")
    with pytest.raises(ValueError, match="no profile 'bare'; expected one of exact, mit, tuebingen"):
        saliency_metrics(profile="bare")
