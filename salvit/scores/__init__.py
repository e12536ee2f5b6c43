"""What heatmaps are scored by, when explanations are compared; one class per question."""

from salvit.scores.base import Case, Score
from salvit.scores.boxes import BoxesAtBestThreshold, BoxesAtThreshold, Energy
from salvit.scores.faithfulness import Coefficient, Deletion, Perturbation, Sensitivity
from salvit.scores.mask import MaskOverlap
from salvit.scores.people import People

__all__ = [
    "BoxesAtBestThreshold",
    "BoxesAtThreshold",
    "Case",
    "Coefficient",
    "Deletion",
    "Energy",
    "MaskOverlap",
    "People",
    "Perturbation",
    "Score",
    "Sensitivity",
    "default_scores",
]


def default_scores() -> list[Score]:
    """What is scored unless said otherwise, as far as the dataset has what it takes.

    Example:
        >>> [type(score).__name__ for score in default_scores()]
        ['People', 'BoxesAtThreshold', 'BoxesAtBestThreshold', 'Energy', 'MaskOverlap', 'Perturbation']
    """
    return [
        People(),
        BoxesAtThreshold(),
        BoxesAtBestThreshold(),
        Energy(),
        MaskOverlap(),
        Perturbation(),
    ]
