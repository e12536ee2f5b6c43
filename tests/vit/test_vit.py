import copy
import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import salvit
from salvit import vit as vits
from salvit.vit import load_vit, normalize, patch_grid, weights_hash

NAME = "vit_tiny_patch16_224"
SMALL = {"depth": 2, "embed_dim": 48, "num_heads": 3}


@pytest.fixture
def source() -> VisionTransformer:
    """The model whose weights the files hold."""
    torch.manual_seed(0)
    return timm.create_model(NAME, img_size=32, patch_size=8, num_classes=7, **SMALL).eval()


@pytest.fixture
def saved(source, tmp_path) -> Path:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(source.state_dict(), path)
    return path


def load_small(path: Path, **kwargs) -> VisionTransformer:
    return load_vit(NAME, weights=path, **{"img_size": 32, "patch_size": 8, **SMALL, **kwargs})


def test_loaded_model_is_frozen_and_the_same(saved, source):
    vit = load_small(saved)
    assert type(vit) is VisionTransformer
    assert not any(module.training for module in vit.modules())
    assert not any(parameter.requires_grad for parameter in vit.parameters())
    assert vit.num_classes == 7
    assert weights_hash(vit) == weights_hash(source)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(vit(images), source(images))


def nest(state: dict, layout: str) -> dict:
    def add(prefix: str) -> dict:
        return {prefix + key: value for key, value in state.items()}

    projection = {"module.head.mlp.0.weight": torch.zeros(2, 2)}
    return {
        "plain": state,
        "half": {key: value.half() for key, value in state.items()},
        "data parallel": {"state_dict": add("module.")},
        "DINO": {"student": {}, "teacher": {**add("module.backbone."), **projection}, "epoch": 3},
        "MAE": {
            "model": {**state, "mask_token": torch.zeros(1, 1, 2), "decoder_embed.weight": torch.zeros(2, 2)}
        },
        "Lightning": {"state_dict": add("model."), "epoch": 1, "hyper_parameters": {"lr": 0.1}},
    }[layout]


@pytest.mark.parametrize("layout", ["plain", "half", "data parallel", "DINO", "MAE", "Lightning"])
def test_checkpoint_layouts(source, tmp_path, layout):
    path = tmp_path / "checkpoint.pth"
    torch.save(nest(source.state_dict(), layout), path)
    vit = load_small(path)
    assert weights_hash(vit) == weights_hash(source.half().float() if layout == "half" else source)


def test_position_embedding_is_resampled(saved):
    vit = load_small(saved, img_size=[32, 64])
    assert vits.input_size(vit) == (32, 64)
    assert vit.pos_embed.shape == (1, 1 + 4 * 8, 48)


def test_patches_of_another_size_are_resampled_only_on_request(saved):
    options = {"img_size": 32, **SMALL}
    with pytest.raises(ValueError, match=r"patches of 8×8 pixels, this VisionTransformer of 16×16"):
        load_vit(NAME, weights=saved, **options)
    assert load_vit(NAME, weights=saved, patch_size=16, **options).patch_embed.proj.weight.shape[-1] == 16


def test_a_description_that_is_not_read(saved, recwarn):
    load_small(saved)
    assert not [one for one in recwarn if "is not read" in str(one.message)]
    saved.with_suffix(".json").write_text('{"model": {}}')
    with pytest.warns(UserWarning, match=r"\.json is not read, .*mean"):
        load_small(saved)


def test_headless_checkpoint(source, tmp_path):
    path = tmp_path / "features.pth"
    torch.save({k: v for k, v in source.state_dict().items() if not k.startswith("head.")}, path)
    with pytest.warns(UserWarning, match=r"features\.pth has no classifier head"):
        vit = load_small(path)
    assert vit.num_classes == 0
    assert vit(torch.randn(1, 3, 32, 32)).shape == (1, 48)
    with pytest.raises(ValueError, match=r"missing: head\.weight, head\.bias"):
        load_small(path, num_classes=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected: extra$"),
        (
            lambda state: state.update({"norm.bias": torch.zeros(3)}),
            r"shape: norm\.bias \[3\] instead of \[48\]$",
        ),
        (
            lambda state: [state.pop(key) for key in list(state) if key.startswith("blocks.1.")],
            r"missing: blocks\.1\.norm1\.weight.* and 8 more$",
        ),
    ],
)
def test_weights_that_do_not_fit(source, tmp_path, change, message):
    state = source.state_dict()
    change(state)
    path = tmp_path / "other.pth"
    torch.save(state, path)
    with pytest.raises(ValueError, match=message):
        load_small(path)


