"""Instance masks."""

from torch import Tensor

from salvit.errors import InvalidValueError


def bool_mask(mask: Tensor | None, image: int) -> Tensor | None:
    """Check a mask and return it as booleans.

    Args:
        mask: [H, W], positive on the object; None for none.
        image: its index in the batch, for the message.

    Returns:
        Bool [H, W] on the CPU, or None.

    Raises:
        ValueError: The shape is not [H, W] with H, W ≥ 1.

    Example:
        >>> import torch
        >>> bool_mask(torch.tensor([[0.0, 1.0]]), 0)
        tensor([[False,  True]])
    """
    if mask is None:
        return None
    if mask.ndim != 2 or 0 in mask.shape:
        raise InvalidValueError(
            f"mask of image {image} has shape {tuple(mask.shape)}; expected [H, W], or None for an image "
            "without one"
        )
    return mask.detach().cpu() > 0
