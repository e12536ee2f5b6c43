"""Slow references of models whose blocks are not standard: rotations as matrices; biases, gates, norms spelled out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.extractors.lrp_reference import Reference, sd


class OfEva(Reference):
    """Queries and keys are rotated by their place, the MLP is gated."""

    def _forward(self) -> Tensor:
        for block in range(len(self.vit.blocks)):
            name = f"blocks.{block}."
            parts = [self.w[f"{name}attn.{part}"] for part in ("q_bias", "v_bias")]
            self.w[name + "attn.qkv.bias"] = torch.cat([parts[0], torch.zeros_like(parts[0]), parts[1]])
            for ours, theirs in (("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2")):
                if name + theirs in self.w:
                    self.w[name + ours] = self.w[name + theirs]
        sine, cosine = self.vit.rope.get_embed().chunk(2, -1)
        count, size = cosine.shape
        self.rotations = torch.eye(size, dtype=self.image.dtype).repeat(self.prefix + count, 1, 1)
        for token in range(count):
            matrix = torch.zeros(size, size, dtype=self.image.dtype)
            for pair in range(0, size, 2):
                matrix[pair, pair] = cosine[token, pair]
                matrix[pair + 1, pair + 1] = cosine[token, pair + 1]
                matrix[pair + 1, pair] = -sine[token, pair]
                matrix[pair, pair + 1] = sine[token, pair + 1]
            self.rotations[self.prefix + token] = matrix
        return super()._forward()

    def _turned(self, x: Tensor) -> Tensor:
        return torch.einsum("hni,nij->hnj", x, self.rotations)

    def _before_turn(self, x: Tensor, turned: Tensor, relevance: Tensor) -> Tensor:
        return x * torch.einsum("hnj,nij->hni", sd(relevance, turned), self.rotations)

    def _hidden(self, act: dict[str, Tensor], name: str) -> Tensor:
        gate = F.silu(self._linear(act["n2"], name + "fc1_g"))
        return self._norm(gate * self._linear(act["n2"], name + "fc1_x"), name + "norm")

    def _before_hidden(self, act: dict[str, Tensor], name: str, relevance: Tensor) -> Tensor:
        return sum(self.linear(act["n2"], name + layer, relevance / 2) for layer in ("fc1_g", "fc1_x"))


class OfRelativePositions(Reference):
    """Scores have a bias by place; tokens have no position embedding."""

    def _embed(self) -> Tensor:
        self.w["pos_embed"] = torch.zeros(1, 1, dtype=self.image.dtype)
        return super()._embed()

    def _bias(self, name: str) -> Tensor:
        table, index = self.w[name + "rel_pos.relative_position_bias_table"], name + "rel_pos"
        index = self.vit.get_submodule(index).relative_position_index
        tokens = int(index.numel() ** 0.5)
        return table[index.flatten()].view(tokens, tokens, -1).permute(2, 0, 1)


class WithPostNorm(Reference):
    """Branches are normalised after they were computed, not before."""

    def _block(self, x: Tensor, name: str) -> tuple[Tensor, dict[str, Tensor]]:
        act = {"x": x, "n1": x}
        act["o"] = self._attend(act, self._linear(x, name + "attn.qkv"), name + "attn.")
        act["branch1"] = self._norm(self._linear(act["o"], name + "attn.proj"), name + "norm1")
        act["mid"] = act["n2"] = x + act["branch1"]
        act["h"] = self._hidden(act, name + "mlp.")
        act["branch2"] = self._norm(self._linear(act["h"], name + "mlp.fc2"), name + "norm2")
        return act["mid"] + act["branch2"], act


class WithParallelMlp(Reference):
    """Attention and MLP read the same tokens side by side."""

    def _block(self, x: Tensor, name: str) -> tuple[Tensor, dict[str, Tensor]]:
        act = {"x": x, "n1": self._norm(x, name + "in_norm")}
        joint = self._linear(act["n1"], name + "in_proj")
        hidden = joint.shape[1] - 3 * x.shape[1]
        act["h"] = F.gelu(joint[:, :hidden] + self.w.get(name + "mlp_bias", 0.0))
        act["o"] = self._attend(act, joint[:, hidden:], name)
        act["of attention"] = self._linear(act["o"], name + "attn_out_proj")
        act["of mlp"] = self._linear(act["h"], name + "mlp_out_proj")
        act["branch1"] = act["of attention"] + act["of mlp"]
        return x + act["branch1"], act

    def _relevance_of_block(self, act: dict[str, Tensor], name: str, relevance: Tensor) -> Tensor:
        past, branch = self.add(act["x"], act["branch1"], relevance)
        of_attention, of_mlp = self.add(act["of attention"], act["of mlp"], branch)
        of_attention = self._before_attention(
            act, self.linear(act["o"], name + "attn_out_proj", of_attention)
        )
        joint = torch.cat([self.linear(act["h"], name + "mlp_out_proj", of_mlp), of_attention], dim=1)
        branch = self.linear(act["n1"], name + "in_proj", joint)
        return act["x"] * (sd(past, act["x"]) + sd(branch, act["x"]))
