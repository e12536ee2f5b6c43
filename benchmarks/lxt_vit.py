"""timm's plain ViT in the operations of the package lxt, whose gradients are AttnLRP's relevances."""

import torch
import torch.nn.functional as F
from torch import Tensor

from salvit.vit import ViT


def patch_relevance(vit: ViT, images: Tensor, target: Tensor) -> Tensor:
    """Relevance of the patches that enter the first block, [B, h·w], of a ViT with a class token and GELU.

    Args:
        vit: pre-norm, without LayerScale, classifying from its class token.
        images: [B, 3, H, W], normalised for the model.
        target: int64 [B].
    """
    from lxt.explicit import functional as lrp

    weights = dict(vit.state_dict())
    epsilon = torch.finfo(images.dtype).tiny

    def linear(x: Tensor, name: str) -> Tensor:
        return lrp.linear_epsilon(x, weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)

    def norm(x: Tensor, name: str) -> Tensor:
        return lrp.layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    def passed_on(x: Tensor, output: Tensor) -> Tensor:
        """The identity rule, which the package has as a module only."""
        return x + (output - x).detach()

    def attend(x: Tensor, name: str) -> Tensor:
        parts = linear(x, f"{name}.qkv").unflatten(-1, (3, vit.blocks[0].attn.num_heads, -1))
        query, key, value = (part.contiguous() for part in parts.permute(2, 0, 3, 1, 4))
        scaled = passed_on(key.mT, key.mT * key.shape[-1] ** -0.5)
        attention = lrp.softmax(lrp.matmul(query, scaled, False, epsilon), -1)
        mixed = lrp.matmul(attention, value, False, epsilon)
        return linear(mixed.transpose(1, 2).flatten(2), f"{name}.proj")

    entering: list[Tensor] = []
    with vit.blocks[0].register_forward_pre_hook(lambda _, args: entering.append(args[0])), torch.no_grad():
        vit(images)
    start = entering[0].detach().requires_grad_()
    with torch.enable_grad():
        x = start
        for index in range(len(vit.blocks)):
            name = f"blocks.{index}"
            x = lrp.add2(x, attend(norm(x, f"{name}.norm1"), f"{name}.attn"), False, epsilon)
            hidden = linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
            x = lrp.add2(x, linear(passed_on(hidden, F.gelu(hidden)), f"{name}.mlp.fc2"), False, epsilon)
        logits = linear(norm(x[:, 0], "norm"), "head")
        # What flows back is relevance, so it starts as the logit itself.
        chosen = logits.gather(1, target[:, None])
        [relevance] = torch.autograd.grad(chosen, start, chosen.detach())
    return relevance[:, 1:].sum(-1)
