"""Which direction of each score is better, for W&B."""

from lightning.pytorch import Callback, LightningModule, Trainer

from salvit.callbacks.classification_scores import SCORES
from salvit.callbacks.wandb_panels import wandb_loggers
from salvit.metrics.base import columns_of
from salvit.modules import ClassificationModule, ExplanationModule, SaliencyModule


class BestScores(Callback):
    """Tells W&B which direction of each score is better.

    The summary of a val score is its best value, as `val/CC.max` or `val/KLD.min`; that of a test score, which a run
    logs once, is the last value, W&B's default. `higher_is_better` in the configuration has the direction of every
    score by its name.
    """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Define the val scores; the module has made its metrics by now."""
        known = directions(pl_module, "val")
        for logger in wandb_loggers(trainer):
            for name, higher in known.items():
                logger.experiment.define_metric(
                    f"val/{name}",
                    step_metric="trainer/global_step",
                    step_sync=True,
                    summary="max" if higher else "min",
                )
            logger.log_hyperparams({"higher_is_better": known})

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say the directions of the test scores; the module has made its metrics by now."""
        for logger in wandb_loggers(trainer):
            logger.log_hyperparams({"higher_is_better": directions(pl_module, "test")})


def directions(module: LightningModule, split: str) -> dict[str, bool]:
    """Whether higher is better, by score, of the metrics that a module has made for a split, "val" or "test".

    Empty for a module that is not salvit's. Scores of other profiles than `exact` are called "PROFILE/SCORE".
    """
    if isinstance(module, SaliencyModule):
        metrics = module.val_metrics if split == "val" else module.test_metrics
        assert metrics is not None
        return {name: bool(metric.higher_is_better) for name, metric in metrics.items(keep_base=True)}
    if isinstance(module, ExplanationModule):
        return {name: arrow == "↑" for name, arrow in columns_of(module.active_scores).items()}
    if isinstance(module, ClassificationModule):
        return dict.fromkeys(("accuracy",) if split == "val" else SCORES, True)
    return {}
