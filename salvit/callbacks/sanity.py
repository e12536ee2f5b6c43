"""Which methods fail the sanity checks of a run, and the curves of parameter randomisation."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from salvit import results
from salvit.callbacks.explanation_scores import by_group
from salvit.errors import InvalidValueError
from salvit.metrics import ParameterRandomisation, RandomLogit
from salvit.modules.explanation import ExplanationModule
from salvit.report.randomisation import draw_randomisation


class SanityChecks(Callback):
    """Says which methods fail which sanity check, after a test of the ExplanationModule with these scores.

    A method fails parameter randomisation, plain or smooth, if its maps of the model with random weights are on average
    too similar to its map of the trained model: over all parts that were randomised, or at the end; the efficient test
    if the entropy of its map does not rise; random logit if its map of another class is too similar. Such a map does
    not show what the model has learned, or why it chose this class. We chose the limits: the sources give none.

    The log folder gets `sanity.md` (also printed), the means and the checks that each method fails; `sanity.csv`, the
    mean rank correlation after each part of the model was randomised; and `sanity.png`, its curves.

    Args:
        weights: a method fails from this mean rank correlation with random weights on, in [−1, 1].
        classes: a method fails from this mean rank correlation of two classes on, in [−1, 1].

    Raises:
        ValueError: if a limit is not in [−1, 1].
    """

    def __init__(self, weights: float = 0.5, classes: float = 0.95) -> None:
        for name, value in (("weights", weights), ("classes", classes)):
            if not -1 <= value <= 1:
                raise InvalidValueError(f"{name} is a rank correlation and must be in [−1, 1]; got {value}")
        self.weights = weights
        self.classes = classes

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask for a sanity check before anything is computed.

        Raises:
            ValueError: if the scores have none.
        """
        assert isinstance(pl_module, ExplanationModule)
        if not any(isinstance(score, ParameterRandomisation | RandomLogit) for score in pl_module.scores):
            raise InvalidValueError(
                "SanityChecks needs ParameterRandomisation, SmoothParameterRandomisation or RandomLogit among "
                "model.scores, as in salvit:agcam/sanity.yaml"
            )

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the scores of all processes; print and write what fails."""
        assert isinstance(pl_module, ExplanationModule)
        groups = {name: by_group(metrics) for name, metrics in pl_module.metrics.items()}
        means = results.means(results.collect(groups, pl_module.images))
        curves = _curves(pl_module)
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero:
            return
        text = self._report(means)
        Console().print(text, soft_wrap=True, highlight=False, markup=False)
        if folder is not None:
            files: dict[str, Any] = {"sanity.md": f"{text}\n"}
            if len(curves):
                files |= {"sanity.csv": curves, "sanity.png": draw_randomisation(curves)}
            results.write(folder, files)

    def _report(self, means: pd.DataFrame) -> str:
        """A table of the checks, and a line per check that names the methods that fail it."""
        checks = {name: check for name, check in self._checks().items() if name in means}
        failed = {name: fails(means[name]) for name, (_, fails) in checks.items()}
        head = ["method", *checks, "fails"]
        lines = [head, ["---"] * len(head)]
        for method, row in means.iterrows():
            fails = [name for name in checks if failed[name][method]]
            lines.append([str(method), *(f"{row[name]:.3f}" for name in checks), ", ".join(fails) or "none"])
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        said = [
            f"{label}: failed by {', '.join(failed[name].index[failed[name]].astype(str)) or 'no method'}"
            for name, (label, _) in checks.items()
        ]
        return "\n".join([table, "", *said])

    def _checks(self) -> dict[str, tuple[str, Callable[[pd.Series], pd.Series]]]:
        """By score: what the check is called, and which of its means fail."""
        weights, classes = self.weights, self.classes
        random = f"rank correlation ≥ {weights:g} with all weights random"
        return {
            "MPRT": (
                f"parameter randomisation, block by block (rank correlation ≥ {weights:g} on average over the parts)",
                lambda means: means >= weights,
            ),
            "MPRT_last": (f"parameter randomisation, all weights ({random})", lambda means: means >= weights),
            "eMPRT": (
                "efficient parameter randomisation (entropy does not rise)",
                lambda means: means <= 0,
            ),
            "sMPRT_last": (f"smooth parameter randomisation ({random})", lambda means: means >= weights),
            "random_logit": (
                f"random logit (rank correlation ≥ {classes:g} with the map of another class)",
                lambda means: means >= classes,
            ),
        }


def _curves(module: ExplanationModule) -> pd.DataFrame:
    """`method`, `score`, `part` that was randomised and mean `correlation` then. Every process has to call it."""
    lines = [
        (method, next(iter(metric.columns)), part, value)
        for method, metrics in module.metrics.items()
        for metric in metrics
        if isinstance(metric, ParameterRandomisation)
        for part, value in zip(metric.parts, metric.curve().tolist(), strict=True)
    ]
    return pd.DataFrame(lines, columns=["method", "score", "part", "correlation"])
