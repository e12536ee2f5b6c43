"""What every process has, on all of them."""

from typing import Any

import torch


def gathered(items: list[Any]) -> list[Any]:
    """Items of all processes, by rank: the order in which metrics gather. Every process has to call it.

    Args:
        items: of this process; picklable.

    Example:
        >>> gathered(["a", "b"])
        ['a', 'b']
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return items
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, items)
    return [item for part in parts for item in part]
