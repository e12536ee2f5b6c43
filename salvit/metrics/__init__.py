"""Metrics of saliency maps and of explanations: torchmetrics classes over `salvit.metrics.functional`.

A profile chooses the metrics of a saliency table and their definitions; see `saliency_metrics`.
"""

from salvit.metrics.auc import AUC, AUCBorji, AUCJudd, SampledShuffledAUC, ShuffledAUC
from salvit.metrics.base import Case, ImageMetric, SaliencyMetric, at_native_size, looked_at
from salvit.metrics.complexity import Complexity
from salvit.metrics.consistency import Consistency
from salvit.metrics.faithfulness import ABPC, DeletionInsertion, Infidelity, MaxSensitivity, SaCo
from salvit.metrics.functional.fixations import OtherImages
from salvit.metrics.localization import (
    SMM,
    BoxLocalization,
    BoxSweep,
    EnergyPointing,
    MassAccuracy,
    PointingGame,
    PopOut,
    RankAccuracy,
)
from salvit.metrics.profiles import PROFILES, Profile, saliency_metrics, update_metrics
from salvit.metrics.saliency import CC, EMD, KLD, NSS, SIM, InformationGain
from salvit.metrics.sanity import ParameterRandomisation, RandomLogit, SmoothParameterRandomisation

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
    "Case",
    "Complexity",
    "Consistency",
    "DeletionInsertion",
    "EnergyPointing",
    "ImageMetric",
    "Infidelity",
    "InformationGain",
    "MassAccuracy",
    "MaxSensitivity",
    "OtherImages",
    "ParameterRandomisation",
    "PointingGame",
    "PopOut",
    "Profile",
    "RandomLogit",
    "RankAccuracy",
    "SaCo",
    "SaliencyMetric",
    "SampledShuffledAUC",
    "ShuffledAUC",
    "SmoothParameterRandomisation",
    "at_native_size",
    "default_scores",
    "looked_at",
    "saliency_metrics",
    "update_metrics",
]


def default_scores() -> list[ImageMetric]:
    """The default scores of explanations; a dataset is scored by those whose data it has.

    Example:
        >>> [type(score).__name__ for score in default_scores()]
        ['CC', 'NSS', 'ShuffledAUC', 'BoxLocalization', 'BoxSweep', 'EnergyPointing', 'SMM', 'ABPC']
    """
    agreement = [CC(), NSS(), ShuffledAUC()]
    return [*agreement, BoxLocalization(), BoxSweep(), EnergyPointing(), SMM(), ABPC()]
