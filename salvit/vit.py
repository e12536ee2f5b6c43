"""Plain timm ViTs: loading them frozen, with their own normalisation, and asking about their tokens."""

import difflib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import is_model_in_modules, model_entrypoint
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

from salvit.checkpoints import load_checkpoint
from salvit.description import read_description
from salvit.hub import fetch_weights, require_hub
from salvit.walk import modules_of, parameters_of

ViT: TypeAlias = VisionTransformer | VisionTransformerRelPos | Beit | Eva | NaFlexVit

_TIMM_MODULES = (
    "beit",
    "deit",
    "eva",
    "naflexvit",
    "vision_transformer",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "vitamin",
)
_NO_MAP = "hierarchical, convolutional and MLP models have no one attention map over all patches per block"
_MULTIMODAL = (
    "it is the image part of a language model, whose blocks timm puts into an encoder of its own form"
)
# By timm's module: what keeps those from being plain whose blocks do not shrink the grid.
_NOT_PLAIN = {
    "cait": "CaiT's patches and class token attend in blocks of different kinds, with heads mixed after the softmax",
    "convit": "ConViT mixes attention with a learned map of positions in most of its blocks",
    "crossvit": "CrossViT has two streams of patches of different sizes",
    "deepseek_vit": _MULTIMODAL,
    "gemma4_vit": _MULTIMODAL,
    "qwen3_vit": _MULTIMODAL,
    "tnt": "TNT attends among the pixels of each patch beside attending among patches",
    "vision_transformer_sam": "SAM's image encoder attends within windows in most of its blocks",
    "xcit": "XCiT attends among channels, not among patches",
}
_SHIPPED = Path(__file__).parent / "weights"
_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
_SUPPLY = (
    "get the file where there is a network and pass it (load_vit(name, weights=path), --model.weights FILE, or "
    "`salvit explain --weights FILE`), or take "
    '"salvit_tiny", which comes with the package'
)


def load_vit(
    name_or_path: str | Path,
    *,
    weights: str | Path | None = None,
    pretrained: bool = True,
    img_size: int | Sequence[int] | None = None,
    **kwargs: Any,
) -> ViT:
    """Load a plain timm ViT, frozen and in eval mode.

    Models that can are built with `dynamic_img_size`, so that they take any input whose sides are multiples
    of the patch size. A local checkpoint may be nested or prefixed as training code leaves it; its classifier
    head replaces the model's whatever its size, unless `num_classes` is given, and without one the model has
    none.

    Args:
        name_or_path: a timm name ("vit_base_patch16_224.dino"), "salvit_tiny" (ships with the package), or a
            weights file with its architecture in a JSON file of the same stem:
            `{"model": {VisionTransformer arguments}, "mean": […], "std": […]}`, or one made of a timm model:
            `{"vit": name, "model": {"num_classes": …}, …}`.
        weights: a local safetensors or torch file to load instead of the model's published weights.
        pretrained: False for random weights.
        img_size: input size, (height, width) if not square, for which position embeddings are resampled; the
            model's own by default.
        **kwargs: further arguments of the timm model.

    Returns:
        The timm model itself, no parameter requiring a gradient.

    Raises:
        ValueError: if there is no such model, it is not a plain ViT, or the weights do not fit it.
        FileNotFoundError: if a file is missing.
        RuntimeError: if published weights are neither cached nor reachable.

    Example:
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> vit.training, input_size(vit), patch_grid(vit, (32, 64))
        (False, (32, 32), (2, 4))
    """
    name = str(name_or_path)
    if img_size is not None:
        kwargs["img_size"] = img_size if isinstance(img_size, int) else tuple(img_size)
    if name == "salvit_tiny":
        name = str(_SHIPPED / "salvit_tiny.safetensors")
    if name.endswith(_WEIGHT_SUFFIXES):
        vit, published = _from_description(Path(name), kwargs), Path(name)
        weights = weights or (published if pretrained else None)
    else:
        vit = _from_timm(name, pretrained and weights is None, kwargs)
    if weights is not None:
        load_checkpoint(vit, Path(weights), resize_head="num_classes" not in kwargs)
    return vit.requires_grad_(False).eval()


