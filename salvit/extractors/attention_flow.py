"""Attention flow: the maximum flow between the classifier and a patch in a network whose capacities are attention."""

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.base import Extractor, patches_to_grid, register_method
from salvit.extractors.recording import record
from salvit.extractors.requirements import check_finite
from salvit.extractors.rows import Rows, check_rows, rows_of
from salvit.vit import ViT, has_residual, num_prefix_tokens

_LARGEST_GRID = 400
_ONE = 2**29  # scipy's capacities are integers; with those of the way back they must fit into 32 bits


@register_method("attention_flow")
class AttentionFlow(Extractor):
    """Maximum flow from the tokens that the classifier reads to each input patch, through the attention of all blocks.

    The graph has a node for each token before each block and after the last. The edge from token i after block l to
    token j before it has the capacity Â_l[i, j], Â_l = (A_l + I) / 2 with A_l the mean over heads (A_l itself for a
    block without residual connections). The flow leaves the class token, or in equal parts the tokens that the
    classifier reads, so a map is at most 1. Every patch is a separate flow problem: about 4 s on a CPU for 196 patches
    and 12 blocks. With many blocks, many patches reach the same maximum.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 3.

    Args:
        rows: see `salvit.extractors.rows.Rows`.

    Example:
        >>> from salvit.vit import load_vit
        >>> vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=32, depth=2)
        >>> AttentionFlow()(vit, torch.rand(4, 3, 32, 48)).shape
        torch.Size([4, 1, 2, 3])
    """

    def __init__(self, rows: Rows = "auto") -> None:
        check_rows(rows)
        self.rows: Rows = rows

    def check_grid(self, vit: ViT, grid: tuple[int, int]) -> None:
        """Raise ValueError if the patch grid is so large that an image would take minutes."""
        if grid[0] * grid[1] > _LARGEST_GRID:
            raise InvalidValueError(
                f"{self} solves a flow problem for each patch and takes at most {_LARGEST_GRID} patches; the images "
                f"have {grid[0]}×{grid[1]}: take smaller images"
            )

    def _maps(self, vit: ViT, images: Tensor, target: Tensor | None) -> Tensor:
        with record(vit, reduce=lambda block, attention: attention.mean(dim=1), stop=True) as recording:
            vit(images)
        blocks = range(len(vit.blocks))
        kept = [float(has_residual(vit.blocks[block])) for block in blocks]
        attention = torch.stack([recording.attention[block] for block in blocks], dim=1)  # [B, blocks, N, N]
        check_finite(attention)
        read = range(attention.shape[-1])[rows_of(vit, self.rows)]
        flows = [_flows(one, kept, read, num_prefix_tokens(vit)) for one in attention.double().cpu().numpy()]
        return patches_to_grid(vit, images, torch.from_numpy(np.stack(flows)).to(attention))[:, None]


def _flows(attention: np.ndarray, kept: list[float], read: range, prefix: int) -> np.ndarray:
    """Maximum flow from the tokens that are read to each token [N], 0 to the prefix tokens, of one image.

    Args:
        attention: mean over the heads of each block, [blocks, N, N].
        kept: 1 for a block with residual connections, else 0.
        read: tokens that the classifier reads.
        prefix: number of prefix tokens.
    """
    depth, tokens, _ = attention.shape
    edges = (attention + np.reshape(kept, (-1, 1, 1)) * np.eye(tokens)) / (1 + np.reshape(kept, (-1, 1, 1)))
    block, after, before = np.indices(edges.shape).reshape(3, -1)
    source = (depth + 1) * tokens
    starts = np.concatenate([(block + 1) * tokens + after, np.full(len(read), source)])
    ends = np.concatenate([block * tokens + before, depth * tokens + np.array(read)])
    sizes = np.rint(_ONE * np.concatenate([edges.ravel(), np.full(len(read), 1 / len(read))])).astype(
        np.int32
    )
    # Before SciPy 1.12 maximum_flow takes no other type.
    places = starts.astype(np.int32), ends.astype(np.int32)
    graph = csr_array((sizes, places), shape=(source + 1, source + 1))
    found = [maximum_flow(graph, source, token).flow_value for token in range(prefix, tokens)]
    return np.concatenate([np.zeros(prefix), np.array(found) / _ONE])
