"""Metrics of saliency maps and of explanations as functions: one score per image."""

from salvit.metrics.functional.auc import auc, auc_borji, auc_judd
from salvit.metrics.functional.bootstrap import bootstrap_differences, bootstrap_interval
from salvit.metrics.functional.complexity import complexity, sparseness
from salvit.metrics.functional.consistency import flip_consistency, shift_consistency
from salvit.metrics.functional.faithfulness import (
    deletion_insertion,
    group_effects,
    max_sensitivity,
    perturbation_curves,
    saco,
)
from salvit.metrics.functional.fixations import OtherImages, fixation_counts
from salvit.metrics.functional.infidelity import infidelity, square_effects
from salvit.metrics.functional.localization import (
    box_localization,
    box_masks,
    box_sweep,
    energy_pointing,
    smm,
)
from salvit.metrics.functional.mask_ranks import pointing_game, rank_accuracy
from salvit.metrics.functional.popout import popout
from salvit.metrics.functional.saliency import cc, emd, information_gain, kld, nss, sim
from salvit.metrics.functional.shuffled_auc import sampled_shuffled_auc, shuffled_auc

__all__ = [
    "OtherImages",
    "auc",
    "auc_borji",
    "auc_judd",
    "bootstrap_differences",
    "bootstrap_interval",
    "box_localization",
    "box_masks",
    "box_sweep",
    "cc",
    "complexity",
    "deletion_insertion",
    "emd",
    "energy_pointing",
    "fixation_counts",
    "flip_consistency",
    "group_effects",
    "infidelity",
    "information_gain",
    "kld",
    "max_sensitivity",
    "nss",
    "perturbation_curves",
    "pointing_game",
    "popout",
    "rank_accuracy",
    "saco",
    "sampled_shuffled_auc",
    "shift_consistency",
    "shuffled_auc",
    "sim",
    "smm",
    "sparseness",
    "square_effects",
]