def _from_description(path: Path, kwargs: dict[str, Any]) -> ViT:
    description = path.with_suffix(".json")
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    if not description.is_file():
        raise FileNotFoundError(
            f"{path} says nothing about the architecture and there is no {description.name} beside it; "
            f'pass the timm name: load_vit("vit_base_patch16_224", weights="{path}")'
        )
    content = read_description(description)
    arguments = {"dynamic_img_size": True, **content.pop("model"), **kwargs}
    name = content.pop("vit", None)
    try:
        vit = (
            VisionTransformer(**arguments) if name is None else load_vit(name, pretrained=False, **arguments)
        )
    except TypeError as error:
        raise ValueError(f'{description}: "model" does not fit the architecture: {error}') from error
    vit.pretrained_cfg = {"architecture": path.stem, "input_size": (3, *input_size(vit)), **content}
    return vit


def _from_timm(name: str, pretrained: bool, kwargs: dict[str, Any]) -> ViT:
    overlay: dict[str, Any] = {}
    try:
        if name.startswith("hf-hub:"):
            require_hub(name.removeprefix("hf-hub:"), kwargs.get("cache_dir"))
        elif ":" not in name:  # "local-dir:…" is timm's to resolve
            _require_known(name)
            file = fetch_weights(name, kwargs.get("cache_dir")) if pretrained else None
            overlay = {} if file is None else {"pretrained_cfg_overlay": {"file": file, "custom_load": False}}
        return _create(name, pretrained=pretrained, **overlay, **kwargs)
    except OSError as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise RuntimeError(
            f'no weights for "{name}" in the local cache, and no download ({reason}); {_SUPPLY}'
        ) from error


def _create(name: str, **kwargs: Any) -> ViT:
    try:
        vit = timm.create_model(name, **{"dynamic_img_size": True, **kwargs})
    except TypeError as error:
        if "dynamic_img_size" not in str(error) or "dynamic_img_size" in kwargs:
            raise
        vit = timm.create_model(name, **kwargs)
    return require_plain_vit(vit)


