"""Metrics of saliency maps and of explanations: torchmetrics classes over `salvit.metrics.functional`.

A saliency result names its profile, that is which of these metrics it is made of and by which definitions; see
`saliency_metrics`.
"""

from salvit.metrics.abpc import ABPC
from salvit.metrics.auc import AUC
from salvit.metrics.auc_borji import AUCBorji
from salvit.metrics.auc_judd import AUCJudd
from salvit.metrics.box_localization import BoxLocalization
from salvit.metrics.box_sweep import BoxSweep
from salvit.metrics.cc import CC
from salvit.metrics.collection import at_native_size, update_metrics
from salvit.metrics.deletion_insertion import DeletionInsertion
from salvit.metrics.emd import EMD
from salvit.metrics.energy_pointing import EnergyPointing
from salvit.metrics.functional.other_images import OtherImages
from salvit.metrics.information_gain import InformationGain
from salvit.metrics.kld import KLD
from salvit.metrics.max_sensitivity import MaxSensitivity
from salvit.metrics.nss import NSS
from salvit.metrics.popout import PopOut
from salvit.metrics.profiles import PROFILES, Profile, saliency_metrics
from salvit.metrics.saco import SaCo
from salvit.metrics.sampled_shuffled_auc import SampledShuffledAUC
from salvit.metrics.shuffled_auc import ShuffledAUC
from salvit.metrics.sim import SIM
from salvit.metrics.smm import SMM

__all__ = [
    "ABPC",
    "AUC",
    "CC",
    "EMD",
    "KLD",
    "NSS",
    "PROFILES",
    "SIM",
    "SMM",
    "AUCBorji",
    "AUCJudd",
    "BoxLocalization",
    "BoxSweep",
    "DeletionInsertion",
    "EnergyPointing",
    "InformationGain",
    "MaxSensitivity",
    "OtherImages",
    "PopOut",
    "Profile",
    "SaCo",
    "SampledShuffledAUC",
    "ShuffledAUC",
    "at_native_size",
    "saliency_metrics",
    "update_metrics",
]
