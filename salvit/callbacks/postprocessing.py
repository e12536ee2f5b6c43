"""Fitting the post-processing of a submission on images whose fixations are known."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.metrics import at_native_size, looked_at
from salvit.metrics.functional import cc, information_gain, kld
from salvit.modules.saliency import Batch
from salvit.results import describe, facts, gathered
from salvit.results.files import write
from salvit.submission.postprocessing import PostProcessing, grid

Score = Literal["IG", "CC", "KLD"]
_SIGNS = {"IG": 1, "CC": 1, "KLD": -1}
_SCORES: dict[str, Callable[[Tensor, Batch, int], Tensor]] = {
    "IG": lambda density, batch, row: information_gain(density, [batch["fixations"][row].cpu()]),
    "CC": lambda density, batch, row: cc(density, batch["density"][row][None].cpu()),
    "KLD": lambda density, batch, row: kld(density, batch["density"][row][None].cpu()),
}


class FitPostProcessing(Callback):
    """Chooses, in `salvit validate`, the post-processing whose mean score over the val split is best.

    Every combination of the values is tried on every image, at native size, and the result written as JSON:
    `parameters`, `fitted_on`, `images`, `skipped` (images that could not be scored), `score`, `before` (of the map as
    it is), `after`, and `tried`. The file is an option of `salvit.callbacks.submission.SubmissionWriter`.

    Args:
        file: where to write.
        score: "IG" (bits per fixation over the uniform density; over another baseline the choice is the same), "CC"
            or "KLD", as in `salvit.metrics.functional`.
        blur: σ to try, as shares of the longer side.
        equalize: whether to make histograms flat first: False, True or both.
        power: exponents to try.
        center_weight: weights of the center prior to try.
        center_sigma: standard deviations of the center prior to try, as shares of a side.

    Raises:
        ValueError: if there is no such score, or a list is empty or holds a value out of range.
    """

    def __init__(
        self,
        file: str,
        score: Score = "IG",
        blur: tuple[float, ...] = (0.0, 0.02, 0.04),
        equalize: tuple[bool, ...] = (False, True),
        power: tuple[float, ...] = (0.5, 1.0, 2.0),
        center_weight: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4),
        center_sigma: tuple[float, ...] = (0.25,),
    ) -> None:
        if score not in _SCORES:
            raise InvalidValueError(f"score is {score!r}; expected one of {', '.join(_SCORES)}")
        self.file = Path(file)
        self.score = score
        # The unchanged map comes first, so it is chosen if others are only as good.
        sigmas, weights = list(center_sigma), list(center_weight)
        options: dict[str, Any] = {"blur": list(blur), "equalize": list(equalize), "power": list(power)}
        self.tried = [PostProcessing(), *grid(**options, center_weight=weights, center_sigma=sigmas)]
        if len(self.tried) == 1:
            raise InvalidValueError(
                "nothing to try: blur, equalize, power, center_weight and center_sigma each need a value"
            )
        self.scores: list[list[float]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the scores of an earlier run."""
        self.scores = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Score every post-processing on every image of a batch."""
        images = zip(at_native_size(outputs, batch["size"]), looked_at(batch), strict=True)
        for row, (saliency, counts) in enumerate(images):
            score = _SCORES[self.score]
            densities = [process(saliency)[None] for process in self.tried] if counts else []
            scores = [float(score(density, batch, row)) for density in densities]
            self.scores.append(scores or [math.nan] * len(self.tried))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the best, and write it."""
        rows = gathered(self.scores)
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        scored = [row for row in rows if not any(map(math.isnan, row))]
        if not scored:
            raise InvalidValueError("no image of the val split can be scored: none has fixations")
        # fsum is exact, so that the order in which processes are gathered does not show.
        means = [math.fsum(column) / len(scored) for column in zip(*scored, strict=True)]
        best = max(range(len(means)), key=lambda index: _SIGNS[self.score] * means[index])
        data = trainer.datamodule  # type: ignore[attr-defined]
        record = {
            "parameters": self.tried[best].options(),
            "fitted_on": describe(facts(data, "val", [True] * len(rows))),
            "images": len(scored),
            "skipped": len(rows) - len(scored),
            "score": self.score,
            "before": means[0],
            "after": means[best],
            "tried": [
                {**one.options(), self.score: mean} for one, mean in zip(self.tried, means, strict=True)
            ],
        }
        write(self.file.parent, {self.file.name: record})
        rank_zero_info(
            f"post-processing {self.tried[best]}: {self.score} {means[0]:.4f} → {means[best]:.4f}, in {self.file}"
        )
