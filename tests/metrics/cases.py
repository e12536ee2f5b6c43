"""Batches to score, drawn by hypothesis or from a seed."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

# No deadline: a busy machine is no failure.
examples = settings(deadline=None, max_examples=50)


def points_in(size, n, generator):
    """float32 [n, 2] of fractional (x, y) all over an image, with some exact repetitions."""
    height, width = size
    points = torch.rand(n, 2, generator=generator) * torch.tensor([width, height]) - 0.5
    points[n // 2 :] = points[: n - n // 2].clone()
    return points.clamp(max=torch.tensor([width - 0.501, height - 0.501]))


def batch(seed, size=(6, 9), images=3, levels=None, dtype=torch.float64, lengths=None):
    """Predictions, densities, fixations; `levels` quantises the predictions, so that values tie."""
    generator = torch.Generator().manual_seed(seed)
    pred = torch.rand(images, *size, dtype=dtype, generator=generator)
    if levels is not None:
        pred = (pred * levels).floor() / levels
    density = torch.rand(images, *size, dtype=dtype, generator=generator) ** 4
    lengths = [4 + i for i in range(images)] if lengths is None else lengths
    return pred, density, [points_in(size, n, generator) for n in lengths]


batches = st.builds(
    batch,
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    levels=st.sampled_from([None, 1, 3]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    lengths=st.tuples(*[st.integers(0, 5)] * 3),
)
