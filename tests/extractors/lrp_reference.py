"""LRP of one image, written down as the papers have it: explicit matrices, every token, nothing saved or shared.

The forward pass is spelled out from the state dict, gradients come from autograd, and each rule is its formula.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sd(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b + 1e-9))


class Reference:
    """Activations of one image [3, H, W] and, after `explain`, attention, its gradient and its relevance per block."""

    def __init__(self, vit, image: Tensor, rules: str) -> None:
        self.vit, self.image, self.joint = vit, image, rules == "transformer"
        self.w = {name: value.detach().clone() for name, value in vit.state_dict().items()}
        self.prefix = vit.num_prefix_tokens
        self.distilled = "dist_token" in self.w
        self.heads = next(module.num_heads for module in vit.modules() if hasattr(module, "num_heads"))
        with torch.enable_grad():
            self.logits = self._forward()

    # Forward pass

    def _forward(self) -> Tensor:
        x = self._embed()
        self.acts = []
        for block in range(len(self.vit.blocks)):
            x, act = self._block(x, f"blocks.{block}.")
            self.acts.append(act)
        self.features = self._norm(x, "norm")
        return self._classify()

    def _embed(self) -> Tensor:
        kernel = self.w["patch_embed.proj.weight"]
        size = kernel.shape[-1]
        rows = [
            kernel.flatten(1) @ self.image[:, y : y + size, x : x + size].flatten()
            for y in range(0, self.image.shape[1], size)
            for x in range(0, self.image.shape[2], size)
        ]
        self.patches = torch.stack(rows) + self.w.get("patch_embed.proj.bias", 0.0)
        prefix = [self.w[name][0] for name in ("cls_token", "dist_token", "reg_token") if name in self.w]
        if getattr(self.vit, "no_embed_class", False):
            x = torch.cat([*prefix, self.patches + self.w["pos_embed"][0]])
        else:
            x = torch.cat([*prefix, self.patches]) + self.w["pos_embed"][0]
        self.embedded = x
        return self._norm(x, "norm_pre")

    def _block(self, x: Tensor, name: str) -> tuple[Tensor, dict[str, Tensor]]:
        act = {"x": x}
        act["n1"] = self._norm(x, name + "norm1")
        act["o"] = self._norm(
            self._attend(act, self._linear(act["n1"], name + "attn.qkv"), name + "attn."), name + "attn.norm"
        )
        act["branch1"] = self._linear(act["o"], name + "attn.proj") * self.w.get(name + "ls1.gamma", 1.0)
        act["mid"] = x + act["branch1"]
        act["n2"] = self._norm(act["mid"], name + "norm2")
        act["h"] = self._hidden(act, name + "mlp.")
        act["branch2"] = self._linear(act["h"], name + "mlp.fc2") * self.w.get(name + "ls2.gamma", 1.0)
        return act["mid"] + act["branch2"], act

    def _attend(self, act: dict[str, Tensor], qkv: Tensor, name: str) -> Tensor:
        """Queries, keys and values side by side [N, 3D] → what attention gives [N, D]."""
        q, k, act["v"] = qkv.view(len(qkv), 3, self.heads, -1).permute(1, 2, 0, 3)
        act["q before"], act["k before"] = self._norm(q, name + "q_norm"), self._norm(k, name + "k_norm")
        act["q"], act["k"] = self._turned(act["q before"]), self._turned(act["k before"])
        root = q.shape[-1] ** 0.5
        act["scores"] = act["q"] @ act["k"].transpose(1, 2) + root * self._bias(name)
        attention = torch.softmax(act["scores"] / root, dim=-1)
        act["A"] = attention if attention.requires_grad else attention.requires_grad_()
        act["AV"] = act["A"] @ act["v"]
        return act["AV"].transpose(0, 1).reshape(len(qkv), -1)

    # What models of other makes do here

    def _turned(self, x: Tensor) -> Tensor:
        return x

    def _bias(self, name: str) -> Tensor | float:
        return 0.0

    def _hidden(self, act: dict[str, Tensor], name: str) -> Tensor:
        return self._norm(F.gelu(self._linear(act["n2"], name + "fc1")), name + "norm")

    # What the classifier makes of it

    def _classify(self) -> Tensor:
        if self.distilled:
            self.halves = [self._linear(self.features[i], n) / 2 for i, n in enumerate(("head", "head_dist"))]
            return self.halves[0] + self.halves[1]
        self.pooled = self._norm(self.features[self._pool()].mean(0), "fc_norm")
        return self._linear(self.pooled, "head")

    def _pool(self) -> slice:
        if self.vit.global_pool == "token":
            return slice(0, 1)
        return slice(0 if getattr(self.vit, "pool_include_prefix", False) else self.prefix, None)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0.0)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        if name + ".weight" not in self.w:
            return x
        weight, bias = self.w[name + ".weight"], self.w[name + ".bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self.vit.get_submodule(name).eps)

    # Relevance

    def linear(self, x: Tensor, name: str, relevance: Tensor) -> Tensor:
        weight = self.w[name + ".weight"]
        xp, xn, wp, wn = x.clamp(min=0), x.clamp(max=0), weight.clamp(min=0), weight.clamp(max=0)
        zp, zn = xp @ wp.T, xn @ wn.T
        if self.joint:
            zp = zn = zp + zn
        return xp * (sd(relevance, zp) @ wp) + xn * (sd(relevance, zn) @ wn)

    def add(self, a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
        a, b = a * sd(relevance, a + b), b * sd(relevance, a + b)
        if not self.joint:
            return a, b
        size = a.sum().abs() + b.sum().abs()
        a_part, b_part = (sd(part.sum().abs(), size) * relevance.sum() for part in (a, b))
        return a * sd(a_part, a.sum()), b * sd(b_part, b.sum())

    def explain(self, target: int) -> Tensor:
        """Fill `R_A` and `grad_A` of every block; return the relevance of the embedded tokens [N, D]."""
        gradients = torch.autograd.grad(
            self.logits[target], [act["A"] for act in self.acts], allow_unused=True
        )
        with torch.no_grad():
            seed = F.one_hot(torch.tensor(target), len(self.logits)).to(self.logits.dtype)
            relevance = self._relevance_of_features(seed)
            for block in reversed(range(len(self.acts))):
                self.acts[block]["grad_A"] = gradients[block]
                relevance = self._relevance_of_block(self.acts[block], f"blocks.{block}.", relevance)
        return relevance

    def _relevance_of_features(self, seed: Tensor) -> Tensor:
        relevance = torch.zeros_like(self.features)
        if self.distilled:
            shares = self.add(*self.halves, seed)
            for index, name in enumerate(("head", "head_dist")):
                x = self.features[index]
                relevance[index] = x * sd(self.linear(x, name, shares[index]), x)
            return relevance
        of_pool, x = self.linear(self.pooled, "head", seed), self.features[self._pool()]
        relevance[self._pool()] = x * sd(of_pool, x.sum(0))
        return relevance

    def _relevance_of_block(self, act: dict[str, Tensor], name: str, relevance: Tensor) -> Tensor:
        past, branch = self.add(act["mid"], act["branch2"], relevance)
        branch = self._before_hidden(act, name + "mlp.", self.linear(act["h"], name + "mlp.fc2", branch))
        relevance = act["mid"] * (sd(past, act["mid"]) + sd(branch, act["mid"]))
        past, branch = self.add(act["x"], act["branch1"], relevance)
        branch = self._before_attention(act, self.linear(act["o"], name + "attn.proj", branch))
        branch = self.linear(act["n1"], name + "attn.qkv", branch)
        return act["x"] * (sd(past, act["x"]) + sd(branch, act["x"]))

    def _before_attention(self, act: dict[str, Tensor], relevance: Tensor) -> Tensor:
        """Relevance of what attention gives [N, D] → that of queries, keys and values side by side [N, 3D]."""
        share = sd(relevance.view(len(relevance), self.heads, -1).transpose(0, 1), act["AV"])
        act["R_A"] = act["A"] * (share @ act["v"].transpose(1, 2)) / 2
        of_v = act["v"] * (act["A"].transpose(1, 2) @ share) / 2
        share = sd(act["R_A"], act["scores"])
        of_q, of_k = act["q"] * (share @ act["k"]) / 2, act["k"] * (share.transpose(1, 2) @ act["q"]) / 2
        of_q, of_k = (
            self._before_turn(act[f"{x} before"], act[x], of) for x, of in (("q", of_q), ("k", of_k))
        )
        return torch.stack([of_q, of_k, of_v]).permute(2, 0, 1, 3).reshape(len(relevance), -1)

    def _before_turn(self, x: Tensor, turned: Tensor, relevance: Tensor) -> Tensor:
        return relevance

    def _before_hidden(self, act: dict[str, Tensor], name: str, relevance: Tensor) -> Tensor:
        return self.linear(act["n2"], name + "fc1", relevance)


def read(reference: Reference, matrices: Tensor) -> Tensor:
    """The row of [..., N, N] that the classifier reads, over the patches: [..., h, w]."""
    pool = slice(0, 1) if reference.distilled else reference._pool()
    size = reference.w["patch_embed.proj.weight"].shape[-1]
    height, width = (side // size for side in reference.image.shape[1:])
    return matrices[..., pool, :].mean(-2)[..., reference.prefix :].unflatten(-1, (height, width))


def relevance_lrp(
    vit, image: Tensor, target: int, start_layer: int, per_head: bool = False, kind=Reference
) -> Tensor:
    reference = kind(vit, image, "transformer")
    reference.explain(target)
    factors = [(act["grad_A"] * act["R_A"]).clamp(min=0).detach() for act in reference.acts]
    identity = torch.eye(factors[0].shape[-1], dtype=image.dtype)
    product = identity
    for factor in factors[start_layer:-1]:
        product = (factor.mean(0) + identity) @ product
    last = factors[-1] if per_head else factors[-1].mean(0, keepdim=True)
    return read(reference, (last + identity) @ product - identity)


def partial_lrp(vit, image: Tensor, target: int, per_head: bool = False, kind=Reference) -> Tensor:
    reference = kind(vit, image, "original")
    reference.explain(target)
    relevance = reference.acts[-1]["R_A"].clamp(min=0)
    return read(reference, relevance if per_head else relevance.mean(0, keepdim=True))


def full_lrp(vit, image: Tensor, target: int, kind=Reference) -> Tensor:
    reference = kind(vit, image, "original")
    relevance = reference.explain(target)
    prefix = reference.prefix
    relevance = (reference.patches * sd(relevance[prefix:], reference.embedded[prefix:])).detach()
    weight = reference.w["patch_embed.proj.weight"]
    size, low, high = weight.shape[-1], image.min(), image.max()
    pixels, patch = torch.zeros(image.shape[1:], dtype=image.dtype), 0
    for y in range(0, image.shape[1], size):
        for x in range(0, image.shape[2], size):
            part = image[:, y : y + size, x : x + size]
            terms = part * weight - low * weight.clamp(min=0) - high * weight.clamp(max=0)
            share = relevance[patch] / (terms.sum((1, 2, 3)) + 1e-9)
            pixels[y : y + size, x : x + size] = (share[:, None, None, None] * terms).sum((0, 1))
            patch += 1
    return pixels[None]
