import copy
import json
import subprocess
import sys
from pathlib import Path

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


def assert_same_weights(vit: VisionTransformer, source: VisionTransformer) -> None:
    assert weights_hash(vit) == weights_hash(source)


def test_loaded_model_is_frozen_and_the_same(saved, source):
    vit = load_small(saved)
    assert type(vit) is VisionTransformer
    assert not any(module.training for module in vit.modules())
    assert not any(parameter.requires_grad for parameter in vit.parameters())
    assert vit.num_classes == 7
    assert_same_weights(vit, source)
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
    assert_same_weights(load_small(path), source.half().float() if layout == "half" else source)


def test_position_embedding_is_resampled(saved):
    vit = load_small(saved, img_size=[32, 64])
    assert vits.input_size(vit) == (32, 64)
    assert vit.pos_embed.shape == (1, 1 + 4 * 8, 48)


def test_patches_of_another_size_are_not_resampled_unasked(source, tmp_path):
    path = tmp_path / "patches.pth"
    torch.save(source.state_dict(), path)
    options = {"img_size": 32, **SMALL}
    with pytest.raises(ValueError, match=r"patches of 8×8 pixels, this VisionTransformer of 16×16"):
        load_vit(NAME, weights=path, **options)
    assert load_vit(NAME, weights=path, patch_size=16, **options).patch_embed.proj.weight.shape[-1] == 16


def test_files_that_hold_no_tensors_say_what_they_hold(tmp_path):
    path = tmp_path / "nested.pth"
    torch.save({"target_encoder": {"module.cls_token": torch.zeros(1)}, "epoch": 3}, path)
    with pytest.raises(ValueError, match="what it holds: target_encoder, epoch"):
        load_small(path)


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
        (lambda state: state.pop("norm.weight"), r"VisionTransformer; missing: norm\.weight$"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected: extra$"),
        (
            lambda state: state.update({"norm.bias": torch.zeros(3)}),
            r"of another shape: norm\.bias \[3\] instead of \[48\]$",
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
        (
            "vit_tiny_patch16_224",
            "deit_tiny_distilled_patch16_224",
            r"unexpected: dist_token, head_dist\.weight",
        ),
        (
            "deit_tiny_distilled_patch16_224",
            "vit_tiny_patch16_224",
            r"missing: dist_token, head_dist\.weight",
        ),
        ("beit_base_patch16_224", "vit_tiny_patch16_224", r"missing: blocks\.0\.gamma_1"),
        ("vit_tiny_patch16_224", "convnext_atto", r"missing: cls_token, pos_embed"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_weights_of_another_architecture(tmp_path, name, of_another, problem):
    """timm converts what it takes for a form of the architecture, and fails in ways of its own where it is none."""
    small = {"pretrained": False, "img_size": 48, "depth": 1}
    path = tmp_path / "other.pth"
    sized = {} if of_another == "convnext_atto" else {"img_size": 48, "depth": 1}
    torch.save(timm.create_model(of_another, **sized).state_dict(), path)
    with pytest.raises(ValueError, match=rf"other\.pth does not hold the weights of this \w+; {problem}"):
        load_vit(name, weights=path, **small)


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


@pytest.mark.parametrize("content", [nn.Linear(2, 2), [torch.zeros(1)]], ids=["model", "list"])
def test_python_objects_in_a_file_say_what_to_save(tmp_path, content):
    torch.save(content, tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"Python object.* save the model's state_dict\(\), not the model$"):
        load_vit(NAME, weights=tmp_path / "whole.pth", depth=1)


def test_images_that_were_not_divided_are_not_normalised():
    vit = load_vit("vit_tiny_patch16_224", pretrained=False, depth=1)
    with pytest.raises(ValueError, match="reach 255"):
        normalize(vit, torch.full((1, 3, 8, 8), 255.0))
    normalize(vit, torch.full((1, 3, 8, 8), 1.1))  # as resizing may leave


def test_truncated_and_missing_files(saved, tmp_path):
    for suffix in (".safetensors", ".pth"):
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(saved.read_bytes()[:1000])
        with pytest.raises(ValueError, match=rf"cannot read .*broken{suffix}"):
            load_small(broken)
    with pytest.raises(FileNotFoundError, match=r"no weights file .*nowhere\.pth"):
        load_small(tmp_path / "nowhere.pth")


class Malicious:
    def __reduce__(self):
        return exec, ("raise SystemExit('code in a weights file was run')",)


def test_pickled_code_is_not_run(tmp_path):
    path = tmp_path / "malicious.pth"
    torch.save({"model": Malicious()}, path)
    with pytest.raises(
        ValueError, match=r"cannot read .*it holds Python objects \(.*run code: save the model's"
    ):
        load_small(path)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer.*`git lfs pull`"),
        ("<!DOCTYPE html>\n<title>404</title>", "a text file, which begins with '<!DOCTYPE html>'"),
        ("", "it is empty"),
    ],
)
def test_files_that_are_no_weights_are_told_apart(tmp_path, suffix, content, said):
    path = tmp_path / f"weights.{suffix}"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"cannot read .*weights.{suffix} .*: .*{said}"):
        load_small(path)


