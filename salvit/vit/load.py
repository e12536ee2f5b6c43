"""Load a frozen ViT: from timm, from a weights file, or the one in the package."""

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm

from salvit.errors import InvalidValueError, MissingFileError, UnavailableError
from salvit.vit.checkpoints import load_checkpoint
from salvit.vit.hub import fetch_weights, require_hub
from salvit.vit.images import input_size
from salvit.vit.plain import ViT, require_plain_name, require_plain_vit
from salvit.vit.variants import build_vit

_CONFIGS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay")
_OTHER_WEIGHTS = ("cache_dir", "checkpoint_path", *_CONFIGS, "weights")
_LAYOUT = '{"model": {arguments of the model}, "mean": […], "std": […]}'


def read_description(path: Path) -> dict[str, Any]:
    """Return the content of a weights file's JSON description, checked as far as possible without the model.

    Raises:
        ValueError: if it is no JSON object or lacks "model", if "model" names other weights, or if "mean", "std" or
            "label_names" are wrong; the message names the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "vit.json")
        >>> _ = path.write_text('{"model": {"depth": 2}, "std": [0.5, 0.5, 0.5]}')
        >>> read_description(path)["std"]
        [0.5, 0.5, 0.5]
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:  # of JSON, or of its characters
        raise InvalidValueError(f"{path} is not JSON ({error}); it should be like {_LAYOUT}") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InvalidValueError(f'{path} must be a JSON object with "model" in it, like {_LAYOUT}')
    if others := [key for key in _OTHER_WEIGHTS if key in content["model"]]:
        raise InvalidValueError(
            f'{path}: "model" names other weights ({", ".join(others)}); a description is of the weights beside it'
        )
    for key, least, kind in (("mean", -math.inf, ""), ("std", 0.0, "positive ")):
        values = content.get(key)
        numbers = values if isinstance(values, list) else []
        fits = [isinstance(one, int | float) and least < one < math.inf for one in numbers]
        if values is not None and not (fits and all(fits)):
            raise InvalidValueError(
                f'{path}: "{key}" must be a list of {kind}numbers, one per channel; got {values}'
            )
    names = content.get("label_names") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidValueError(f'{path}: "label_names" must be a list of names, one per class; got {names}')
    return content


_SHIPPED = Path(__file__).parents[1] / "weights"
_WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
_SUPPLY = (
    "get the file where there is a network and pass it (load_vit(name, weights=path), --model.weights FILE, or "
    '`salvit explain --weights FILE`), or take "salvit_tiny", which comes with the package'
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
            `{"model": {arguments of salvit.vit.build_vit}, "mean": […], "std": […]}`, or one made of a timm model:
            `{"vit": name, "model": {"num_classes": …}, …}`.
        weights: a local safetensors or torch file to load instead of the model's published weights. `normalize` goes
            by the name, so give the tag that the weights belong to (".dino", ".mae").
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
        >>> from salvit.vit import input_size, load_vit, patch_grid
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
        path = Path(weights)
        description = path.with_suffix(".json")
        if description.is_file() and Path(name).resolve() != path.resolve():
            warnings.warn(
                f"{description} is not read, as the model is given by the name {name}, whose mean and standard "
                f"deviation are taken: to go by that file, give {path} as the model",
                stacklevel=2,
            )
        head, patches = "num_classes" not in kwargs, "patch_size" in kwargs
        load_checkpoint(vit, path, resize_head=head, resize_patches=patches)
    return vit.requires_grad_(False).eval()


def _from_description(path: Path, kwargs: dict[str, Any]) -> ViT:
    description = path.with_suffix(".json")
    if not path.is_file():
        raise MissingFileError(f"no weights file {path}")
    if not description.is_file():
        raise MissingFileError(
            f"{path} says nothing about the architecture and there is no {description.name} beside it; "
            f'pass the timm name: load_vit("vit_base_patch16_224", weights="{path}")'
        )
    content = read_description(description)
    arguments = {"dynamic_img_size": True, **content.pop("model"), **kwargs}
    name = content.pop("vit", None)
    try:
        vit = load_vit(name, pretrained=False, **arguments) if name else build_vit(**arguments)
    except TypeError as error:
        raise InvalidValueError(f'{description}: "model" does not fit the architecture: {error}') from error
    vit.pretrained_cfg = {"architecture": path.stem, "input_size": (3, *input_size(vit)), **content}
    return vit


def _from_timm(name: str, pretrained: bool, kwargs: dict[str, Any]) -> ViT:
    overlay: dict[str, Any] = {}
    try:
        if name.startswith("hf-hub:"):
            require_hub(name.removeprefix("hf-hub:"), kwargs.get("cache_dir"))
        elif ":" not in name:  # "local-dir:…" is timm's to resolve
            require_plain_name(name)
            file = fetch_weights(name, kwargs.get("cache_dir")) if pretrained else None
            overlay = {} if file is None else {"pretrained_cfg_overlay": {"file": file, "custom_load": False}}
        return _create(name, pretrained=pretrained, **overlay, **kwargs)
    except OSError as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UnavailableError(
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
