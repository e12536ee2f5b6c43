"""The relevance rules of linear layers, additions, products and pixels, in the two sets that the published methods use.

A rule takes the relevance R of a layer's output and shares it out among the layer's inputs. Sums are per image,
so that no image's relevance depends on what else is in the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from salvit.vit import ViT

STABILIZER = 1e-9
_MANY = 32  # if so many inputs are all active, at least one contributes to every output
_DIGITS_LOST = 8  # rounding error of sums that cancel, in units of the last digit

Linear = Callable[[Tensor, Tensor, Tensor | None, Tensor, Tensor], Tensor]
Add = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def divide(numerator: Tensor, denominator: Tensor, stabilizer: float = STABILIZER) -> Tensor:
    """Divide as the rules do: sd(a, b) = a / (b + 1e-9), and 0 where b = 0; a and b have the same shape.

    Example:
        >>> divide(torch.tensor([1.0, 1.0]), torch.tensor([4.0, 0.0]))
        tensor([0.2500, 0.0000])
    """
    quotient = denominator + stabilizer
    torch.div(numerator, quotient, out=quotient)
    # Zeros are rare: on a CPU, looking for one is cheaper than writing every quotient again.
    if denominator.is_cuda or torch.count_nonzero(denominator) < denominator.numel():
        quotient.masked_fill_(denominator == 0, 0)
    if quotient.is_cuda or not quotient.sum().isfinite():
        quotient.nan_to_num_(0, 0, 0)
    return quotient


def bilinear(left: Tensor, right: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Share the relevance of a product P = L·Mᵀ between its factors, half each.

    S = sd(R, P); R_L = L ⊙ (S·M) / 2; R_M = M ⊙ (Sᵀ·L) / 2. Source: Chefer, Gur and Wolf, CVPR 2021, section 3.2
    (non-parametric relevance propagation), halved and not rescaled, as in the authors' code.

    Args:
        left: L, [..., n, k].
        right: M, [..., m, k].
        share: S, [..., n, m].

    Returns:
        R_L, [..., n, k], and R_M, [..., m, k].

    Example:
        >>> one = torch.ones(1, 1)
        >>> bilinear(one, one, divide(one, one))
        (tensor([[0.5000]]), tensor([[0.5000]]))
    """
    if share.numel() <= right.numel():
        share = share * 0.5
        return (share @ right).mul_(left), (share.mT @ left).mul_(right)
    return (share @ (right * 0.5)).mul_(left), (share.mT @ (left * 0.5)).mul_(right)


def linear_joint(x: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor, relevance: Tensor) -> Tensor:
    """Share relevance among a linear layer's inputs in proportion to the positive contributions.

    Z = x⁺W⁺ᵀ + x⁻W⁻ᵀ, S = sd(R, Z), R_in = x⁺ ⊙ (SW⁺) + x⁻ ⊙ (SW⁻). Computed in three matrix products, by Z = ½[xWᵀ +
    |x||W|ᵀ] and R_in = ½[x ⊙ (SW) + |x| ⊙ (S|W|)]. Source: Chefer, Gur and Wolf, CVPR 2021, section 3.1, as in the
    authors' code.

    Args:
        x: input, [..., D].
        weight: W, [E, D].
        bias: [E], if the layer has one; no relevance falls to it.
        output: xWᵀ + bias, [..., E].
        relevance: R of the output, [..., E].

    Returns:
        R_in, [..., D].

    Example:
        >>> x, weight = torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[1.0, 1.0, -1.0]])
        >>> linear_joint(x, weight, None, x @ weight.T, torch.ones(1, 1))
        tensor([[0.2500, 0.7500, 0.0000]])
    """
    magnitude, weight_magnitude = x.abs(), weight.abs()
    floor = 2 * STABILIZER
    product = magnitude @ weight_magnitude.T
    # If few inputs are active, none may contribute to an output: Z is then 0, but is computed as a rounding error.
    exact_zeros = x.is_cuda or x.shape[-1] < _MANY or bool(magnitude.amin() == 0)
    rounding = product * (_DIGITS_LOST * torch.finfo(x.dtype).eps) if exact_zeros else None
    doubled = product.add_(output).add_(floor if bias is None else floor - bias)
    nothing = None if rounding is None else doubled <= rounding.add_(floor)
    # Z is negative only by rounding; where it is 0, every contribution that S multiplies is 0, too.
    share = torch.div(relevance, doubled.clamp_(min=floor), out=doubled)
    if nothing is not None:
        share.masked_fill_(nothing, 0)
    absolute = (share @ weight_magnitude).mul_(magnitude)
    return absolute.addcmul_(x, share @ weight)


