"""DAAM: what attention brings to the tokens that the classifier reads, weighted by the gradient, over all blocks."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.gradients import differentiable, outside_graph, target_logits
from salvit.extractors.recording import record
from salvit.extractors.rows import Rows, check_rows, rows_of
from salvit.vit import ViT, attention_modules, fused_attention


@register_method("daam")
class DAAM(Extractor):
    """Dynamic accumulated attention map of the last block: Σ_l max(Σ_hrd A^h_rp V^h_pd max(∂y/∂T^h_rd, 0), 0).

    In each block l, attention A and values V of head h make T = A V; y is the target logit, p the patch, and the rows
    r are those of the tokens that the classifier reads.

    Source: Liao, Gao and Zhang, "Dynamic Accumulated Attention Map for Interpreting Evolution of Decision-making in
    Vision Transformer", Pattern Recognition 2025, equations 7 to 12, for a class; more rows than one as in the package
    daam-timm-vit.

    Args:
        rows: see `salvit.extractors.rows.Rows`; here their sum, not the mean.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> DAAM()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    class_specific = True
    requires = frozenset({"attention", "gradients"})

    def __init__(self, rows: Rows = "auto") -> None:
        check_rows(rows)
        self.rows: Rows = rows

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        with differentiable(), fused_attention(vit):
            with record(vit, values=True, gradients=True) as recording, _Mixed() as mixed:
                logits = vit(outside_graph(images))
            modules = [len(attention_modules(vit, block)) for block in range(len(vit.blocks))]
            outputs = mixed.outputs[: sum(modules)]  # without those of attention pooling
            gradients = torch.autograd.grad(target_logits(logits, target), outputs)
        read, rest, found = rows_of(vit, self.rows), list(gradients), []
        for block, count in enumerate(modules):
            heads, rest = torch.cat(rest[:count], dim=1), rest[count:]
            attention = recording.attention[block].detach()[:, :, read]
            weights = heads[:, :, read].clamp(min=0).to(attention.dtype)
            values = recording.values[block].detach().to(attention.dtype)
            with torch.autocast(images.device.type, enabled=False):
                found.append((attention.mT @ weights * values).sum(dim=(1, 3)).clamp(min=0))
        row = torch.stack(found).sum(dim=0)
        return patches_to_grid(vit, images, row[:, None])


class _Mixed(TorchFunctionMode):
    """Keeps what each attention gives, [B, heads, N, head width], while a model runs in it."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            self.outputs.append(output)
        return output
