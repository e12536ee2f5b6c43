"""Extractors: images → maps [B, K, h, w]; one class per method.

`METHODS` maps each method's name to its class; `salvit.extract` calls one by name.
"""

from typing import Any

from torch import Tensor

from salvit.extractors.attention import RawAttention, UnsupervisedMap
from salvit.extractors.attention_flow import AttentionFlow
from salvit.extractors.attn_lrp import AttnLRP
from salvit.extractors.base import METHODS, Extractor, register_entry_points, register_method
from salvit.extractors.baselines import CenterPrior, RandomMap
from salvit.extractors.daam import DAAM
from salvit.extractors.gradcam import AttentionGradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, TokenGradCAM
from salvit.extractors.gradient import (
    AGCAM,
    AttentionGradient,
    GenericAttention,
    InputGradient,
    InputXGradient,
    LeGrad,
)
from salvit.extractors.integrated_gradients import IntegratedGradients
from salvit.extractors.lost import LOST
from salvit.extractors.lrp.methods import FullLRP, PartialLRP, RelevanceLRP
from salvit.extractors.masking import RISE, ScoreCAM
from salvit.extractors.rollout import NormRollout, Rollout
from salvit.extractors.salient import SalientAttention
from salvit.extractors.smoothgrad import SmoothGrad
from salvit.extractors.spelling import parse_method, spell
from salvit.extractors.token_tm import TokenTM
from salvit.extractors.tokencut import TokenCut
from salvit.extractors.xrai import XRAI
from salvit.vit import ViT

__all__ = [
    "AGCAM",
    "DAAM",
    "LOST",
    "METHODS",
    "RISE",
    "XRAI",
    "AttentionFlow",
    "AttentionGradCAM",
    "AttentionGradient",
    "AttnLRP",
    "CenterPrior",
    "Extractor",
    "FullLRP",
    "GenericAttention",
    "GradCAMPlusPlus",
    "HiResCAM",
    "InputGradient",
    "InputXGradient",
    "IntegratedGradients",
    "LayerCAM",
    "LeGrad",
    "NormRollout",
    "PartialLRP",
    "RandomMap",
    "RawAttention",
    "RelevanceLRP",
    "Rollout",
    "SalientAttention",
    "ScoreCAM",
    "SmoothGrad",
    "TokenCut",
    "TokenGradCAM",
    "TokenTM",
    "UnsupervisedMap",
    "extract",
    "parse_method",
    "register_method",
    "spell",
]


def extract(
    vit: ViT,
    images: Tensor,
    method: str | Extractor = "raw_attention",
    target: int | Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Extract maps with a method.

    Args:
        vit: a plain timm ViT in eval mode, on the device of the images.
        images: [B, 3, H, W], normalised for the model (`salvit.vit.normalize`).
        method: `name` or `name:option=value,option=value`, see `parse_method`; or an extractor.
        target: see `Extractor.__call__`.
        **options: options of the method's class, as Python values.

    Returns:
        Maps [B, K, h, w] over the patch grid, or [B, K, H, W] at pixel resolution; see the method's class.

    Raises:
        ValueError: if there is no such method, or it has no such option or value of an option.
        TypeError, ValueError, IndexError: as `Extractor.__call__`.

    Example:
        >>> import torch
        >>> import salvit
        >>> vit = salvit.load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> salvit.extract(vit, torch.rand(1, 3, 32, 32), method="raw_attention", block=0).shape
        torch.Size([1, 1, 2, 2])
    """
    return parse_method(method, **options)(vit, images, target)


register_entry_points()
