"""Metrics of saliency maps and of explanations: torchmetrics classes over `salvit.metrics.functional`.

A saliency result names its profile: these are the `exact` one (ties count one half, every fixation counts, no
sampling).
"""

from salvit.metrics.abpc import ABPC
from salvit.metrics.auc import AUC
from salvit.metrics.box_localization import BoxLocalization
from salvit.metrics.box_sweep import BoxSweep
from salvit.metrics.cc import CC
from salvit.metrics.collection import at_native_size, saliency_metrics, update_metrics
from salvit.metrics.deletion_insertion import DeletionInsertion
from salvit.metrics.energy_pointing import EnergyPointing
from salvit.metrics.kld import KLD
from salvit.metrics.max_sensitivity import MaxSensitivity
from salvit.metrics.nss import NSS
from salvit.metrics.saco import SaCo
from salvit.metrics.shuffled_auc import ShuffledAUC
from salvit.metrics.sim import SIM
from salvit.metrics.smm import SMM

__all__ = [
    "ABPC",
    "AUC",
    "CC",
    "KLD",
    "NSS",
    "SIM",
    "SMM",
    "BoxLocalization",
    "BoxSweep",
    "DeletionInsertion",
    "EnergyPointing",
    "MaxSensitivity",
    "SaCo",
    "ShuffledAUC",
    "at_native_size",
    "saliency_metrics",
    "update_metrics",
]