def linear_separate(
    x: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor, relevance: Tensor
) -> Tensor:
    """Share relevance among a linear layer's inputs, those of either sign each receiving it in full.

    R_in = x⁺ ⊙ (sd(R, x⁺W⁺ᵀ) W⁺) + x⁻ ⊙ (sd(R, x⁻W⁻ᵀ) W⁻). Arguments as in `linear_joint`; bias and output are not
    used. Source: the authors' code for the methods that Chefer, Gur and Wolf, CVPR 2021, compare with.

    Example:
        >>> x, weight = torch.tensor([[1.0, 3.0, -2.0]]), torch.tensor([[1.0, 1.0, -1.0]])
        >>> linear_separate(x, weight, None, x @ weight.T, torch.ones(1, 1))
        tensor([[0.2500, 0.7500, 1.0000]])
    """
    shares = []
    for clamp in (torch.clamp_min, torch.clamp_max):
        part, kernel = clamp(x, 0), clamp(weight, 0)
        shares.append((divide(relevance, part @ kernel.T) @ kernel).mul_(part))
    return shares[0].add_(shares[1])


def add_plain(left: Tensor, right: Tensor, total: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Share relevance between two summands, element by element: a ⊙ sd(R, a + b) and b ⊙ sd(R, a + b).

    All tensors have the shape [B, ...]; `total` is a + b, and `relevance` R of it.

    Example:
        >>> add_plain(torch.ones(1, 1), 3 * torch.ones(1, 1), 4 * torch.ones(1, 1), torch.ones(1, 1))
        (tensor([[0.2500]]), tensor([[0.7500]]))
    """
    share = divide(relevance, total)
    return left * share, share.mul_(right)


def add_conserving(left: Tensor, right: Tensor, total: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
    """Share relevance between two summands so that each image's total is conserved.

    a' = a ⊙ sd(R, a + b), b' likewise; a' is scaled to the sum |Σa'| / (|Σa'| + |Σb'|) · ΣR, b' likewise; Σ runs over
    one image. Arguments as in `add_plain`. Source: Chefer, Gur and Wolf, CVPR 2021, section 3.2.

    Example:
        >>> left, right = torch.tensor([[2.0, -4.0]]), torch.ones(1, 2)
        >>> left, right = add_conserving(left, right, left + right, torch.ones(1, 2))
        >>> round(float((left + right).sum()), 5)
        2.0
    """
    left, right = add_plain(left, right, total, relevance)
    image = tuple(range(1, total.ndim))
    *sums, whole = (part.sum(image, keepdim=True) for part in (left, right, relevance))
    both = torch.stack(sums)
    shares = divide(both.abs(), both.abs().sum(0).expand_as(both)) * whole
    left_scale, right_scale = divide(shares, both)
    return left.mul_(left_scale), right.mul_(right_scale)


@dataclass(frozen=True)
class RuleSet:
    """The rules in which the published methods differ; all others they share.

    Attributes:
        linear: (x, W, bias, xWᵀ + bias, R) → relevance of x.
        add: (a, b, a + b, R) → relevances of a and of b.
    """

    linear: Linear
    add: Add


TRANSFORMER = RuleSet(linear_joint, add_conserving)
"""Rules of relevance LRP (Chefer, Gur and Wolf, CVPR 2021)."""

ORIGINAL = RuleSet(linear_separate, add_plain)
"""Rules of the partial and full LRP that the same paper compares with."""


def pixels_relevance(vit: ViT, images: Tensor, relevance: Tensor) -> Tensor:
    """Carry relevance from patch tokens to pixels by the z^B rule, summed over colours: [B, 1, H, W].

    With L and H an image's smallest and largest value, Z = W∗x − W⁺∗L − W⁻∗H + 1e-9, S = R / Z and
    R_in = x ⊙ WᵀS − L ⊙ W⁺ᵀS − H ⊙ W⁻ᵀS; 0 for an image of one value. Source: Montavon et al., "Explaining nonlinear
    classification decisions with deep Taylor decomposition", Pattern Recognition 2017, the rule for bounded inputs.

    Args:
        vit: a plain timm ViT with timm's PatchEmbed.
        images: x, [B, 3, H, W].
        relevance: R of the patch tokens, [B, hw, D].

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=1)
        >>> pixels_relevance(vit, torch.rand(1, 3, 32, 32), torch.rand(1, 4, 192)).shape
        torch.Size([1, 1, 32, 32])
    """
    convolution = vit.patch_embed.proj
    weight, stride = convolution.weight, convolution.stride
    terms = (
        (images, weight, 1.0),
        (images.amin((1, 2, 3), keepdim=True).expand_as(images), weight.clamp(min=0), -1.0),
        (images.amax((1, 2, 3), keepdim=True).expand_as(images), weight.clamp(max=0), -1.0),
    )
    total = torch.stack([sign * F.conv2d(x, kernel, stride=stride) for x, kernel, sign in terms]).sum(0)
    of_one_value = (images.amin((1, 2, 3)) == images.amax((1, 2, 3)))[:, None, None, None]
    share = relevance.mT.reshape(total.shape) / (total + STABILIZER)
    shares = [sign * x * F.conv_transpose2d(share, kernel, stride=stride) for x, kernel, sign in terms]
    return torch.stack(shares).sum((0, 2)).unsqueeze(1).masked_fill(of_one_value, 0)