def _require_known(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models(module=list(_TIMM_MODULES))
        close = difflib.get_close_matches(architecture, [*known, "salvit_tiny"], n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; see timm.list_models()"
        raise ValueError(f'no timm model "{name}"{hint}')
    if not is_model_in_modules(architecture, _TIMM_MODULES):
        raise ValueError(
            f'"{name}" is not a plain ViT: {_reason(model_entrypoint(architecture))}; take one such as '
            "vit_base_patch16_224.dino"
        )
    tags = [full.partition(".")[2] for full in timm.list_models(f"{architecture}.*", pretrained=True)]
    if tag and tag not in tags:
        raise ValueError(
            f'no pretrained weights "{tag}" of {architecture}; there are: {", ".join(tags) or "none"}'
        )


def _reason(model: Callable[..., Any]) -> str:
    if not model.__module__.startswith("timm."):
        return "salvit knows timm's alone"
    return _NOT_PLAIN.get(model.__module__.rpartition(".")[2], _NO_MAP)


def require_plain_vit(vit: ViT) -> ViT:
    """Return the model if it is a plain timm ViT.

    Args:
        vit: any model.

    Returns:
        The same model.

    Raises:
        TypeError: if it is compiled, hierarchical, or no timm ViT at all.
    """
    if isinstance(vit, nn.Module) and any(map(_is_compiled, modules_of(vit))):
        raise TypeError(
            "a compiled model cannot be looked into: pass the model as it was before torch.compile"
        )
    if not isinstance(vit, ViT):
        parts = vit.named_children() if isinstance(vit, nn.Module) else ()
        for name, module in parts:
            if isinstance(module, ViT):
                part = f"[{name}]" if name.isdecimal() else f".{name}"
                raise TypeError(f"{type(vit).__name__} is the wrapper of a plain timm ViT: pass its {part}")
        raise TypeError(
            f"{type(vit).__name__} is not a plain timm ViT (timm's VisionTransformer, VisionTransformerRelPos, "
            f"Beit, Eva or NaFlexVit): {_reason(type(vit))}; load one with load_vit"
        )
    return vit


def _is_compiled(module: nn.Module) -> bool:
    """Whether it is the wrapper that torch.compile makes, was compiled in place, or had its forward compiled."""
    # Not by hasattr on the module, which costs as much as a small layer where there is no such attribute.
    own = vars(module)
    return (
        "_orig_mod" in module._modules
        or own.get("_compiled_call_impl") is not None
        or ("forward" in own and hasattr(own["forward"], "_torchdynamo_orig_callable"))
    )


def require_frozen_vit(vit: ViT) -> None:
    """Raise unless the model is a plain timm ViT in eval mode.

    Args:
        vit: the model.

    Raises:
        TypeError: if it is not a plain timm ViT, or is compiled.
        ValueError: if it or a part of it is in training mode, or it was made in inference mode.
    """
    require_plain_vit(vit)
    if any(module.training for module in modules_of(vit)):
        raise ValueError(
            "the model is in training mode, where dropout makes maps random: call vit.eval() first"
        )
    if any(parameter.is_inference() for parameter in parameters_of(vit)):
        raise ValueError(
            "the model was made in torch.inference_mode(), where nothing can be differentiated: make it outside"
        )


def require_class_token(vit: ViT, what: str, remedy: str = "use a model with one") -> None:
    """Raise if the model has no class token.

    Args:
        vit: a plain timm ViT.
        what: what needs the token, for the message.
        remedy: what to do instead, for the message.

    Raises:
        ValueError: if it has none.
    """
    if not has_class_token(vit):
        raise ValueError(f"{what} needs a class token, and this {type(vit).__name__} has none: {remedy}")


def has_class_token(vit: ViT) -> bool:
    """Return whether token 0 is a class token.

    Args:
        vit: a plain timm ViT.
    """
    holder = vit.embeds if isinstance(vit, NaFlexVit) else vit
    return getattr(holder, "cls_token", None) is not None


def num_classes(vit: ViT) -> int:
    """Return how many classes the classifier tells apart, 0 if there is none.

    The head that is there counts, by the last of its layers that has a width, and not `vit.num_classes`, which stays
    as it was after `vit.head = nn.Linear(…)`.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32)
        >>> vit.head = nn.Linear(192, 5)
        >>> num_classes(vit), vit.num_classes
        (5, 1000)
    """
    widths = [int(layer.out_features) for layer in vit.head.modules() if hasattr(layer, "out_features")]
    if widths:
        return widths[-1]
    passes_on = all(type(layer) in (nn.Identity, nn.Sequential) for layer in vit.head.modules())
    return 0 if passes_on and reads_out_as_timm(vit) else int(vit.num_classes)


def reads_out_as_timm(vit: ViT) -> bool:
    """Return whether the way from tokens to logits is timm's own, not one of a derived class.

    Args:
        vit: a plain timm ViT.
    """
    return type(vit).forward_head.__module__.startswith("timm.") and "forward_head" not in vars(vit)


def num_prefix_tokens(vit: ViT) -> int:
    """Return how many tokens (class, distillation, registers) come before the patches.

    Args:
        vit: a plain timm ViT.
    """
    return int(vit.num_prefix_tokens)


def tokens_read(vit: ViT) -> int | None:
    """Return how many tokens, counted from the first, the classifier reads, or None if it pools patches.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> tokens_read(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32))
        1
    """
    if isinstance(vit, VisionTransformerDistilled):
        return 2
    return 1 if has_class_token(vit) and vit.global_pool == "token" else None


def num_blocks(vit: ViT) -> int:
    """Return the number of transformer blocks.

    Args:
        vit: a plain timm ViT.
    """
    return len(vit.blocks)


def num_heads(vit: ViT) -> int:
    """Return the number of attention heads of a block, those of attentions side by side taken together.

    Args:
        vit: a plain timm ViT.
    """
    modules: list[Any] = attention_modules(vit, -1)
    return sum(int(module.num_heads) for module in modules)


def attention_modules(vit: ViT, block: int) -> list[nn.Module]:
    """Return the modules that compute a block's attention; where MLP and attention are one, the block itself.

    There is more than one only where a block has several attentions side by side (timm's `18x2` models).

    Args:
        vit: a plain timm ViT.
        block: index, negative ones counting from the last block.
    """
    return [module for module in modules_of(vit.blocks[block]) if "fused_attn" in vars(module)]


def require_attention(vit: ViT, block: int, what: str) -> None:
    """Raise unless a block has attention of timm's.

    Args:
        vit: a plain timm ViT.
        block: index, negative ones counting from the last block.
        what: what needs it, for the message.

    Raises:
        IndexError: if there is no such block.
        ValueError: if its attention is not one of timm's, or several blocks share one.
    """
    [index] = block_indices(vit, [block])
    _require_attention_of_its_own(vit, what, [index])
    if not attention_modules(vit, index):
        raise ValueError(
            f"{what} needs timm's attention, and block {index} of this {type(vit).__name__} "
            f"({type(vit.blocks[index]).__name__}) has none"
        )


def _require_attention_of_its_own(vit: ViT, what: str, blocks: Iterable[int]) -> None:
    users = Counter(module for block in range(len(vit.blocks)) for module in attention_modules(vit, block))
    if any(users[module] > 1 for block in blocks for module in attention_modules(vit, block)):
        raise ValueError(
            f"{what} needs the attention of each block, and blocks of this {type(vit).__name__} are, or share, one "
            "and the same module, which does not tell when it is which"
        )


def require_attention_maps(vit: ViT, what: str) -> None:
    """Raise unless every block has attention whose rows are probabilities.

    Args:
        vit: a plain timm ViT.
        what: what needs the maps, for the message.

    Raises:
        ValueError: if a block's attention is differential or not one of timm's, where the message names the
            block, or several blocks are, or share, one and the same.
    """
    _require_attention_of_its_own(vit, what, range(len(vit.blocks)))
    for block in range(len(vit.blocks)):
        modules = attention_modules(vit, block)
        # The one attribute that timm's DiffAttention and DiffParallelScalingBlock share.
        if any(hasattr(module, "lambda_init") for module in modules):
            raise ValueError(
                f"{what} needs attention maps, and block {block} of this {type(vit).__name__} subtracts one map "
                "from another (differential attention), neither of which is the block's"
            )
        if not modules:
            require_attention(vit, block, what)


def block_indices(vit: ViT, blocks: Iterable[int]) -> list[int]:
    """Return block indices counted from the first block.

    Args:
        vit: a plain timm ViT.
        blocks: indices, negative ones counting from the last block.

    Raises:
        TypeError: if an index is not an integer.
        IndexError: if there is no such block.
    """
    depth = len(vit.blocks)
    indices = list(blocks)
    for block in indices:
        if not isinstance(block, int) or isinstance(block, bool):
            raise TypeError(f"a block is an integer, negative ones counting from the last; got {block!r}")
        if not -depth <= block < depth:
            raise IndexError(
                f"there is no block {block}: the model has {depth} blocks, 0 … {depth - 1} or -{depth} … -1"
            )
    return [block % depth for block in indices]


def input_size(vit: ViT) -> tuple[int, int]:
    """Return the (height, width) in pixels the model was built for.

    Args:
        vit: a plain timm ViT.
    """
    embed = _patch_embedding(vit)
    if isinstance(vit, NaFlexVit):
        rows, columns = embed.pos_embed_grid_size or (16, 16)
        return int(rows * embed.patch_size[0]), int(columns * embed.patch_size[1])
    height, width = embed.img_size
    return int(height), int(width)


def patch_grid(vit: ViT, images: Tensor | Sequence[int]) -> tuple[int, int]:
    """Return the patch grid (rows, columns) of an input.

    Args:
        vit: a plain timm ViT.
        images: a tensor [..., H, W], or the size (H, W) in pixels.

    Raises:
        ValueError: if the model cannot take an input of that size.
    """
    height, width = images.shape[-2:] if isinstance(images, Tensor) else images
    embed = _patch_embedding(vit)
    if getattr(embed, "strict_img_size", False) and (height, width) != input_size(vit):
        raise ValueError(
            f"the input is {height}×{width} pixels, this {type(vit).__name__} takes only {input_size(vit)}: "
            "resize the input, or load the model with img_size=(height, width), or, where it has that option, with "
            "dynamic_img_size=True as salvit.load_vit does"
        )
    patch_height, patch_width = embed.feat_ratio(as_scalar=False)
    if height % patch_height or width % patch_width or not height or not width:
        padded = ", also where the model would pad it: a map would cover the padding as well"
        raise ValueError(
            f"the input is {height}×{width} pixels; its sides must be multiples of the patch size "
            f"{patch_height}×{patch_width}{padded if embed.dynamic_img_pad else ''}"
        )
    rows, columns = embed.dynamic_feat_size((height, width))
    return int(rows), int(columns)


def _patch_embedding(vit: ViT) -> Any:
    return vit.embeds if isinstance(vit, NaFlexVit) else vit.patch_embed


def once_a_pass(vit: ViT) -> list[nn.Module]:
    """Return parts that run once in every pass: the patch embedding, and the first block if it is no other as well.

    Args:
        vit: a plain timm ViT.
    """
    first = vit.blocks[0]
    return [_patch_embedding(vit), *([first] if [*vit.blocks].count(first) == 1 else [])]


def in_channels(vit: ViT) -> int:
    """Return how many channels the model's images have; 3 for all of timm's weights.

    Args:
        vit: a plain timm ViT.
    """
    return int(getattr(vit, "in_chans", 3))


def normalize(vit: ViT, images: Tensor) -> Tensor:
    """Normalise RGB images with the mean and standard deviation the model was trained with.

    Args:
        vit: a plain timm ViT.
        images: float [..., 3, H, W] in [0, 1], or of as many channels as the model takes.

    Returns:
        A tensor of the same shape, dtype and device.

    Raises:
        TypeError: if the images are not a tensor of floats.
        ValueError: if they have another number of channels than the model's input, or values above 2 (a little
            above 1 are what resizing may leave).
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be floats in [0, 1]; got {kind} (divide 8-bit values by 255)")
    if images.numel() and images.max() > 2:
        raise ValueError(
            f"images must be floats in [0, 1]; these reach {float(images.max()):g} (divide by 255?)"
        )
    channels = in_channels(vit)
    if images.ndim < 3 or images.shape[-3] != channels:
        raise ValueError(f"images must have shape [..., {channels}, H, W]; got {list(images.shape)}")
    config = resolve_model_data_config(vit)
    if len(config["mean"]) < channels:
        raise ValueError(
            f"the model's configuration has no mean and standard deviation of {channels} channels"
        )
    mean, std = (images.new_tensor(config[key][:channels]).view(-1, 1, 1) for key in ("mean", "std"))
    return (images - mean) / std


def weights_hash(vit: ViT) -> str:
    """Return the SHA-256 of a model's weights: names, shapes, dtypes and values, on whatever device they are.

    Args:
        vit: any module.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(vit.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def describe_vit(vit: ViT) -> dict[str, Any]:
    """Describe a model in plain values: equal descriptions, equal maps.

    Args:
        vit: a plain timm ViT.

    Example:
        >>> describe_vit(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32))["num_heads"]
        3
    """
    config = resolve_model_data_config(vit)
    return {
        "weights_sha256": weights_hash(vit),
        "class": type(vit).__name__,
        "modules": hashlib.sha256(repr(vit).encode()).hexdigest(),
        "num_heads": num_heads(vit),
        "input_size": list(input_size(vit)),
        "global_pool": str(vit.global_pool),
        "mean": list(config["mean"]),
        "std": list(config["std"]),
    }