@pytest.mark.parametrize(
    ("name", "of_another", "problem"),
    [
        (NAME, "deit_tiny_distilled_patch16_224", r"unexpected: dist_token, head_dist\.weight"),
        ("beit_base_patch16_224", "vit_tiny_patch16_224", r"missing: blocks\.0\.gamma_1"),
        (NAME, "convnext_atto", r"missing: cls_token, pos_embed"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_weights_of_another_architecture(tmp_path, name, of_another, problem):
    """timm converts what it takes for a form of the architecture, and fails in ways of its own where it is none."""
    small, path = {"img_size": 48, "depth": 1}, tmp_path / "other.pth"
    sized = {} if of_another == "convnext_atto" else small
    torch.save(timm.create_model(of_another, **sized).state_dict(), path)
    with pytest.raises(ValueError, match=rf"other\.pth does not hold the weights of this \w+; {problem}"):
        load_vit(name, weights=path, pretrained=False, **small)


@pytest.mark.parametrize(("pool", "other"), [("avg", "token"), ("token", "avg")])
def test_weights_of_a_model_that_pools_otherwise_say_so(tmp_path, pool, other):
    small = {"img_size": 32, "depth": 1, "num_classes": 5}
    path = tmp_path / "mine.pth"
    torch.save(timm.create_model("vit_tiny_patch16_224", global_pool=pool, **small).state_dict(), path)
    with pytest.raises(ValueError, match=rf'global_pool="{pool}": give it to load_vit'):
        load_vit("vit_tiny_patch16_224", weights=path, global_pool=other, img_size=32, depth=1)
    path.with_suffix(".json").write_text(
        json.dumps({"vit": "vit_tiny_patch16_224", "model": {**small, "global_pool": pool}})
    )
    assert load_vit(str(path)).global_pool == pool


class Malicious:
    def __reduce__(self):
        return exec, ("raise SystemExit('code in a weights file was run')",)


NO_WEIGHTS = {
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "Git LFS pointer.*`git lfs pull`",
    ),
    "web page": (b"<!DOCTYPE html>\n<title>404</title>", "a text file, which begins with '<!DOCTYPE html>'"),
    "empty": (b"", "it is empty"),
    "truncated": (b"\x80\x02" * 500, r"\w+Error: "),
}


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(("content", "reason"), NO_WEIGHTS.values(), ids=NO_WEIGHTS)
def test_files_that_are_no_weights_are_told_apart(tmp_path, suffix, content, reason):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot read .*weights.{suffix} .*: .*{reason}"):
        load_small(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            nn.Linear(2, 2),
            r"it holds Python objects \(.*run code: save the model's state_dict\(\), not the model$",
        ),
        ([torch.zeros(1)], r"it holds a Python object, .* save the model's state_dict\(\)"),
        ({"model": Malicious()}, r"it holds Python objects \(.*run code"),
        ({"encoder": {"module.cls_token": torch.zeros(1)}, "epoch": 3}, "what it holds: encoder, epoch"),
    ],
    ids=["model", "list", "code", "nested otherwise"],
)
def test_files_of_other_objects_say_what_they_hold(tmp_path, content, reason):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=reason):
        load_small(tmp_path / "other.pth")


@pytest.fixture
def described(saved, source) -> Path:
    model = {"img_size": 32, "patch_size": 8, "num_classes": 7, **SMALL}
    content = {"model": model, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.25], "seed": 4}
    saved.with_suffix(".json").write_text(json.dumps(content))
    return saved


