import re
from pathlib import Path

import pytest
import timm
import torch

from salvit.extractors import METHODS
from salvit.extractors.recording import record
from salvit.report.methods import FAMILIES, methods_page
from salvit.vit import load_vit, num_classes, num_heads, num_prefix_tokens, patch_grid, require_plain_vit
from tests.registry import (
    ARCHITECTURES,
    OTHERS,
    SMALL,
    images_for,
    make,
    nothing_computed,
    small_vit,
    tolerance,
    why_not,
)

NEEDS_NO_MAP = {"center_prior", "random", "rise", "scorecam", "token_gradcam"}
NEEDS_NO_MAP |= {"input_gradient", "input_x_gradient", "integrated_gradients", "smoothgrad"}
NEEDS_NO_MAP |= {"gradcam_plus_plus", "layercam", "xrai"}
NEEDS_RULES = {"norm_rollout", "tokentm", "full_lrp", "hirescam"}
MAY_BE_ZERO = {
    "attn_gradcam",
    "gradcam_plus_plus",
    "hirescam",
    "layercam",
    "scorecam",
    "token_gradcam",
}  # where nothing speaks for a class
REPRESENTATIVES = [family.architecture for family in FAMILIES]
KNOWN = [name for name in REPRESENTATIVES if timm.is_model(name)]


def is_differential(vit) -> bool:
    return any("Diff" in type(module).__name__ for module in vit.modules())


def is_one_sentence(message: str) -> bool:
    return "\n" not in message and not re.search(r"[.!?]\s", message) and len(message) < 300


def expected_to_work(name: str, vit) -> bool | None:
    """Whether a method has a meaning for a model; None where only the method knows (its rules for layers)."""
    if is_differential(vit):
        return name in NEEDS_NO_MAP or (None if name == "hirescam" else False)
    return None if name in NEEDS_RULES else True


def check_recording(vit, images) -> None:
    expected = vit(images)
    with record(vit) as recording:
        logits = vit(images)
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    height, width = patch_grid(vit, images)
    tokens = num_prefix_tokens(vit) + height * width
    for attention in recording.attention.values():
        assert attention.shape == (2, num_heads(vit), tokens, tokens)
        torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:3]))


def check_method(name, extractor, vit, images) -> bool:
    """Finite maps that do not depend on the batch, or the same sentence with and without images; whether it works."""
    refusal = why_not(extractor, vit)
    if refusal:
        assert is_one_sentence(refusal), refusal
        with nothing_computed(), pytest.raises(ValueError, match=f"^{re.escape(refusal)}$"):
            extractor(vit, images)
        return False
    target = torch.tensor([3, 1]) if vit.num_classes else None
    maps = extractor(vit, images, target)
    assert maps.shape[:2] == (2, extractor.num_channels(vit))
    assert tuple(maps.shape[2:]) in (patch_grid(vit, images), tuple(images.shape[2:]))
    assert torch.isfinite(maps).all()
    # Of others nothing may be left above zero, for one class or another.
    assert maps.any() or name in MAY_BE_ZERO or any(extractor(vit, images, other).any() for other in (0, 2))
    singles = [extractor(vit, images[i][None], None if target is None else target[i][None]) for i in range(2)]
    atol = tolerance(name) * float(maps.abs().max())
    torch.testing.assert_close(maps, torch.cat(singles), rtol=0, atol=atol, msg=name)
    return True


def check_architecture(architecture: str) -> None:
    vit = small_vit(architecture)
    images = images_for(vit, architecture)
    assert num_classes(vit) == vit.num_classes == 5
    if not is_differential(vit):
        check_recording(vit, images)
    vit, images = vit.double(), images.double()
    for name in METHODS:
        works = check_method(name, make(name), vit, images)
        assert expected_to_work(name, vit) in (works, None), name


@pytest.mark.parametrize("architecture", KNOWN)
def test_a_model_of_each_family(architecture):
    check_architecture(architecture)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in KNOWN])
def test_every_other_model(architecture):
    check_architecture(architecture)


def test_models_without_a_classifier():
    """A class-specific method has no class to explain; the others have no use for one."""
    options = {**SMALL, "num_classes": 0, "img_size": 64}
    vit = load_vit("vit_medium_patch16_gap_240", pretrained=False, **options)
    images = torch.randn(2, 3, 64, 64)
    for name, method in METHODS.items():
        extractor = make(name)
        if method.class_specific:
            assert "no classifier head" in why_not(extractor, vit), name
        assert check_method(name, extractor, vit, images) == (not method.class_specific), name


@pytest.mark.skipif(KNOWN != REPRESENTATIVES, reason="this timm lacks some families of the table")
def test_table_in_the_docs_is_current():
    page = Path(__file__).parents[1] / "docs/methods.md"
    assert page.read_text(encoding="utf-8") == methods_page(), "run `make methods`"


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("swin_tiny_patch4_window7_224", "hierarchical"),
        ("resnet50", "convolutional"),
        ("mixer_s16_224", "MLP"),
        ("xcit_nano_12_p16_224", "among channels"),
        ("cait_xxs24_224", "blocks of different kinds"),
        ("convit_tiny", "map of positions"),
        ("samvit_base_patch16", "within windows"),
        ("tnt_s_patch16_224", "pixels of each patch"),
        ("crossvit_tiny_240", "two streams"),
    ],
)
def test_other_models_are_refused_by_name(architecture, reason):
    said = f"{{}} is not a plain.*{reason}"
    with nothing_computed(), pytest.raises(ValueError, match=said.format(f'"{architecture}"')):
        load_vit(architecture)
    with torch.device("meta"):
        model = timm.create_model(architecture)
    with pytest.raises(TypeError, match=said.format(type(model).__name__)) as refusal:
        require_plain_vit(model)
    assert is_one_sentence(str(refusal.value))


def test_everything_else_in_the_registry_is_refused_by_name():
    for architecture in OTHERS:
        with pytest.raises(ValueError, match=f'"{architecture}" is not a plain ViT: ') as refusal:
            load_vit(architecture, pretrained=False)
        assert is_one_sentence(str(refusal.value)), refusal.value
