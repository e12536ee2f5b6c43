"""A progress bar on stderr, so that stdout holds results only."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout

from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, on stderr; none where that is no terminal."""

    def init_sanity_tqdm(self) -> Tqdm:
        """Make the bar of the validation before training."""
        return _on_stderr(super().init_sanity_tqdm)

    def init_train_tqdm(self) -> Tqdm:
        """Make the bar of training."""
        return _on_stderr(super().init_train_tqdm)

    def init_validation_tqdm(self) -> Tqdm:
        """Make the bar of validation."""
        return _on_stderr(super().init_validation_tqdm)

    def init_test_tqdm(self) -> Tqdm:
        """Make the bar of the test."""
        return _on_stderr(super().init_test_tqdm)

    def init_predict_tqdm(self) -> Tqdm:
        """Make the bar of prediction."""
        return _on_stderr(super().init_predict_tqdm)


def _on_stderr(make: Callable[[], Tqdm]) -> Tqdm:
    with redirect_stdout(sys.stderr):
        return make()
