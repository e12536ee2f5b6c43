import pytest
import torch

from salvit.extractors import METHODS, AttentionGradCAM, TokenGradCAM
from salvit.vit import load_vit
from tests.extractors import slow_vit
from tests.registry import randomize

TARGETS = torch.tensor([4, 0, 2])


def attention_reference(vit, image, target):
    trace = slow_vit.run(vit, image)
    gradients = slow_vit.gradients(trace.logits[target], trace)[-1]
    weighted = [a[0, 1:] * g[0, 1:].mean() for a, g in zip(trace.attention[-1], gradients, strict=True)]
    return torch.stack(weighted).detach().reshape(3, 4, 6)


def token_reference(vit, image, target, block):
    trace = slow_vit.run(vit, image)
    [gradient] = torch.autograd.grad(trace.logits[target], trace.normed[block])
    weights = gradient[1:].mean(0)
    return (trace.normed[block][1:] @ weights).clamp(min=0).detach().reshape(1, 4, 6)


def test_attention_gradcam_matches_slow_reference(make_vit, images):
    vit = make_vit(img_size=(32, 48))
    heads = torch.stack([attention_reference(vit, *pair) for pair in zip(images, TARGETS, strict=True)])
    assert heads.min() < 0 < heads.mean(1).max()
    maps = AttentionGradCAM()(vit, images, TARGETS)
    torch.testing.assert_close(maps, heads.mean(1, keepdim=True).clamp(min=0), rtol=1e-8, atol=1e-12)
    per_head = AttentionGradCAM(per_head=True)(vit, images, TARGETS)
    torch.testing.assert_close(per_head, heads.clamp(min=0), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("block", [0, 1, -1])
def test_token_gradcam_matches_slow_reference(make_vit, images, block):
    vit = make_vit(img_size=(32, 48))
    pairs = zip(images, TARGETS, strict=True)
    expected = torch.stack([token_reference(vit, *pair, block) for pair in pairs])
    maps = TokenGradCAM(block)(vit, images, TARGETS)
    torch.testing.assert_close(maps, expected, rtol=1e-8, atol=1e-12)


def test_token_gradcam_of_attentions_side_by_side(images):
    """The features of both attentions count; autograd on what their normalisations gave says how much."""
    options = {"img_size": (32, 48), "patch_size": 8, "depth": 2, "embed_dim": 48, "num_heads": 3}
    vit = randomize(load_vit("vit_small_patch16_18x2_224", pretrained=False, **options)).double()
    found = TokenGradCAM(0)(vit, images, TARGETS)
    normed = []
    for branch in vit.blocks[0].attns:
        branch.norm.register_forward_hook(lambda module, args, output: normed.append(output.requires_grad_()))
    with torch.enable_grad():
        gradients = torch.autograd.grad(vit(images)[torch.arange(3), TARGETS].sum(), normed)
    maps = [f[:, 1:] @ g[:, 1:].mean(1)[..., None] for f, g in zip(normed, gradients, strict=True)]
    expected = (maps[0] + maps[1]).clamp(min=0).detach().reshape(3, 1, 4, 6)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_registers_have_no_share_in_the_weights(make_vit, images):
    """Autograd on the modules of timm's own attention says what each is."""
    for extractor, name in ((AttentionGradCAM(), "attn.attn_drop"), (TokenGradCAM(), "norm1")):
        vit, kept = make_vit(reg_tokens=2), []
        maps = extractor(vit, images, TARGETS)
        vit.blocks[-1].attn.fused_attn = False
        module = vit.blocks[-1].get_submodule(name)
        module.register_forward_hook(lambda *args, kept=kept: kept.append(args[2].requires_grad_()))
        with torch.enable_grad():
            [gradient] = torch.autograd.grad(vit(images)[torch.arange(3), TARGETS].sum(), kept)
        if name == "attn.attn_drop":
            plain = (kept[0][:, :, 0, 3:] * gradient[:, :, :1, 3:].mean(-1)).mean(1)
        else:
            plain = (kept[0][:, 3:] * gradient[:, 3:].mean(1, keepdim=True)).sum(-1)
        plain = plain.detach().clamp(min=0).reshape(3, 1, 4, 6)
        assert plain.amax((1, 2, 3)).min() > 0
        torch.testing.assert_close(maps, plain, rtol=1e-8, atol=1e-12)


def kin_reference(name, vit, image, target, block):
    """Patch by patch and feature by feature, from the papers' equations."""
    trace = slow_vit.run(vit, image)
    [gradient] = torch.autograd.grad(trace.logits[target], trace.normed[block])
    features, gradient = trace.normed[block][1:].detach(), gradient[1:]
    row = torch.zeros(len(features), dtype=torch.float64)
    for feature, slope in zip(features.T, gradient.T, strict=True):
        if name == "gradcam_plus_plus":
            alpha = slope**2 / (2 * slope**2 + feature.sum() * slope**3)
            row += sum(a * max(g, 0) for a, g in zip(alpha, slope, strict=True)) * feature
        elif name == "hirescam":
            row += feature * slope
        else:
            row += feature * slope.relu()
    return row.clamp(min=0).reshape(1, 4, 6)


@pytest.mark.parametrize("block", [0, -1])
@pytest.mark.parametrize("name", ["gradcam_plus_plus", "hirescam", "layercam"])
def test_kin_match_slow_references(make_vit, images, name, block):
    vit = make_vit(img_size=(32, 48))
    pairs = zip(images, TARGETS, strict=True)
    expected = torch.stack([kin_reference(name, vit, *pair, block) for pair in pairs])
    assert expected.any()
    torch.testing.assert_close(METHODS[name](block)(vit, images, TARGETS), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "peer"),
    [("gradcam_plus_plus", "GradCAMPlusPlus"), ("hirescam", "HiResCAM"), ("layercam", "LayerCAM")],
)
def test_kin_of_the_grad_cam_package(make_vit, images, name, peer):
    package = pytest.importorskip("pytorch_grad_cam")
    vit = make_vit(img_size=(32, 48))
    vit.head.weight.mul_(1e4)  # so that the stabilisers of the package, 1e-6 and 1e-7, do not show
    expected = METHODS[name]()(vit, images, TARGETS)[:, 0]
    expected = (expected - expected.amin((1, 2), True)) / (expected - expected.amin((1, 2), True)).amax(
        (1, 2), True
    )
    vit.requires_grad_()

    def fold(tokens):
        return tokens[:, 1:].unflatten(1, (4, 6)).movedim(-1, 1)

    with torch.enable_grad(), getattr(package, peer)(vit, [vit.blocks[-1].norm1], fold) as cam:
        cam.get_target_width_height = lambda _: (6, 4)  # not enlarged
        maps = cam(images, [package.utils.model_targets.ClassifierOutputTarget(int(c)) for c in TARGETS])
    torch.testing.assert_close(torch.from_numpy(maps).double(), expected, rtol=0, atol=1e-4)


def test_hirescam_of_a_block_that_normalises_its_own_input_would_be_zero(images):
    vit = randomize(
        load_vit("vit_base_patch16_xp_224", pretrained=False, img_size=32, depth=2, num_classes=5)
    )
    vit, image = vit.double(), images[:1, :, :, :32]
    entering = []
    vit.blocks[-1].register_forward_pre_hook(lambda _, args: entering.append(args[0].requires_grad_()))
    with torch.enable_grad():
        [gradient] = torch.autograd.grad(vit(image)[0, 3], entering)
    products = entering[0][:, 1:] * gradient[:, 1:]
    assert products.sum(-1).abs().max() < 1e-6 * products.abs().sum(-1).max()
    with pytest.raises(
        ValueError, match="block -1 of this VisionTransformer normalises them in the same module"
    ):
        METHODS["hirescam"]()(vit, image, 3)
