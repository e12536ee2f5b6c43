"""AttnLRP's rules written out for one image, layer by layer and head by head."""

import torch

from salvit.vit import has_residual
from tests.extractors import slow_vit


class Slow:
    """Relevance of one image, from the logit down: every rule divides by the output and multiplies by the input."""

    def __init__(self, vit, image):
        self.vit, self.image, self.w = vit, image, dict(vit.state_dict())
        self.kept = float(has_residual(vit.blocks[0]))
        self.trace = slow_vit.run(vit, image)
        self.attention = []

    def explain(self, target):
        weights, tokens = self.w, self.trace.outputs[-1].detach()
        normed = slow_vit._norm(tokens[0], weights, "norm")
        relevance = torch.zeros_like(tokens)
        relevance[0] = self.norm(tokens[0], "norm", normed * weights["head.weight"][target])
        for index in reversed(range(len(self.vit.blocks))):
            relevance = self.block(index, relevance)
        self.patches = relevance[1:].sum(1)
        return self.pixels(relevance)

    def linear(self, x, name, relevance):
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        z = x @ weight.T + bias
        return x * (relevance / z @ weight)

    def norm(self, x, name, relevance):
        """Identity for the division by the deviation and for the weight; the bias and the mean by the ε-rule."""
        if f"{name}.weight" not in self.w:
            return relevance
        centred = x - x.mean(-1, keepdim=True)
        deviation = (centred.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
        scaled = centred / deviation * self.w[f"{name}.weight"]
        relevance = relevance * scaled / (scaled + self.w[f"{name}.bias"])
        share = relevance / centred
        return x * (share - share.mean(-1, keepdim=True))

    def product(self, left, right, relevance):
        """Of left @ right, half to each."""
        share = relevance / (2 * (left @ right))
        return left * (share @ right.T), right * (left.T @ share)

    def block(self, index, relevance):
        name, trace = f"blocks.{index}.", self.trace
        x, between = trace.inputs[index].detach(), trace.between[index].detach()
        normed = slow_vit._norm(between, self.w, name + "norm2")
        hidden = normed @ self.w[name + "mlp.fc1.weight"].T + self.w[name + "mlp.fc1.bias"]
        active = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        output = active @ self.w[name + "mlp.fc2.weight"].T + self.w[name + "mlp.fc2.bias"]
        share = relevance / (self.kept * between + output)
        of_mlp = self.linear(active, name + "mlp.fc2", share * output)  # the activation passes it on
        of_normed = self.linear(normed, name + "mlp.fc1", of_mlp)
        relevance = share * self.kept * between + self.norm(between, name + "norm2", of_normed)
        share = relevance / between
        mixed = torch.cat(
            [a @ v for a, v in zip(trace.attention[index], trace.values[index], strict=True)], 1
        )
        mixed = mixed.detach()
        of_mixed = self.linear(mixed, name + "attn.proj", share * (between - self.kept * x))
        qkv = trace.normed[index].detach() @ self.w[name + "attn.qkv.weight"].T
        query, key, value = (qkv + self.w[name + "attn.qkv.bias"]).chunk(3, 1)
        heads = self.vit.blocks[index].attn.num_heads
        parts = []
        for head, of_head in enumerate(of_mixed.chunk(heads, 1)):
            attention = trace.attention[index][head].detach()
            one = [part.chunk(heads, 1)[head] for part in (query, key, value)]
            of_attention, of_value = self.product(attention, one[2], of_head)
            self.attention.append(of_attention.sum(0)[1:])
            scores = trace.scores[index][head].detach()
            of_scores = scores * (of_attention - attention * of_attention.sum(1, keepdim=True))
            of_query, of_key = self.product(one[0], one[1].T, of_scores)  # the scale passes it on
            parts.append((of_query, of_key.T, of_value))
        of_qkv = torch.cat([torch.cat(part, 1) for part in zip(*parts, strict=True)], 1)
        of_normed = self.linear(trace.normed[index].detach(), name + "attn.qkv", of_qkv)
        return share * self.kept * x + self.norm(x, name + "norm1", of_normed)

    def pixels(self, relevance):
        kernel = self.w["patch_embed.proj.weight"]
        size, found = kernel.shape[-1], torch.zeros_like(self.image)
        share = relevance / self.trace.inputs[0].detach()
        columns = self.image.shape[2] // size
        for patch, of_patch in enumerate(share[1:]):
            top, left = size * (patch // columns), size * (patch % columns)
            place = (slice(None), slice(top, top + size), slice(left, left + size))
            found[place] = self.image[place] * torch.einsum("d,dchw->chw", of_patch, kernel)
        return found.sum(0)
