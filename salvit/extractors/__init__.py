"""Extractors: images → maps [B, K, h, w]; one class per method.

`METHODS` maps each method's name to its class; `salvit.extract` calls one by name.
"""

from typing import Any

from torch import Tensor

from salvit.extractors.attention import RawAttention as RawAttention
from salvit.extractors.attention import UnsupervisedMap as UnsupervisedMap
from salvit.extractors.attention_flow import AttentionFlow as AttentionFlow
from salvit.extractors.attn_lrp import AttnLRP as AttnLRP
from salvit.extractors.base import METHODS as METHODS
from salvit.extractors.base import Extractor as Extractor
from salvit.extractors.base import register_entry_points
from salvit.extractors.base import register_method as register_method
from salvit.extractors.baselines import CenterPrior as CenterPrior
from salvit.extractors.baselines import RandomMap as RandomMap
from salvit.extractors.daam import DAAM as DAAM
from salvit.extractors.gradcam import AttentionGradCAM as AttentionGradCAM
from salvit.extractors.gradcam import GradCAMPlusPlus as GradCAMPlusPlus
from salvit.extractors.gradcam import HiResCAM as HiResCAM
from salvit.extractors.gradcam import LayerCAM as LayerCAM
from salvit.extractors.gradcam import TokenGradCAM as TokenGradCAM
from salvit.extractors.gradient import AGCAM as AGCAM
from salvit.extractors.gradient import AttentionGradient as AttentionGradient
from salvit.extractors.gradient import GenericAttention as GenericAttention
from salvit.extractors.gradient import InputGradient as InputGradient
from salvit.extractors.gradient import InputXGradient as InputXGradient
from salvit.extractors.gradient import LeGrad as LeGrad
from salvit.extractors.integrated_gradients import IntegratedGradients as IntegratedGradients
from salvit.extractors.lost import LOST as LOST
from salvit.extractors.lrp.methods import FullLRP as FullLRP
from salvit.extractors.lrp.methods import PartialLRP as PartialLRP
from salvit.extractors.lrp.methods import RelevanceLRP as RelevanceLRP
from salvit.extractors.masking import RISE as RISE
from salvit.extractors.masking import ScoreCAM as ScoreCAM
from salvit.extractors.rollout import NormRollout as NormRollout
from salvit.extractors.rollout import Rollout as Rollout
from salvit.extractors.salient import SalientAttention as SalientAttention
from salvit.extractors.smoothgrad import SmoothGrad as SmoothGrad
from salvit.extractors.spelling import parse_method as parse_method
from salvit.extractors.spelling import spell as spell
from salvit.extractors.token_tm import TokenTM as TokenTM
from salvit.extractors.tokencut import TokenCut as TokenCut
from salvit.extractors.xrai import XRAI as XRAI
from salvit.vit import ViT


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
