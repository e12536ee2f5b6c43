import numpy as np
import pytest

from salvit.extractors import AGCAM, AttentionGradCAM, GenericAttention, RawAttention, Rollout
from tests.extractors.golden_vit import load_golden


@pytest.mark.parametrize("name", ["vit_square", "vit_rect"])
@pytest.mark.parametrize(
    ("expected", "extractor", "block_eps"),
    [
        ("raw_attention", RawAttention(), 1e-6),
        ("agcam", AGCAM(), 1e-6),
        # The reference's models of these methods normalise their blocks with another eps.
        ("rollout_start0", Rollout(0), 1e-5),
        ("rollout_start1", Rollout(1), 1e-5),
        ("attn_gradcam", AttentionGradCAM(), 1e-5),
        ("generic_attention", GenericAttention(), 1e-5),
    ],
    ids=repr,
)
def test_maps_are_those_of_the_reference(name, expected, extractor, block_eps):
    vit, images, targets, golden = load_golden(name, block_eps)
    maps = extractor(vit.double(), images.double(), targets)[:, 0].numpy()
    reference = golden[f"expected/{expected}"]
    assert maps.shape == reference.shape
    assert np.abs(maps - reference).max() < 1e-6 * reference.max()
