"""Weights files of many origins, loaded into a timm ViT without a key left over."""

import pickle
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from timm.models import clean_state_dict, load_state_dict
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from salvit.errors import InvalidValueError, MissingFileError

_PATCHES = "patch_embed.proj.weight"
_NESTED_UNDER = ("teacher", "model", "state_dict")
_PRETRAINING_ONLY = ("decoder_", "mask_token")
_UNREADABLE = (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, AttributeError)


def load_checkpoint(
    vit: nn.Module, path: Path, *, resize_head: bool = True, resize_patches: bool = False
) -> None:
    """Load a weights file into a timm ViT; every parameter must be in it, and nothing else.

    Nesting (`teacher`, `state_dict`), prefixes (`module.backbone.`), the decoder of masked autoencoders, other position
    grids and the original formats that timm converts are handled. Values take the model's dtype.

    Args:
        vit: a timm ViT, changed in place.
        path: a safetensors file, or a torch file of plain tensors (nothing else is unpickled).
        resize_head: give the model the classifier of the file; if the file has none, the model is left without one,
            with a warning.
        resize_patches: resample the patch embedding for another patch size, as FlexiViT is made for.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, its patches are of another size, or its keys or shapes are not the model's.
    """
    state = _read(path)
    if not resize_patches:
        _require_same_patches(vit, state, path)
    state = _converted(vit, state, path)
    state = {key: value for key, value in state.items() if not key.startswith(_PRETRAINING_ONLY)}
    classes = len(state.get("head.weight", ()))
    had_head = bool(vit.num_classes)
    if resize_head and classes != vit.num_classes:
        vit.reset_classifier(classes)  # type: ignore[operator]
    _require_match(vit, state, path)
    if had_head and not vit.num_classes:
        warnings.warn(f"{path} has no classifier head: the model gives features, not logits", stacklevel=3)
    vit.load_state_dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise MissingFileError(f"no weights file {path}")
    try:
        # `weights_only` is not the default of every timm.
        content: dict[str, Any] = load_state_dict(str(path), weights_only=True)
    except _UNREADABLE as error:
        raise InvalidValueError(
            f"cannot read {path} as safetensors or as a torch file of tensors: {why_unreadable(path, error)}"
        ) from error
    for key in _NESTED_UNDER:
        if isinstance(content.get(key), dict):
            content = clean_state_dict(content[key])
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not state:
        entries = _shorten(list(map(str, content)))
        raise InvalidValueError(
            f"{path} holds no tensors by name; what it holds: {entries}. Save the one that has the weights"
        )
    # The patch embedding marks the backbone, so a projection head beside it (DINO) goes with the prefix.
    prefixes = [key.removesuffix(_PATCHES) for key in state if key.endswith(_PATCHES)]
    prefix = prefixes[0] if len(prefixes) == 1 else ""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def why_unreadable(path: Path, error: Exception) -> str:
    """Return the reason why reading a file with `weights_only=True` raised an error.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "vit.pth")
        >>> _ = path.write_text("404: Not Found")
        >>> why_unreadable(path, EOFError())
        "it is a text file, which begins with '404: Not Found'"
    """
    with path.open("rb") as file:
        start = file.read(200)
    if not start:
        return "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself: run `git lfs pull` in the repository that it comes from"
    if all(byte >= 32 or byte in b"\t\n\r" for byte in start):
        text = start.decode(errors="replace").strip().partition("\n")[0]
        return f"it is a text file, which begins with {text[:60]!r}"
    objects: list[str] = []
    with suppress(Exception):  # torch has many errors for files that are damaged, and none that says so
        objects = get_unsafe_globals_in_checkpoint(path)
    if objects or isinstance(error, AttributeError):  # AttributeError: a single object without names
        what = f"Python objects ({_shorten(objects)})" if objects else "a Python object"
        return (
            f"it holds {what}, and loading these would run code: save the model's state_dict(), not the model"
        )
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _require_same_patches(vit: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Raise if patches are of another size: timm would resample them, and make a model that nobody trained."""
    kernels = [weights[_PATCHES] for weights in (state, vit.state_dict()) if _PATCHES in weights]
    sizes = ["×".join(map(str, kernel.shape[2:])) for kernel in kernels if kernel.ndim == 4]
    if len(set(sizes)) > 1:
        there, here = sizes
        raise InvalidValueError(
            f"{path} has patches of {there} pixels, this {type(vit).__name__} of {here}: take the architecture with "
            "that patch size"
        )


def _converted(vit: nn.Module, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    convert = getattr(sys.modules[type(vit).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        converted: dict[str, Tensor] = convert(state, vit)
    # timm takes what is in the file for a form of this architecture, and fails on others in as many ways as there are.
    except Exception as error:
        _require_match(vit, state, path)
        raise InvalidValueError(
            f"{path} does not hold the weights of this {type(vit).__name__}: {error}"
        ) from error
    return converted


def _require_match(vit: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    expected = vit.state_dict()
    problems = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {list(state[key].shape)} instead of {list(value.shape)}"
            for key, value in expected.items()
            if key in state and state[key].shape != value.shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{kind}: {_shorten(keys)}" for kind, keys in problems.items() if keys)
        raise InvalidValueError(
            f"{path} does not hold the weights of this {type(vit).__name__}; {found}{_pooling(problems)}"
        )


def _pooling(problems: Mapping[str, Sequence[str]]) -> str:
    """What to do if file and model pool tokens in two ways, which timm tells by where the last normalisation is."""
    for here, there, pool in (("missing", "unexpected", "avg"), ("unexpected", "missing", "token")):
        if "norm.weight" in problems[here] and "fc_norm.weight" in problems[there]:
            return (
                f'. The file\'s model has global_pool="{pool}": give it to load_vit, or on the command line in a JSON '
                f'file beside the weights, {{"vit": "<timm name>", "model": {{"global_pool": "{pool}"}}}}, with '
                "--model <weights file>"
            )
    return ""


def _shorten(keys: Sequence[str], limit: int = 4) -> str:
    rest = len(keys) - limit
    return ", ".join(keys[:limit]) + (f" and {rest} more" if rest > 0 else "")
