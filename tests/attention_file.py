"""Reads the attention that `salvit.results.kept.attention_text` writes, as the script of a page does."""

import base64
import zlib

import numpy as np


def read_attention_text(one, shape):
    """The attention [blocks, heads, M, M], `shape` being (blocks, heads, M)."""
    shares = np.frombuffer(zlib.decompress(base64.b64decode(one["attention"])), dtype=np.uint8)
    largest = np.frombuffer(base64.b64decode(one["largest"]), dtype="<f4").reshape(shape)
    return shares.reshape(*shape, shape[-1]) / np.float32(255) * largest[..., None]
