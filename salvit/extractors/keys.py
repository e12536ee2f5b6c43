"""The keys of one block's attention: the patch features of methods of object discovery."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from salvit.extractors.recording import record
from salvit.extractors.requirements import check_finite
from salvit.vit import ViT, fused_attention, num_prefix_tokens


def patch_keys(vit: ViT, images: Tensor, block: int) -> Tensor:
    """Return the keys of the patches, all heads side by side, [B, hw, D] in float32 at least.

    They are those that meet the queries, so after any normalisation and rotation (RoPE). The model is not run past the
    block.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> patch_keys(vit, torch.rand(1, 3, 32, 32), -1).shape
        torch.Size([1, 4, 192])
    """
    with fused_attention(vit), record(vit, [block], keys=True, stop=True) as recording:
        vit(images)
    keys = recording.keys[block][:, :, num_prefix_tokens(vit) :]
    check_finite(keys)
    return keys.transpose(1, 2).flatten(2).to(torch.promote_types(keys.dtype, torch.float32))


def component(mask: Tensor, seed: Tensor) -> Tensor:
    """Return the part of each mask [B, h, w] that is connected with its seed, through sides; [B, h, w], 0 and 1.

    Args:
        mask: of any dtype, 0 outside.
        seed: [B], position in the flattened mask.

    Example:
        >>> component(torch.tensor([[[1, 0, 1], [1, 0, 1]]]), torch.tensor([0]))
        tensor([[[1., 0., 0.],
                 [1., 0., 0.]]])
    """
    parts = []
    for one, position in zip(mask.cpu().numpy(), seed.tolist(), strict=True):
        labels = ndimage.label(one)[0]
        label = labels.ravel()[position]
        parts.append((labels == label) & (label > 0))
    return torch.from_numpy(np.stack(parts)).to(mask.device, torch.get_default_dtype())
