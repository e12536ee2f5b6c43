"""A classical saliency model, from before deep networks: the spectral residual."""

from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from salvit.errors import MissingExtraError

MODEL = "spectral residual"
REMEDY = f"{MODEL} is left out: it needs OpenCV's contributed modules (pip install 'salvit[baselines]')"


def has_classical() -> bool:
    """Whether OpenCV is installed with its contributed saliency module."""
    try:
        return hasattr(import_module("cv2"), "saliency")
    except ModuleNotFoundError:
        return False


def spectral_residual(image: Tensor) -> Tensor:
    """Saliency of an image [3, H, W] in [0, 1] by its spectral residual, as OpenCV computes it at 64×64.

    Source: Hou and Zhang, "Saliency detection: a spectral residual approach", CVPR 2007.

    Returns:
        float32 [H, W] in [0, 1], on the CPU.

    Raises:
        ModuleNotFoundError: OpenCV's contributed modules are not installed.

    Example:
        >>> if has_classical():
        ...     assert spectral_residual(torch.rand(3, 48, 64)).shape == (48, 64)
    """
    if not has_classical():
        raise MissingExtraError(REMEDY, name="cv2.saliency")
    cv2 = import_module("cv2")
    pixels = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    model = cv2.saliency.StaticSaliencySpectralResidual_create()
    _, saliency = model.computeSaliency(np.ascontiguousarray(pixels[..., ::-1]))
    return torch.from_numpy(saliency).float()
