"""From the logit explained back to the tokens that the classifier reads."""

import torch
import torch.nn.functional as F
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from salvit.lrp.rules import RuleSet, average
from salvit.vit import ViT, num_classes, num_prefix_tokens


def predicted(vit: ViT, tokens: Tensor) -> Tensor:
    """Return each image's predicted class, int64 [B].

    Args:
        vit: a timm VisionTransformer.
        tokens: the last block's output, of the tokens that the classifier reads, [B, r, D].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> predicted(vit, torch.rand(4, 1, 192)).shape
        torch.Size([4])
    """
    return vit.forward_head(vit.norm(tokens)).argmax(-1)


def head_gradient(vit: ViT, tokens: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient of each image's logit with respect to the tokens, [B, r, D].

    Args:
        vit: a timm VisionTransformer.
        tokens: the last block's output, of the tokens that the classifier reads, [B, r, D].
        classes: int64 [B].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> head_gradient(vit, torch.rand(4, 1, 192), torch.arange(4)).shape
        torch.Size([4, 1, 192])
    """
    leaf = tokens.detach().requires_grad_()
    with torch.enable_grad():
        logits = vit.forward_head(vit.norm(leaf)).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(logits, leaf)[0]


def head_relevance(vit: ViT, tokens: Tensor, classes: Tensor, rules: RuleSet) -> Tensor:
    """Return the relevance of the tokens, that of each image's logit being 1, [B, r, D].

    The relevance of the pooled features, a mean over tokens or one token, is shared by `rules.average`, that of
    two classifiers (class and distillation token) by the rule of addition; normalisation passes it on.

    Args:
        vit: a timm VisionTransformer.
        tokens: the last block's output, of the tokens that the classifier reads, [B, r, D].
        classes: int64 [B].
        rules: how linear layers and additions share relevance.

    Example:
        >>> from salvit.lrp.rules import TRANSFORMER
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> relevance = head_relevance(vit, torch.rand(1, 1, 192), torch.zeros(1).long(), TRANSFORMER)
        >>> round(float(relevance.sum()), 3)
        1.0
    """
    tokens = vit.norm(tokens)
    seed = F.one_hot(classes, num_classes(vit)).to(tokens.dtype)
    if isinstance(vit, VisionTransformerDistilled):
        return _two_heads(vit, tokens, seed, rules)
    first = 0 if vit.global_pool == "token" else first_pooled(vit)
    pooled = tokens[:, first:]
    relevance = _linear(vit.head, vit.fc_norm(pooled.mean(1)), seed, rules)
    return F.pad(average(pooled, relevance), (0, 0, first, 0))


def reading_row(vit: ViT, like: Tensor) -> Tensor:
    """Return how the classifier weighs the tokens: 1 for the class token, or 1/n for each of n averaged tokens.

    Args:
        vit: a plain timm ViT that reads its class token or the tokens' mean.
        like: a tensor [B, ..., N], for the number of images and tokens, dtype and device.

    Returns:
        [B, 1, N].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> reading_row(vit, torch.rand(1, 3, 5, 5))
        tensor([[[1., 0., 0., 0., 0.]]])
    """
    row = like.new_zeros(len(like), 1, like.shape[-1])
    read = row[..., :1] if vit.global_pool == "token" else row[..., first_pooled(vit) :]
    read.fill_(1 / read.shape[-1])
    return row


def first_pooled(vit: ViT) -> int:
    """Return the index of the first token that average pooling takes.

    Args:
        vit: a plain timm ViT that reads the tokens' mean.

    Example:
        >>> from salvit.vit import load_vit
        >>> first_pooled(load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, global_pool="avg"))
        1
    """
    return 0 if getattr(vit, "pool_include_prefix", False) else num_prefix_tokens(vit)


def _two_heads(vit: ViT, tokens: Tensor, seed: Tensor, rules: RuleSet) -> Tensor:
    halves = [head(tokens[:, index]) / 2 for index, head in enumerate((vit.head, vit.head_dist))]
    shares = rules.add(halves[0], halves[1], halves[0] + halves[1], seed)
    first = _linear(vit.head, tokens[:, 0], shares[0], rules)
    second = _linear(vit.head_dist, tokens[:, 1], shares[1], rules)
    return torch.cat((average(tokens[:, :1], first), average(tokens[:, 1:], second)), dim=1)


def _linear(head: nn.Linear, x: Tensor, relevance: Tensor, rules: RuleSet) -> Tensor:
    return rules.linear(x, head.weight, head.bias, head(x), relevance)