@pytest.fixture
def described(saved, source) -> Path:
    model = {"img_size": 32, "patch_size": 8, "num_classes": 7, **SMALL}
    content = {"model": model, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.25], "seed": 4}
    saved.with_suffix(".json").write_text(json.dumps(content))
    return saved


def test_weights_with_a_description(described, source):
    vit = load_vit(described)
    assert_same_weights(vit, source)
    assert vit.pretrained_cfg["seed"] == 4
    assert patch_grid(vit, (16, 48)) == (2, 6)
    grey = torch.full((1, 3, 2, 2), 0.6)
    expected = torch.tensor([1.0, 0.8, 1.2]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(normalize(vit, grey), expected)
    assert weights_hash(load_vit(described, pretrained=False)) != weights_hash(source)


def test_weights_without_a_description(saved):
    with pytest.raises(FileNotFoundError, match=r"no weights\.json beside it; pass the timm name"):
        load_vit(saved)


def test_shipped_name(described, source, monkeypatch):
    described.rename(described.with_name("salvit_tiny.safetensors"))
    described.with_suffix(".json").rename(described.with_name("salvit_tiny.json"))
    monkeypatch.setattr("salvit.vit.load._SHIPPED", described.parent)
    assert_same_weights(load_vit("salvit_tiny"), source)


def test_shipped_weights():
    if not (Path(salvit.__file__).parent / "weights" / "salvit_tiny.safetensors").exists():
        pytest.skip("this checkout has no trained salvit_tiny")
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


class NoNetwork:
    def head(self, *_, **__):
        raise OSError("Name or service not known")


@pytest.fixture
def no_network(monkeypatch):
    def fail(*_, **__):
        pytest.fail("a download was tried without a network")

    monkeypatch.setattr(huggingface_hub, "get_session", NoNetwork)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)


@pytest.mark.parametrize("name", ["vit_base_patch16_224.dino", "hf-hub:timm/vit_base_patch16_224.dino"])
def test_no_network_and_no_cache(no_network, tmp_path, name):
    with pytest.raises(RuntimeError, match=rf'"{name}".* not known.*weights=path.*salvit_tiny'):
        load_vit(name, cache_dir=tmp_path)


def test_cached_weights_need_no_network(no_network, saved, source, monkeypatch):
    asked = []

    def cached(repository, file, cache_dir):
        asked.append((repository, file))
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    vit = load_vit(f"{NAME}.augreg_in21k_ft_in1k", img_size=32, patch_size=8, num_classes=7, **SMALL)
    assert asked == [(f"timm/{NAME}.augreg_in21k_ft_in1k", "model.safetensors")]
    assert torch.equal(vit.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)


def test_download_falls_back_to_the_older_format(saved, monkeypatch):
    tried = []

    def download(repository, file, cache_dir):
        tried.append(file)
        if file == "model.safetensors":
            raise huggingface_hub.errors.EntryNotFoundError("404")
        return str(saved)

    class Network:
        def head(self, *_, **__):
            return None

    monkeypatch.setattr(huggingface_hub, "get_session", Network)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    load_vit(NAME, img_size=32, patch_size=8, num_classes=7, **SMALL)
    assert tried == ["model.safetensors", "pytorch_model.bin"]


def test_normalisation_is_the_models_own():
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    dino = load_vit("vit_base_patch16_224.dino", pretrained=False, img_size=32, **SMALL)
    google = load_vit("vit_base_patch16_224.orig_in21k_ft_in1k", pretrained=False, img_size=32, **SMALL)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)
    torch.testing.assert_close(normalize(dino, images), (images - mean) / std)
    torch.testing.assert_close(normalize(google, images), images * 2 - 1)
    with pytest.raises(TypeError, match=r"uint8.*255"):
        normalize(dino, (images * 255).byte())


