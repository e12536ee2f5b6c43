"""Extractors: images → maps [B, K, h, w]; one class per method.

`METHODS` maps each method's name to its class; `salvit.extract` calls one by name.
"""

import difflib
import inspect
import re
from pydoc import ErrorDuringImport, locate
from typing import Any

from torch import Tensor

from salvit.extractors.agcam import AGCAM
from salvit.extractors.attention import RawAttention
from salvit.extractors.base import Extractor
from salvit.extractors.baselines import CenterPrior, RandomMap
from salvit.extractors.gradcam import AttentionGradCAM, TokenGradCAM
from salvit.extractors.gradient import AttentionGradient, GenericAttention
from salvit.extractors.input_gradient import InputGradient, InputXGradient
from salvit.extractors.legrad import LeGrad
from salvit.extractors.lrp import FullLRP, PartialLRP, RelevanceLRP
from salvit.extractors.norm_rollout import NormRollout
from salvit.extractors.options import checked_options
from salvit.extractors.rise import RISE
from salvit.extractors.rollout import Rollout
from salvit.extractors.salient import SalientAttention
from salvit.extractors.scorecam import ScoreCAM
from salvit.extractors.token_tm import TokenTM
from salvit.extractors.unsupervised import UnsupervisedMap
from salvit.vit import ViT

METHODS: dict[str, type[Extractor]] = {
    "raw_attention": RawAttention,
    "salient_attention": SalientAttention,
    "agcam": AGCAM,
    "attention_gradient": AttentionGradient,
    "attn_gradcam": AttentionGradCAM,
    "center_prior": CenterPrior,
    "full_lrp": FullLRP,
    "generic_attention": GenericAttention,
    "input_gradient": InputGradient,
    "input_x_gradient": InputXGradient,
    "legrad": LeGrad,
    "norm_rollout": NormRollout,
    "partial_lrp": PartialLRP,
    "random": RandomMap,
    "relevance_lrp": RelevanceLRP,
    "rise": RISE,
    "rollout": Rollout,
    "scorecam": ScoreCAM,
    "token_gradcam": TokenGradCAM,
    "tokentm": TokenTM,
    "unsupervised_map": UnsupervisedMap,
}

__all__ = [
    "AGCAM",
    "METHODS",
    "RISE",
    "AttentionGradCAM",
    "AttentionGradient",
    "CenterPrior",
    "Extractor",
    "FullLRP",
    "GenericAttention",
    "InputGradient",
    "InputXGradient",
    "LeGrad",
    "NormRollout",
    "PartialLRP",
    "RandomMap",
    "RawAttention",
    "RelevanceLRP",
    "Rollout",
    "SalientAttention",
    "ScoreCAM",
    "TokenGradCAM",
    "TokenTM",
    "UnsupervisedMap",
    "extract",
    "find_method",
    "name_of",
]


def extract(
    vit: ViT,
    images: Tensor,
    method: str = "raw_attention",
    target: int | Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Extract maps with a method given by name.

    Args:
        vit: a plain timm ViT in eval mode, on the device of the images.
        images: [B, 3, H, W], normalised for the model (`salvit.vit.normalize`).
        method: a key of `METHODS`, or a class of your own, `my_package.MyExtractor`.
        target: None for each image's predicted class, one class index, or a [B] tensor; only class-specific
            methods use it.
        **options: options of the method's class.

    Returns:
        Maps [B, K, h, w] over the patch grid, or [B, K, H, W] at pixel resolution; see the method's class.

    Raises:
        ValueError: if there is no such method, or it has no such option or value of an option.
        TypeError, ValueError, IndexError: as the method's class says, if model, images or target do not fit.

    Example:
        >>> import torch
        >>> import salvit
        >>> vit = salvit.load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> salvit.extract(vit, torch.rand(1, 3, 32, 32), method="raw_attention", block=0).shape
        torch.Size([1, 1, 2, 2])
    """
    if isinstance(method, Extractor):
        raise ValueError(f"method takes a name; call the extractor itself: {method!r}(vit, images)")
    if isinstance(method, type) and issubclass(method, Extractor):
        raise ValueError(f"method takes a name; call an instance instead: {method.__name__}()(vit, images)")
    kind = find_method(method)
    known = inspect.signature(kind).parameters
    if unknown := sorted(options.keys() - known.keys()):
        raise ValueError(
            f"{method} has no option {', '.join(unknown)}; its options: {', '.join(known) or 'none'}"
        )
    return kind(**checked_options(kind, options))(vit, images, target)


def find_method(name: str) -> type[Extractor]:
    """Return the class of a method.

    Args:
        name: a key of `METHODS`, or of a class of your own where Python finds it, `my_package.MyExtractor`.

    Raises:
        ValueError: if there is none of that name.

    Example:
        >>> find_method("rollout") is find_method("salvit.extractors.Rollout") is Rollout
        True
    """
    if isinstance(name, str) and name in METHODS:
        return METHODS[name]
    closest = difflib.get_close_matches(str(name).lower(), METHODS, n=1)
    hint = f'did you mean "{closest[0]}"? ' if closest else ""
    unknown = f'unknown method "{name}"; {hint}Methods: {", ".join(METHODS)}'
    if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)+", name):
        raise ValueError(unknown)
    try:
        kind = locate(name)
    except ErrorDuringImport as error:
        raise ValueError(f'method "{name}": {error}') from error
    if kind is None:
        raise ValueError(
            f'method "{name}": there is no such class in the current folder or among the packages'
        )
    if not (isinstance(kind, type) and issubclass(kind, Extractor)) or inspect.isabstract(kind):
        raise ValueError(f'method "{name}" is not a class of salvit.extractors.Extractor that can be made')
    return kind


def name_of(extractor: Extractor) -> str:
    """Name a method as `METHODS` does, with the options that are not the default ones.

    Args:
        extractor: of a class in `METHODS`, or one of your own, which is named by its class.

    Example:
        >>> name_of(Rollout()), name_of(RawAttention(block=0, rows="all"))
        ('rollout', 'raw_attention(block=0, rows=all)')
    """
    names = {method: name for name, method in METHODS.items()}
    name = names.get(type(extractor), type(extractor).__name__)
    changed = ", ".join(f"{option}={value}" for option, value in extractor.changed_options().items())
    return f"{name}({changed})" if changed else name
