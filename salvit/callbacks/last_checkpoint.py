"""The checkpoint that every fit leaves."""

from lightning.pytorch.callbacks import ModelCheckpoint


class LastCheckpoint(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` in the log folder after every epoch, however often the model is validated.

    A class of its own, as Lightning refuses two callbacks of one class that watch the same.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
