import pytest
import torch
import torch.nn.functional as F

from salvit.extractors import ScoreCAM, TokenGradCAM
from salvit.extractors.masking import _masks
from salvit.vit import load_vit
from tests.extractors import slow_vit
from tests.registry import randomize

TARGETS = (4, 0, 2)


def reference(vit, image, target, block, channels=None):
    """Feature by feature: the mask pixel by pixel from the paper's formula, the logit from the slow ViT."""
    normed = slow_vit.run(vit, image).normed[block][1:].detach()
    features = [feature.reshape(4, 6) for feature in normed.T]
    if channels:
        features = sorted(features, key=lambda f: float(((f - f.mean()) ** 2).sum()))[-channels:]
    exponentials = []
    for feature in features:
        mask = F.interpolate(feature[None, None], (32, 48), mode="bilinear")[0, 0]
        varies = len(set(feature.flatten().tolist())) > 1
        mask = (mask - mask.min()) / (mask.max() - mask.min()) if varies else 0
        exponentials.append(slow_vit.run(vit, image * mask).logits[target].exp())
    pairs = zip(exponentials, features, strict=True)
    return (sum(e * f for e, f in pairs) / sum(exponentials)).clamp(min=0).detach()[None]


@pytest.mark.parametrize(("block", "channels"), [(-1, None), (0, None), (1, 5)])
def test_matches_slow_reference(make_vit, images, block, channels):
    vit = make_vit(img_size=(32, 48))
    expected = [reference(vit, image, c, block, channels) for image, c in zip(images, TARGETS, strict=True)]
    maps = ScoreCAM(block, channels, batch_size=7)(vit, images, torch.tensor(TARGETS))
    torch.testing.assert_close(maps, torch.stack(expected), rtol=1e-8, atol=1e-12)
    assert maps.any()


def test_a_feature_that_is_the_same_everywhere_hides_the_image(make_vit, images):
    """As of a model whose normalisation has learned to switch a feature off; enlarged, it would be rounding."""
    vit = make_vit(img_size=(32, 48))
    vit.blocks[-1].norm1.weight[3] = 0
    vit.blocks[-1].norm1.bias[3] = 0.7
    expected = [reference(vit, image, c, -1) for image, c in zip(images, TARGETS, strict=True)]
    maps = ScoreCAM()(vit, images, torch.tensor(TARGETS))
    torch.testing.assert_close(maps, torch.stack(expected), rtol=1e-8, atol=1e-12)


def test_asks_as_often_as_it_says(vit, images):
    counted = []
    vit.register_forward_pre_hook(lambda module, args: counted.append(len(args[0])))
    for extractor in (ScoreCAM(), ScoreCAM(channels=3), ScoreCAM(channels=1000)):
        counted.clear()
        extractor(vit, images[:1], 0)
        assert sum(counted) == extractor.forward_passes(vit)


def test_features_of_attentions_side_by_side_all_count(images):
    options = {"img_size": (32, 48), "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3}
    vit = randomize(load_vit("vit_small_patch16_18x2_224", pretrained=False, **options)).double()
    maps = ScoreCAM()(vit, images, 1)
    for branch in vit.blocks[-1].attns:
        branch.norm.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    assert ScoreCAM().forward_passes(vit) == 1 + 2 * 24
    assert maps.any()
    assert not ScoreCAM()(vit, images, 1).any()


def test_other_attention_is_refused(vit, images):
    vit.blocks[-1].attn = torch.nn.Identity().eval()
    for extractor in (ScoreCAM(), TokenGradCAM()):
        with pytest.raises(ValueError, match="needs timm's attention, and block 2"):
            extractor(vit, images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_is_no_feature(dtype):
    """Equal patches are equal but for rounding, which masks would stretch to the whole range."""
    step = torch.finfo(dtype).eps
    features, image = torch.full((3, 4, 6), 0.7, dtype=dtype), torch.zeros(3, 32, 48, dtype=dtype)
    features[1, 0, 0] += 4 * step
    features[2, 0, 0] += 400 * step
    masks = _masks(features, image)
    assert not masks[:2].any()
    assert masks[2].max() == 1
