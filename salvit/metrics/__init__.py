"""Saliency metrics: torchmetrics classes over `salvit.metrics.functional`.

A result names its profile: these are the `exact` one (ties count one half, every fixation counts, no
sampling).
"""

from salvit.metrics.auc import AUC
from salvit.metrics.cc import CC
from salvit.metrics.collection import at_native_size, saliency_metrics, update_metrics
from salvit.metrics.kld import KLD
from salvit.metrics.nss import NSS
from salvit.metrics.shuffled_auc import ShuffledAUC
from salvit.metrics.sim import SIM

__all__ = [
    "AUC",
    "CC",
    "KLD",
    "NSS",
    "SIM",
    "ShuffledAUC",
    "at_native_size",
    "saliency_metrics",
    "update_metrics",
]
