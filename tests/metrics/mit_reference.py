"""The MIT benchmark's scripts as plain loops: slow, and independent of the package but for the random numbers."""

import math
from itertools import pairwise

from tests.metrics import reference


def trapezia(alarms, hits):
    points = list(zip(alarms, hits, strict=True))
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))


def fixated_pixels(points, size):
    return sorted({reference.pixel(point, size) for point in points})


def auc_judd(pred, points, noise):
    """`noise` is added to the map in [0, 1]; [H][W]."""
    size = (len(pred), len(pred[0]))
    fixated = fixated_pixels(points, size)
    others = size[0] * size[1] - len(fixated)
    if not fixated or not others:
        return math.nan
    scaled = reference.minmax(reference.flat(pred))
    values = [value + more for value, more in zip(scaled, reference.flat(noise), strict=True)]
    limits = sorted((values[row * size[1] + column] for row, column in fixated), reverse=True)
    hits, alarms = [0.0], [0.0]
    for rank, limit in enumerate(limits, 1):
        above = sum(value >= limit for value in values)
        hits.append(rank / len(fixated))
        alarms.append((above - rank) / others)
    return trapezia([*alarms, 1.0], [*hits, 1.0])


def stepped(positives, negatives, step):
    """Area with thresholds step apart, up to the largest value; of values that are no multiple of the step."""
    limits, limit = [], 0
    while limit * step <= max(*positives, *negatives) + 1e-15:
        limits.append(limit * step)
        limit += 1
    hits, alarms = [0.0], [0.0]
    for limit in reversed(limits):
        hits.append(sum(value >= limit for value in positives) / len(positives))
        alarms.append(sum(value >= limit for value in negatives) / len(negatives))
    return trapezia([*alarms, 1.0], [*hits, 1.0])


def transport(p, q, points):
    """Cost of the cheapest plan between two distributions, by linear programming."""
    import numpy as np
    from scipy.optimize import linprog

    n = len(points)
    cost = [math.dist(a, b) for a in points for b in points]
    sums = np.zeros((2 * n, n * n))
    for i in range(n):
        sums[i, i * n : (i + 1) * n] = 1
        sums[n + i, i::n] = 1
    return linprog(cost, A_eq=sums[:-1], b_eq=[*p, *q][:-1], method="highs").fun
