"""The definitions of the metrics as plain loops over plain numbers: slow, and independent of the package."""

import math
import statistics
from collections import Counter
from fractions import Fraction

EPS = 2.2204e-16


def pixel(point, size, target=None):
    """(row, column) under an (x, y) of an image of `size`, on a map of `target` size."""
    target = target or size
    column = math.floor((Fraction(point[0]) + Fraction(1, 2)) * target[1] / size[1])
    row = math.floor((Fraction(point[1]) + Fraction(1, 2)) * target[0] / size[0])
    return row, column


def flat(rows):
    return [float(value) for row in rows for value in row]


def nss(pred, points, duplicates=True):
    size = (len(pred), len(pred[0]))
    pixels = [pixel(point, size) for point in points]
    if not duplicates:
        pixels = list(dict.fromkeys(pixels))
    if not pixels:
        return math.nan
    values = flat(pred)
    if min(values) == max(values):
        return 0.0
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return statistics.fmean((float(pred[row][column]) - mean) / deviation for row, column in pixels)


def cc(pred, density):
    s, g = flat(pred), flat(density)
    if min(s) == max(s) or min(g) == max(g):
        return 0.0
    return statistics.correlation(s, g)


def distribution(values):
    low = min(*values, 0.0)
    shifted = [value - low for value in values]
    total = math.fsum(shifted)
    return [value / total for value in shifted] if total else [1 / len(values)] * len(values)


def minmax(values):
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]


def sim(pred, density, minmax_first=True):
    s, g = flat(pred), flat(density)
    if minmax_first:
        s, g = minmax(s), minmax(g)
    return math.fsum(min(a, b) for a, b in zip(distribution(s), distribution(g), strict=True))


def kld(pred, density):
    p, g = distribution(flat(pred)), distribution(flat(density))
    return math.fsum(b * math.log(EPS + b / (a + EPS)) for a, b in zip(p, g, strict=True))


def pairs(positives, negatives):
    """Share of pairs the positive wins, one by one."""
    if not positives or not negatives:
        return math.nan
    won = sum((a > b) + Fraction(a == b, 2) for a in positives for b in negatives)
    return float(Fraction(won, len(positives) * len(negatives)))


def at(pred, pixels):
    return [float(pred[row][column]) for row, column in pixels]


def auc(pred, points):
    size = (len(pred), len(pred[0]))
    return pairs(at(pred, [pixel(point, size) for point in points]), flat(pred))


def shuffled_auc(index, preds, fixations):
    """Of image `index`; the others' points are rescaled from their own image's size."""
    pred = preds[index]
    sizes = [(len(other), len(other[0])) for other in preds]
    others = [
        pixel(point, sizes[image], sizes[index])
        for image, points in enumerate(fixations)
        for point in points
        if image != index
    ]
    own = [pixel(point, sizes[index]) for point in fixations[index]]
    return pairs(at(pred, own), at(pred, others))


def counts(fixations, sizes, shape):
    counter = Counter(
        pixel(point, size, shape) for points, size in zip(fixations, sizes, strict=True) for point in points
    )
    return [[counter[row, column] for column in range(shape[1])] for row in range(shape[0])]
