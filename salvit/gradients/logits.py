"""Gradients of class logits on frozen models, in any grad mode."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def differentiable() -> Iterator[None]:
    """Record an autograd graph inside the `with` block, also under `no_grad` and `inference_mode`.

    Example:
        >>> with torch.inference_mode(), differentiable():
        ...     torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        (True, False)
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


def outside_graph(tensor: Tensor) -> Tensor:
    """Return a copy without history that autograd may save, also of a tensor made in inference mode.

    Args:
        tensor: any tensor.
    """
    return tensor.detach().clone()


def target_logits(logits: Tensor, target: Tensor | None) -> Tensor:
    """Return the sum over the batch of each image's target logit; samples do not mix, so neither do gradients.

    Args:
        logits: [B, classes].
        target: int64 [B], or None for the predicted classes.

    Returns:
        A scalar.

    Example:
        >>> target_logits(torch.tensor([[1.0, 2.0], [8.0, 4.0]]), torch.tensor([1, 1]))
        tensor(6.)
    """
    classes = logits.argmax(dim=-1) if target is None else outside_graph(target)
    return logits.gather(1, classes[:, None]).sum()
