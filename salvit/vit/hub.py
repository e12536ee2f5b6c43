"""Published weights of timm models: from the local cache, or downloaded."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError
from timm.models import PretrainedCfg, get_pretrained_cfg

_FILES = ("model.safetensors", "pytorch_model.bin")


def fetch_weights(name: str, cache_dir: str | Path | None = None) -> str | None:
    """Return the file with a timm model's published weights, or None for a model that has none on the hub.

    A cached file is used without asking for a newer version, which takes most of a minute without a network.

    Args:
        name: a timm name, with or without tag.
        cache_dir: another cache than the default.

    Raises:
        ConnectionError: if the file is not cached and cannot be downloaded.
    """
    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return None
    cached = cached_weights(name, cache_dir)
    if cached is not None:
        return cached
    files = _files(config)
    _require_network()
    try:
        with suppress(EntryNotFoundError):
            return huggingface_hub.hf_hub_download(config.hf_hub_id, files[0], cache_dir=cache_dir)
        return huggingface_hub.hf_hub_download(config.hf_hub_id, files[-1], cache_dir=cache_dir)
    except Exception as error:  # of requests, httpx or huggingface_hub, depending on its version
        raise ConnectionError(f"{config.hf_hub_id}: {error}") from error


def cached_weights(name: str, cache_dir: str | Path | None = None) -> str | None:
    """Return the file with a timm model's published weights if it is in the local cache, else None.

    Args:
        name: a timm name, with or without tag.
        cache_dir: another cache than the default.
    """
    config = get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return None
    return _cached(config.hf_hub_id, _files(config), cache_dir)


def require_hub(repository: str, cache_dir: str | Path | None = None) -> None:
    """Raise ConnectionError if a repository of the hub ("owner/name" or "owner/name@revision") is out of reach."""
    if _cached(repository.partition("@")[0], ("config.json",), cache_dir) is None:
        _require_network()


def _files(config: PretrainedCfg) -> Sequence[str]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else _FILES


def _cached(repository: str, files: Sequence[str], cache_dir: str | Path | None) -> str | None:
    found = (huggingface_hub.try_to_load_from_cache(repository, file, cache_dir=cache_dir) for file in files)
    return next((file for file in found if isinstance(file, str)), None)


def _require_network() -> None:
    # One request that is not repeated: a download without a network is tried five times, with pauses.
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception as error:  # of requests or httpx, depending on huggingface_hub's version
        raise ConnectionError(f"no answer from {huggingface_hub.constants.ENDPOINT}: {error}") from error
