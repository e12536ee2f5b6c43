"""Metrics of saliency maps and of explanations as functions: one score per image."""

from salvit.metrics.functional.auc import auc
from salvit.metrics.functional.auc_borji import auc_borji
from salvit.metrics.functional.auc_judd import auc_judd
from salvit.metrics.functional.bootstrap import bootstrap_differences, bootstrap_interval
from salvit.metrics.functional.box_localization import box_localization
from salvit.metrics.functional.box_sweep import box_sweep
from salvit.metrics.functional.boxes import box_masks
from salvit.metrics.functional.cc import cc
from salvit.metrics.functional.counts import fixation_counts
from salvit.metrics.functional.deletion_insertion import deletion_insertion
from salvit.metrics.functional.emd import emd
from salvit.metrics.functional.energy_pointing import energy_pointing
from salvit.metrics.functional.information_gain import information_gain
from salvit.metrics.functional.kld import kld
from salvit.metrics.functional.max_sensitivity import max_sensitivity
from salvit.metrics.functional.nss import nss
from salvit.metrics.functional.other_images import OtherImages
from salvit.metrics.functional.perturbation import perturbation_curves
from salvit.metrics.functional.popout import popout
from salvit.metrics.functional.saco import group_effects, saco
from salvit.metrics.functional.sampled_shuffled_auc import sampled_shuffled_auc
from salvit.metrics.functional.shuffled_auc import shuffled_auc
from salvit.metrics.functional.sim import sim
from salvit.metrics.functional.smm import smm

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
    "deletion_insertion",
    "emd",
    "energy_pointing",
    "fixation_counts",
    "group_effects",
    "information_gain",
    "kld",
    "max_sensitivity",
    "nss",
    "perturbation_curves",
    "popout",
    "saco",
    "sampled_shuffled_auc",
    "shuffled_auc",
    "sim",
    "smm",
]
