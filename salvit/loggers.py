"""W&B without prompting: online where it can be, offline where not."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

import wandb
from lightning.pytorch.loggers import WandbLogger as LightningWandbLogger
from lightning.pytorch.utilities import rank_zero_info


class WandbLogger(LightningWandbLogger):
    """Lightning's W&B logger that goes offline by itself, and says so, without a login or a network.

    `WANDB_MODE` and `offline=True` are followed as they are. Offline runs lie under `save_dir/wandb` and are
    uploaded later by `wandb sync`.

    Args:
        offline: never upload.
        **kwargs: as for Lightning's.
    """

    def __init__(self, offline: bool = False, **kwargs: Any) -> None:
        if not offline and "WANDB_MODE" not in os.environ:
            reason = _why_offline()
            if reason:
                folder = f"{kwargs.get('save_dir', '.')}/wandb"
                rank_zero_info(f"W&B: {reason}; logging offline under {folder} (`wandb sync` uploads it)")
                offline = True
        if offline:
            # Not Lightning's `offline`: it sets WANDB_MODE, too late for wandb, which has been asked for a login by
            # then, and for good, so that the next logger would take it for the user's choice.
            kwargs["mode"] = "offline"
        super().__init__(**kwargs)


@contextmanager
def finish_wandb() -> Iterator[None]:
    """Finish the W&B run at the end, without which a later one in the same process would go on with it."""
    try:
        yield
    finally:
        if wandb.run is not None:
            wandb.finish()


def _why_offline() -> str | None:
    """Why W&B cannot be reached, or None if it can."""
    if not wandb.login(prompt=False):
        return "no login"
    address = urlparse(wandb.setup().settings.base_url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=3):
            return None
    except OSError as error:
        return f"{address.hostname} cannot be reached ({error})"