def test_weights_with_a_description(described, source):
    vit = load_vit(described)
    assert weights_hash(vit) == weights_hash(source)
    assert vit.pretrained_cfg["seed"] == 4
    assert patch_grid(vit, (16, 48)) == (2, 6)
    grey = torch.full((1, 3, 2, 2), 0.6)
    expected = torch.tensor([1.0, 0.8, 1.2]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(normalize(vit, grey), expected)
    assert weights_hash(load_vit(described, pretrained=False)) != weights_hash(source)


def test_missing_files(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights\.json beside it; pass the timm name"):
        load_vit(saved)
    with pytest.raises(FileNotFoundError, match=r"no weights file .*nowhere\.pth"):
        load_small(tmp_path / "nowhere.pth")


def test_shipped_weights():
    vit = salvit.load_vit("salvit_tiny")
    images = torch.rand(2, 3, *vits.input_size(vit))
    assert vit(normalize(vit, images)).shape == (2, vit.num_classes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_244", r'no timm model "vit_tiny_patch16_244"; did you mean vit_tiny_patch16_224'),
        ("salvit_tny", "did you mean salvit_tiny"),
        ("qwertz", r"timm\.list_models"),
        ("vit_base_patch16_224.dinno", r'weights "dinno" of vit_base_patch16_224; there are: .*dino'),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        load_vit(name)


@pytest.fixture
def no_network(monkeypatch):
    session = Mock(head=Mock(side_effect=OSError("Name or service not known")))
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    download = Mock(side_effect=AssertionError("a download was tried without a network"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


@pytest.mark.parametrize("name", ["vit_base_patch16_224.dino", "hf-hub:timm/vit_base_patch16_224.dino"])
def test_no_network_and_no_cache(no_network, tmp_path, name):
    with pytest.raises(RuntimeError, match=rf'"{name}".* not known.*weights=path.*salvit_tiny'):
        load_vit(name, cache_dir=tmp_path)


def test_cached_weights_need_no_network(no_network, saved, source, monkeypatch):
    cached = Mock(return_value=str(saved))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    vit = load_vit(f"{NAME}.augreg_in21k_ft_in1k", img_size=32, patch_size=8, num_classes=7, **SMALL)
    assert cached.call_args.args == (f"timm/{NAME}.augreg_in21k_ft_in1k", "model.safetensors")
    assert torch.equal(vit.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)


def test_download_falls_back_to_the_older_format(saved, monkeypatch):
    download = Mock(side_effect=[huggingface_hub.errors.EntryNotFoundError("404"), str(saved)])
    monkeypatch.setattr(huggingface_hub, "get_session", Mock())
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    load_vit(NAME, img_size=32, patch_size=8, num_classes=7, **SMALL)
    assert [call.args[1] for call in download.call_args_list] == ["model.safetensors", "pytorch_model.bin"]


def test_normalisation_is_the_models_own():
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    dino = load_vit("vit_base_patch16_224.dino", pretrained=False, img_size=32, **SMALL)
    google = load_vit("vit_base_patch16_224.orig_in21k_ft_in1k", pretrained=False, img_size=32, **SMALL)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)
    torch.testing.assert_close(normalize(dino, images), (images - mean) / std)
    torch.testing.assert_close(normalize(google, images), images * 2 - 1)


NAFLEX = {"class_token": True, "pos_embed_grid_size": (2, 3)}


@pytest.mark.parametrize(
    ("name", "options", "fits", "refused", "message"),
    [
        (NAME, {}, (32, 64), (32, 40), r"32×40 pixels; .* multiples of the patch size 16×16$"),
        (NAME, {"dynamic_img_pad": True}, (32, 64), (32, 40), "a map would cover the padding as well"),
        (
            "beit_base_patch16_224",
            {"img_size": (32, 64)},
            (32, 64),
            (32, 48),
            r"32×48 pixels, this Beit takes only \(32, 64\).*img_size=",
        ),
        ("vit_tiny_r_s16_p8_224", {"img_size": 64}, (64, 128), (64, 80), "patch size 32×32"),
        ("vit_small_r26_s32_224", {"img_size": 64}, (64, 128), (64, 80), "patch size 32×32"),
        ("naflexvit_base_patch16_gap", NAFLEX, (32, 64), (40, 32), "multiples of the patch size 16×16"),
    ],
)
def test_patch_grid(name, options, fits, refused, message):
    """Of hybrids, the patch size is what the convolutions and the patches behind them make together."""
    options = options if "naflex" in name else {"img_size": 32, **options}
    vit = load_vit(name, pretrained=False, **options, **SMALL)
    assert patch_grid(vit, fits) == (2, 4)
    assert vit.forward_features(torch.randn(1, 3, *fits)).shape[1] == vits.num_prefix_tokens(vit) + 8
    with pytest.raises(ValueError, match=message):
        patch_grid(vit, refused)


def test_naflexvit():
    """Its patch embedding holds the class token, and the size it was built for is that of its grid."""
    vit = load_vit("naflexvit_base_patch16_gap", pretrained=False, **NAFLEX, **SMALL)
    assert (vits.num_prefix_tokens(vit), vits.has_class_token(vit)) == (5, True)
    assert vits.input_size(vit) == (32, 48)
    pooled = load_vit("naflexvit_base_patch16_gap", pretrained=False, **SMALL)
    assert (vits.num_prefix_tokens(pooled), vits.has_class_token(pooled)) == (4, False)


def test_tokens_and_heads():
    vit = load_vit("vit_small_patch14_reg4_dinov2", pretrained=False, img_size=28, **SMALL)
    assert (vits.num_prefix_tokens(vit), vits.has_class_token(vit)) == (5, True)
    assert vits.num_heads(vit) == 3
    assert vits.block_indices(vit, [-1, 0, 1]) == [1, 0, 1]
    pooled = load_vit("vit_base_patch16_siglip_224", pretrained=False, img_size=32, **SMALL)
    assert (vits.num_prefix_tokens(pooled), vits.has_class_token(pooled)) == (0, False)


def test_other_modules_are_refused_with_the_way_in():
    vit = timm.create_model(NAME, img_size=32, depth=1)
    as_peft_wraps = nn.ModuleDict({"base_model": nn.ModuleDict({"model": vit})})
    for module, message in (
        (nn.Linear(2, 2), r"^Linear is not a plain timm ViT .*salvit knows timm's alone"),
        (as_peft_wraps, r"pass its \.base_model\.model$"),
        (nn.DataParallel(vit), r"^DataParallel is the wrapper of a plain timm ViT: pass its \.module$"),
        (timm.create_model(NAME, img_size=32, features_only=True), r"^FeatureGetterNet .* pass its \.model$"),
    ):
        with pytest.raises(TypeError, match=message):
            vits.require_plain_vit(module)


def test_what_cannot_be_normalised():
    grey = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, in_chans=1)
    vits.normalize(grey, torch.full((2, 1, 32, 32), 1.1))  # as resizing may leave
    five = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, in_chans=5)
    for vit, images, error, message in (
        (grey, torch.rand(2, 3, 32, 32), ValueError, r"shape \[\.\.\., 1, H, W\]; got \[2, 3, 32, 32\]"),
        (five, torch.rand(2, 5, 32, 32), ValueError, "no mean and standard deviation of 5 channels"),
        (grey, [0.5], TypeError, "floats in .* got list"),
        (grey, torch.ones(1, 1, 8, 8).byte(), TypeError, r"uint8.*255"),
        (grey, torch.full((1, 1, 8, 8), 255.0), ValueError, "reach 255"),
    ):
        with pytest.raises(error, match=message):
            vits.normalize(vit, images)


def test_hash_sees_values_names_and_dtypes(source):
    digest, copied, changed = weights_hash(source), copy.deepcopy(source), copy.deepcopy(source)
    assert weights_hash(copied) == digest
    changed.norm.bias.data[0] += 1e-6
    for other in (copied.bfloat16(), changed, nn.Sequential(copy.deepcopy(source))):
        assert weights_hash(other) != digest


def test_hash_is_stable_over_runs():
    """A checkpoint made elsewhere names its backbone by this value."""
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
    assert weights_hash(layer) == "7d779ee7ab63f946e28cd8b730c0e0c305c927876ca451548de208cad2f28f32"


def test_import_is_light():
    code = "import salvit, sys; print(salvit.__version__, 'torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == [salvit.__version__, "False"]


def test_package_attributes():
    assert salvit.extractors.METHODS
    assert {"extract", "load_vit", "METHODS"} <= set(dir(salvit))
    with pytest.raises(AttributeError, match="no attribute 'extracts'"):
        salvit.extracts  # noqa: B018


@pytest.mark.parametrize(
    ("head", "classes"),
    [
        (nn.Linear(48, 3), 3),
        (nn.Sequential(nn.Sequential(nn.Linear(48, 9), nn.ReLU(), nn.Linear(9, 3)), nn.Identity()), 3),
        (timm.layers.Mlp(48, out_features=3), 3),
        (nn.Sequential(), 0),
    ],
)
def test_classes_are_those_of_the_head_that_is_there(head, classes):
    vit = load_vit(NAME, pretrained=False, img_size=32, **SMALL)
    vit.head = head.eval()
    assert vits.num_classes(vit) == classes


def test_a_model_that_reads_out_in_its_own_way_says_how_many_classes_it_has():
    class Own(VisionTransformer):
        def forward_head(self, x, pre_logits=False):
            return x[:, 0, :3]

    vit = Own(img_size=32, num_classes=3, **SMALL)
    vit.head = nn.Identity()
    assert vits.num_classes(vit) == 3
