"""Saliency and explanation maps of Vision Transformers, scored against where people look.

Everything is imported on first use, so that `import salvit` and the command line's help stay instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from salvit.errors import SalvitError as SalvitError
    from salvit.extractors import METHODS as METHODS
    from salvit.extractors import extract as extract
    from salvit.modules import ClassificationModule as ClassificationModule
    from salvit.modules import ExplanationModule as ExplanationModule
    from salvit.modules import SaliencyModule as SaliencyModule
    from salvit.modules import load_saliency as load_saliency
    from salvit.vit import load_vit as load_vit

__version__ = "0.1.0"

_HOMES = {
    "METHODS": "extractors",
    "ClassificationModule": "modules",
    "ExplanationModule": "modules",
    "SaliencyModule": "modules",
    "SalvitError": "errors",
    "extract": "extractors",
    "load_saliency": "modules",
    "load_vit": "vit",
}
_ROOMS = ("callbacks", "errors", "extractors", "metrics", "modules", "report", "results", "submission", "vit")

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"salvit.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"salvit.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_ROOMS})
