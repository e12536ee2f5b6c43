"""LeGrad: how sensitive each block's own output is to its attention."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from salvit.extractors.base import Extractor, patches_to_grid
from salvit.extractors.gradients import differentiable, outside_graph, target_logits
from salvit.extractors.hooks import hooked, outputs_of
from salvit.extractors.recording import record
from salvit.extractors.registry import register_method
from salvit.vit import ViT


@register_method("legrad")
class LeGrad(Extractor):
    """Σ_l mean over heads and query rows of max(∂s_l/∂A_l, 0).

    s_l is the target logit of the classifier applied to block l's own output: head(norm(mean over all tokens
    of the block's output)). Since s_l is asked about A_l only, every block's input is held fixed, and one
    backward pass of Σ_l s_l gives all gradients. Needs no class token. The source normalises the map to
    [0, 1]; this one is left as it is, and summed instead of averaged over the blocks. Where the classifier pools by
    attention, the mean token is pooled by it alone (the source takes the gradient of the pooling's own attention there
    instead); of a distilled model, s_l is the mean of its two classifiers'.

    Source: Bousselham et al., "LeGrad: An Explainability Method for Vision Transformers via Feature Formation
    Sensitivity", ICCV 2025, section 3; the tokens' mean as in its code.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> LeGrad()(vit, torch.rand(4, 3, 32, 48), target=7).shape
        torch.Size([4, 1, 2, 3])
    """

    class_specific = True
    requires = frozenset({"attention", "gradients"})

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        def hold_input(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return (args[0].detach(), *args[1:])

        with differentiable(), ExitStack() as stack:
            for block in vit.blocks:
                stack.enter_context(hooked(block.register_forward_pre_hook(hold_input)))
            outputs = stack.enter_context(outputs_of(vit.blocks))
            recording = stack.enter_context(record(vit, gradients=True))
            logits = vit(outside_graph(images))
            classes = logits.argmax(dim=-1) if target is None else target
            scores = [target_logits(_classify(vit, output), classes) for output in outputs.values()]
            gradients = recording.gradients(torch.stack(scores).sum(), recording.attention)
        row = torch.stack([gradient.clamp(min=0).mean(dim=(1, 2)) for gradient in gradients]).sum(dim=0)
        return patches_to_grid(vit, images, row[:, None])


def _classify(vit: ViT, tokens: Tensor) -> Tensor:
    # Whatever the model pools (class token, mean, attention), equal tokens pool to that token.
    mean = vit.norm(tokens.mean(dim=1, keepdim=True)).expand_as(tokens)
    logits: Tensor = vit.forward_head(mean)
    return logits
