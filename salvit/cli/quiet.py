"""Messages of a run: they go to stderr, results to stdout, and `-q` turns the messages off."""

import logging
import warnings
from collections.abc import Sequence

_WARNINGS = (
    # The frozen backbone is in eval mode on purpose.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # Only a fit writes checkpoints: no other command needs the callbacks that do.
    r"Be aware that when using `ckpt_path`.*Checkpoint",
    # Every run has a new folder, also one that starts from another run's checkpoint.
    r"The dirpath has changed from",
    # Lightning 2.6 on torch 2.15.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # `salvit.__main__` hands over what was typed, without `-q`.
    r"LightningCLI's args parameter is intended",
    # Large images are decoded smaller, see `datamodules.base.read_image`.
    r"Image size .* could be decompression bomb",
)
_FLAGS = ("-q", "--quiet")


def take_quiet(arguments: Sequence[str]) -> list[str]:
    """Take `-q` and `--quiet` out of a command line, and switch messages off or on; returns the other arguments.

    Example:
        >>> take_quiet(["fit", "-q", "--name", "osie"]), is_quiet()
        (['fit', '--name', 'osie'], True)
        >>> take_quiet(["fit"]), is_quiet()
        (['fit'], False)
    """
    quiet = any(argument in _FLAGS for argument in arguments)
    logging.getLogger("salvit").setLevel(logging.WARNING if quiet else logging.INFO)
    return [argument for argument in arguments if argument not in _FLAGS]


def is_quiet() -> bool:
    """Whether only results, warnings and errors are to be printed: no progress, no messages."""
    return logging.getLogger("salvit").level > logging.INFO


def quieten() -> None:
    """Turn off Lightning's advertisements and warnings that do not apply, and with `-q` its messages."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_module  # heavy, and not needed for help

    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message)
    rank_zero_module.log.addFilter(is_no_advertisement)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING if is_quiet() else logging.INFO)


def is_no_advertisement(record: logging.LogRecord) -> bool:
    """Whether a log record is about the run, not about a product.

    Example:
        >>> is_no_advertisement(logging.makeLogRecord({"msg": "💡 Tip: try our cloud"}))
        False
    """
    return "💡 Tip" not in record.getMessage()