def test_fixed_size_model_refuses_another_size():
    vit = load_vit("beit_base_patch16_224", pretrained=False, img_size=32, **SMALL)
    assert patch_grid(vit, (32, 32)) == (2, 2)
    with pytest.raises(ValueError, match=r"32×48 pixels, this Beit takes only \(32, 32\).*img_size="):
        patch_grid(vit, (32, 48))


def test_patch_grid_checks_divisibility(source):
    vit = load_vit(NAME, pretrained=False, img_size=32, **SMALL)
    with pytest.raises(ValueError, match=r"32×40 pixels.*multiples of the patch size 16×16"):
        patch_grid(vit, (32, 40))
    padding = load_vit(NAME, pretrained=False, img_size=32, dynamic_img_pad=True, **SMALL)
    assert patch_grid(padding, (32, 48)) == (2, 3)
    with pytest.raises(ValueError, match="a map would cover the padding as well"):
        patch_grid(padding, (32, 40))


def test_tokens_heads_and_blocks():
    vit = load_vit("vit_small_patch14_reg4_dinov2", pretrained=False, img_size=28, **SMALL)
    assert (vits.num_prefix_tokens(vit), vits.has_class_token(vit)) == (5, True)
    assert (vits.num_heads(vit), vits.num_blocks(vit)) == (3, 2)
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


def test_a_model_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        vit = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1).eval()
    with pytest.raises(ValueError, match=r"made in torch\.inference_mode"):
        vits.require_frozen_vit(vit)


def test_what_cannot_be_normalised():
    grey = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, in_chans=1)
    assert vits.normalize(grey, torch.rand(2, 1, 32, 32)).shape == (2, 1, 32, 32)
    five = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, in_chans=5)
    for vit, images, error, message in (
        (grey, torch.rand(2, 3, 32, 32), ValueError, r"shape \[\.\.\., 1, H, W\]; got \[2, 3, 32, 32\]"),
        (five, torch.rand(2, 5, 32, 32), ValueError, "no mean and standard deviation of 5 channels"),
        (grey, [0.5], TypeError, "floats in .* got list"),
    ):
        with pytest.raises(error, match=message):
            vits.normalize(vit, images)


def test_naflexvit():
    """Its patch embedding holds the class token and takes any size; the size it was built for is that of its grid."""
    name, options = (
        "naflexvit_base_patch16_gap",
        {"class_token": True, "pos_embed_grid_size": (2, 3), **SMALL},
    )
    vit = load_vit(name, pretrained=False, **options)
    assert (vits.num_prefix_tokens(vit), vits.has_class_token(vit)) == (5, True)
    assert vits.input_size(vit) == (32, 48)
    assert patch_grid(vit, (64, 32)) == (4, 2)
    assert vit.forward_features(torch.randn(1, 3, 64, 32)).shape == (1, 13, 48)
    with pytest.raises(ValueError, match="multiples of the patch size 16×16"):
        patch_grid(vit, (40, 32))
    pooled = load_vit(name, pretrained=False, **SMALL)
    assert (vits.num_prefix_tokens(pooled), vits.has_class_token(pooled)) == (4, False)


@pytest.mark.parametrize("name", ["vit_tiny_r_s16_p8_224", "vit_small_r26_s32_224"])
def test_grid_of_a_hybrid(name):
    """The patch size is what the convolutions before the patches and the patches make together."""
    vit = load_vit(name, pretrained=False, img_size=64, **SMALL)
    assert patch_grid(vit, (64, 128)) == (2, 4)
    assert vit.patch_embed(torch.randn(1, 3, 64, 128)).shape[1:3] == (2, 4)
    with pytest.raises(ValueError, match="multiples of the patch size 32×32"):
        patch_grid(vit, (64, 80))


def test_hash_sees_values_names_and_dtypes(source):
    digest = weights_hash(source)
    assert len(digest) == 64
    same = copy.deepcopy(source)
    assert weights_hash(same) == digest
    assert weights_hash(same.bfloat16()) != digest
    changed = copy.deepcopy(source)
    with torch.no_grad():
        changed.norm.bias[0] += 1e-6
    assert weights_hash(changed) != digest
    assert weights_hash(nn.Sequential(copy.deepcopy(source))) != digest


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
        (nn.Sequential(nn.Linear(48, 9), nn.ReLU(), nn.Linear(9, 3)), 3),
        (nn.Sequential(nn.Linear(48, 3), nn.Identity()), 3),
        (nn.Sequential(nn.Sequential(nn.Dropout(), nn.Linear(48, 3)), nn.Flatten(1)), 3),
        (timm.layers.Mlp(48, out_features=3), 3),
        (nn.Identity(), 0),
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
