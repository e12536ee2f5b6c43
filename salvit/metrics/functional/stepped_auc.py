"""The MIT benchmark's area under an ROC curve with thresholds at fixed steps."""

import numpy as np


def stepped_auc(positives: np.ndarray, negatives: np.ndarray, step: float) -> float:
    """Mean area under the ROC curves of the same positives against several draws of negatives.

    Thresholds are 0, step, 2·step … up to the largest value of the curve, the points (0, 0) and (1, 1) are added,
    and the area is that of trapezia between them.

    Args:
        positives: float64 [n] in [0, 1], n ≥ 1.
        negatives: float64 [splits, m] in [0, 1], m ≥ 1.
        step: between thresholds.

    Returns:
        The mean over the splits, in [0, 1].

    Example:
        >>> stepped_auc(np.array([0.9, 0.45]), np.array([[0.1, 0.48]]), step=0.1)
        0.875
    """
    tops = np.maximum(negatives.max(1), positives.max())
    areas = np.empty(len(negatives))
    # Curves with the same thresholds at once: mostly the largest value is a positive.
    for top in np.unique(tops):
        limits = thresholds(float(top), step)[::-1]
        hits = (positives >= limits[:, None]).mean(1)
        alarms = (negatives[tops == top, None] >= limits[:, None]).mean(2)
        areas[tops == top] = area(alarms, hits)
    return float(areas.mean())


def area(alarms: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Area under ROC curves, by trapezia, with (0, 0) and (1, 1) added.

    Args:
        alarms: [..., T], rate of false positives at falling thresholds.
        hits: [T], rate of true positives.

    Returns:
        [...].

    Example:
        >>> area(np.array([[0.0, 0.5]]), np.array([0.5, 1.0])).tolist()
        [0.875]
    """
    widths = np.diff(alarms, axis=-1, prepend=0.0, append=1.0)
    heights = np.concatenate([[0.0], hits, [1.0]])
    return (widths * (heights[1:] + heights[:-1])).sum(-1) / 2


def thresholds(top: float, step: float) -> np.ndarray:
    """MATLAB's `0:step:top`, to the last digit.

    It counts from both ends towards the middle, and takes `top` where a multiple of the step is within rounding of
    it. Digits matter: a map of 8 bits has values at 0.6 exactly, where 6 · 0.1 is above it.

    Args:
        top: ≥ 0.
        step: > 0.

    Returns:
        float64 [T], rising.

    Example:
        >>> thresholds(1.0, 0.1)[6], 6 * 0.1
        (np.float64(0.6), 0.6000000000000001)
        >>> thresholds(0.25, 0.1).tolist()
        [0.0, 0.1, 0.2]
    """
    tolerance = 2 * np.finfo(float).eps * top
    count = round(top / step)
    if count * step - top > tolerance:
        count -= 1
    last = top if count * step - top > -tolerance else count * step
    steps = np.arange(count + 1)
    values = np.where(2 * steps <= count, steps * step, last - (count - steps) * step)
    if count % 2 == 0:
        values[count // 2] = last / 2
    return values
