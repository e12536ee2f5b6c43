"""A plain ViT run by hand, one image and one head at a time, to check extractors against."""

from dataclasses import dataclass, field

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from salvit.vit import has_residual


@dataclass
class Trace:
    """One image's logits and, per block, [N, N] tensors and values [N, d] head by head, and tokens [N, D]."""

    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    scores: list[list[Tensor]] = field(default_factory=list)
    attention: list[list[Tensor]] = field(default_factory=list)
    normed: list[Tensor] = field(default_factory=list)
    values: list[list[Tensor]] = field(default_factory=list)
    mixed: list[list[Tensor]] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    between: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


def run(vit: VisionTransformer, image: Tensor, *, hold_attention=False, hold_blocks=False) -> Trace:
    """`hold_attention`: no gradient into what enters an attention; `hold_blocks`: none into a block's input."""
    w, trace = dict(vit.state_dict()), Trace()
    kernel = w["patch_embed.proj.weight"]
    size = kernel.shape[-1]
    tokens = [w["cls_token"][0, 0]]
    for top in range(0, image.shape[1], size):
        for left in range(0, image.shape[2], size):
            patch = image[:, top : top + size, left : left + size].reshape(-1)
            tokens.append(kernel.reshape(len(kernel), -1) @ patch + w["patch_embed.proj.bias"])
    x = (torch.stack(tokens) + w["pos_embed"][0]).requires_grad_()
    for index in range(len(vit.blocks)):
        b = {name.removeprefix(f"blocks.{index}."): value for name, value in w.items()}
        x = x.detach().requires_grad_() if hold_blocks else x
        trace.inputs.append(x)
        x = _block(x, b, vit.blocks[index], trace, hold_attention)
        trace.outputs.append(x)
    trace.logits = classify(vit, x[0])
    return trace


def classify(vit: VisionTransformer, token: Tensor) -> Tensor:
    w = vit.state_dict()
    return w["head.weight"] @ _norm(token, w, "norm") + w["head.bias"]


def _block(x, b, block, trace, hold_attention):
    heads, kept = block.attn.num_heads, float(has_residual(block))
    y = _norm(x, b, "norm1")
    y = y.detach().requires_grad_() if hold_attention else y
    trace.normed.append(y)
    query, key, value = (y @ b["attn.qkv.weight"].T + b["attn.qkv.bias"]).chunk(3, dim=1)
    width = query.shape[1] // heads
    mixed, scores, attention = [], [], []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores.append(query[:, part] @ key[:, part].T / width**0.5)
        exponentials = scores[-1].exp()
        attention.append(exponentials / exponentials.sum(1, keepdim=True))
        mixed.append(attention[-1] @ value[:, part])
    trace.scores.append(scores)
    trace.attention.append(attention)
    trace.values.append(list(value.split(width, dim=1)))
    trace.mixed.append(mixed)
    x = kept * x + torch.cat(mixed, 1) @ b["attn.proj.weight"].T + b["attn.proj.bias"]
    trace.between.append(x)
    y = _norm(x, b, "norm2") @ b["mlp.fc1.weight"].T + b["mlp.fc1.bias"]
    y = y * (1 + torch.erf(y / 2**0.5)) / 2
    return kept * x + y @ b["mlp.fc2.weight"].T + b["mlp.fc2.bias"]


def _norm(x, weights, name):
    if f"{name}.weight" not in weights:
        return x
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def gradients(logit: Tensor, trace: Trace) -> list[list[Tensor]]:
    """Per block and head, ∂logit/∂A [N, N]."""
    return [list(torch.autograd.grad(logit, heads, retain_graph=True)) for heads in trace.attention]
