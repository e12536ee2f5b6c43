"""Saliency metrics as functions: one score per image."""

from salvit.metrics.functional.auc import auc
from salvit.metrics.functional.cc import cc
from salvit.metrics.functional.counts import fixation_counts
from salvit.metrics.functional.kld import kld
from salvit.metrics.functional.nss import nss
from salvit.metrics.functional.shuffled_auc import shuffled_auc
from salvit.metrics.functional.sim import sim

__all__ = ["auc", "cc", "fixation_counts", "kld", "nss", "shuffled_auc", "sim"]
