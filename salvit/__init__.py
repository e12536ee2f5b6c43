"""Saliency and explanation maps of Vision Transformers, scored against where people look.

Everything is imported on first use, so that `import salvit` and the command line's help stay instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salvit.extractors import extract as extract
    from salvit.modules import load_saliency as load_saliency
    from salvit.vit import load_vit as load_vit

__version__ = "0.1.0"

_FUNCTIONS = {"extract": "salvit.extractors", "load_saliency": "salvit.modules", "load_vit": "salvit.vit"}
_SUBMODULES = (
    "callbacks",
    "cp",
    "decoder",
    "extractors",
    "losses",
    "metrics",
    "modules",
    "recording",
    "report",
    "results",
    "vit",
)

__all__ = ["extract", "load_saliency", "load_vit"]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FUNCTIONS, *_SUBMODULES})
