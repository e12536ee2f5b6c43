"""Messages of libraries that a reader of our output can do nothing with, each with its reason."""

import logging
import warnings

from lightning.pytorch.utilities.rank_zero import rank_zero_module

_WARNINGS = (
    # The frozen backbone is in eval mode on purpose.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # Only a fit writes checkpoints: no other command needs the callbacks that do.
    r"Be aware that when using `ckpt_path`.*Checkpoint",
    # Lightning 2.6 on torch 2.15: theirs to mend.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


def quieten() -> None:
    """Silence Lightning's advertisements and the warnings that do not apply here."""
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message)
    rank_zero_module.log.addFilter(is_no_advertisement)


def is_no_advertisement(record: logging.LogRecord) -> bool:
    """Whether a log record is about the run, and not about a product.

    Example:
        >>> is_no_advertisement(logging.makeLogRecord({"msg": "💡 Tip: try our cloud"}))
        False
    """
    return "💡 Tip" not in record.getMessage()
