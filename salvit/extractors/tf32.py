"""Float32 arithmetic in full, where a GPU would otherwise shorten the factors of products to 10 bits (TF32)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def without_tf32() -> Iterator[None]:
    """Multiply and convolve float32 in full precision inside the `with` block.

    Convolutions use TF32 on GPUs by default, matrix products once `torch.set_float32_matmul_precision` allows it.

    Example:
        >>> with without_tf32():
        ...     product = torch.rand(2, 3) @ torch.rand(3, 2)
    """
    before = [(place, name, getattr(place, name)) for place, name, _ in _switches()]
    try:
        for place, name, full in _switches():
            setattr(place, name, full)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def _switches() -> list[tuple[Any, str, Any]]:
    """Where torch has its switches, their names, and what turns TF32 off."""
    backends = torch.backends
    if not hasattr(backends.cudnn, "conv"):  # before torch 2.9
        return [(backends.cuda.matmul, "allow_tf32", False), (backends.cudnn, "allow_tf32", False)]
    mkldnn: Any = backends.mkldnn
    places = [backends.cuda.matmul, backends.cudnn.conv, mkldnn.matmul, mkldnn.conv]
    return [(place, "fp32_precision", "ieee") for place in places]
