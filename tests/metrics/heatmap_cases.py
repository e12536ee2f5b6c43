"""Heatmaps with boxes, drawn by hypothesis or from a seed."""

import torch
from hypothesis import strategies as st

SIZE = (9, 12)


def heatmaps_and_boxes(seed, grid=(3, 4), size=SIZE, counts=(2, 1, 3), levels=None):
    """Heatmaps [B, h, w] in float64 with B lists of boxes; `levels` makes values tie."""
    generator = torch.Generator().manual_seed(seed)
    heatmaps = torch.rand(len(counts), *grid, dtype=torch.float64, generator=generator) ** 2
    if levels is not None:
        heatmaps = (heatmaps * levels).floor()
    return heatmaps, [boxes_in(size, n, generator) for n in counts]


def boxes_in(size, n, generator):
    """float32 [n, 4] with fractional edges, at least 1.5 pixels wide."""
    extent = torch.tensor([size[1], size[0]])
    low = torch.rand(n, 2, generator=generator) * (extent - 1.5)
    high = low + 1.5 + torch.rand(n, 2, generator=generator) * (extent - 1.5 - low)
    return torch.cat([low, high], 1)


heatmap_batches = st.builds(
    heatmaps_and_boxes,
    seed=st.integers(0, 2**32 - 1),
    grid=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    counts=st.tuples(*[st.integers(0, 3)] * 3),
    levels=st.sampled_from([None, 2, 5]),
)
