"""Scores of one method on one image share their forward passes."""

import pytest
import torch

from benchmarks.explanation import ALTERED_IMAGES
from salvit.metrics import ABPC, Case, DeletionInsertion, Infidelity, SaCo
from salvit.metrics.functional import deletion_insertion, perturbation_curves
from tests.metrics.test_faithfulness import TARGETS, forward_counter, images_and_heatmaps, tiny_vit


@pytest.fixture
def case():
    vit, (images, heatmaps) = tiny_vit(), images_and_heatmaps(0)
    return Case(vit, images, TARGETS, heatmaps, lambda images: heatmaps, {})


def scored(kind, case, **options):
    metric = kind(**options).set_dtype(torch.float64)
    metric.score(case)
    return metric.rows()


def test_all_scores_pass_each_altered_image_once(case):
    with forward_counter(case.vit) as passed:
        for kind in (ABPC, DeletionInsertion, SaCo, Infidelity):
            scored(kind, case)
    # Alone they pass 20, 21, 11 and 51.
    assert sum(passed) == ALTERED_IMAGES * len(case.images)


def test_shared_passes_change_no_score(case):
    for kind in (SaCo, DeletionInsertion, ABPC, Infidelity):
        alone = Case(case.vit, case.images, case.target, case.heatmaps, case.explain, {})
        torch.testing.assert_close(scored(kind, case), scored(kind, alone), rtol=0, atol=1e-12)
    inputs = case.explained
    torch.testing.assert_close(scored(ABPC, case), torch.cat(perturbation_curves(*inputs), 1))
    torch.testing.assert_close(scored(DeletionInsertion, case), torch.cat(deletion_insertion(*inputs), 1))


@pytest.mark.parametrize("fill", ["mean", "linear"])
def test_other_fills_are_other_passes(case, fill):
    plain = scored(ABPC, case)
    with forward_counter(case.vit) as passed:
        other = scored(ABPC, case, fill=fill)
    assert sum(passed) == 19 * len(case.images)  # all but that of the image as it is
    assert other[:, 0].equal(plain[:, 0])
    assert not torch.isclose(other[:, 1:11], plain[:, 1:11]).any()
