"""Attention flow against a linear program, and what a maximum flow must be."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from salvit.extractors import AttentionFlow, Rollout
from salvit.vit import load_vit
from tests.extractors import slow_vit
from tests.registry import nothing_computed


def slow_flow(attention, token, read):
    """The largest value of a flow from the tokens that are read to one token, as a linear program over all edges."""
    depth, size, _ = attention.shape
    capacity = (attention + np.eye(size)) / 2
    # Unknowns: the flow of each edge (block, after, before), and what enters each token after the last block.
    unknowns, places = capacity.size, np.arange(capacity.size).reshape(capacity.shape)
    rows, bounds = [], [(0, edge) for edge in capacity.ravel()]
    bounds += [(0, 1 / len(read) if token in read else 0) for token in range(size)]
    for level in range(1, depth + 1):
        for node in range(size):
            row = np.zeros(unknowns + size)
            row[places[level - 1, node, :]] = 1
            if level == depth:
                row[unknowns + node] = -1
            else:
                row[places[level, :, node]] = -1
            rows.append(row)
    gain = np.zeros(unknowns + size)
    gain[places[0, :, token]] = -1
    return -linprog(gain, A_eq=np.stack(rows), b_eq=np.zeros(len(rows)), bounds=bounds).fun


def attention_of(vit, image):
    return (
        torch.stack([torch.stack(heads).mean(0) for heads in slow_vit.run(vit, image).attention])
        .detach()
        .numpy()
    )


@pytest.mark.parametrize("rows", ["auto", "all"])
def test_matches_a_linear_program(make_vit, images, rows):
    vit, image = make_vit(img_size=(16, 24), depth=2), images[:1, :, :16, :24]
    attention = attention_of(vit, image[0])
    read = [0] if rows == "auto" else list(range(1, 7))
    expected = np.reshape([slow_flow(attention, token, read) for token in range(1, 7)], (2, 3))
    maps = AttentionFlow(rows)(vit, image)[0, 0].numpy()
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-6)
    assert 0.01 < maps.min() < 0.9 * maps.max() < 1


def test_no_less_than_rollout_and_no_more_than_one(vit, images):
    """Rollout is one way to divide what leaves the class token, so what reaches a patch by it is a flow."""
    flow, rollout = AttentionFlow()(vit, images), Rollout()(vit, images)
    assert (flow >= rollout - 1e-6).all()
    assert flow.max() <= 1 + 1e-6


def test_a_large_grid_is_refused_before_anything_is_computed():
    vit = load_vit("vit_tiny_patch16_224", pretrained=False, img_size=336, depth=1)
    with nothing_computed(), pytest.raises(ValueError, match="at most 400 patches; the images have 21×21"):
        AttentionFlow()(vit, torch.rand(1, 3, 336, 336))
