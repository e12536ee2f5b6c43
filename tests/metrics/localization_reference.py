"""The localisation metrics as loops over plain numbers: slow, and independent of the package."""

import math


def resized(rows, size):
    """Bilinear with pixel centres at integers, edges repeated."""
    height, width = len(rows), len(rows[0])

    def at(position, extent, target):
        source = min(max((position + 0.5) * extent / target - 0.5, 0.0), extent - 1)
        low = int(source)
        return low, min(low + 1, extent - 1), source - low

    def value(y, x):
        top, bottom, v = at(y, height, size[0])
        left, right, h = at(x, width, size[1])
        upper = rows[top][left] * (1 - h) + rows[top][right] * h
        lower = rows[bottom][left] * (1 - h) + rows[bottom][right] * h
        return upper * (1 - v) + lower * v

    return [[value(y, x) for x in range(size[1])] for y in range(size[0])]


def unit(rows):
    """To [0, 1], free of rounding errors; a constant map to 0."""
    values = [value for row in rows for value in row]
    low, high = min(values), max(values)
    return [[round((value - low) / (high - low), 9) if high > low else 0.0 for value in row] for row in rows]


def components(rows, threshold):
    """Sets of (y, x) above the threshold that touch, also at corners."""
    left = {(y, x) for y, row in enumerate(rows) for x, value in enumerate(row) if value > threshold}
    found = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        found.append(region)
    return found


def bounding_box(region):
    ys, xs = [y for y, _ in region], [x for _, x in region]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def inside(boxes, size):
    """Pixels whose centre lies in a box."""
    return {
        (y, x)
        for y in range(size[0])
        for x in range(size[1])
        if any(x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1 for x0, y0, x1, y1 in boxes)
    }


def localization(rows, boxes, size, threshold=0.5, reference=False):
    """Pixel accuracy, IoU, Dice, precision, recall."""
    target = inside(boxes, size)
    if not target:
        return [math.nan] * 5
    found = [bounding_box(region) for region in components(unit(resized(rows, size)), threshold)]
    if reference:
        found = [(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in found]
    predicted = inside(found, size)
    tp, fp, fn = len(predicted & target), len(predicted - target), len(target - predicted)
    tn = size[0] * size[1] - tp - fp - fn
    pairs = [
        (tp + tn, tp + tn + fp + fn),
        (tp, tp + fp + fn),
        (2 * tp, 2 * tp + fp + fn),
        (tp, tp + fp),
        (tp, tp + fn),
    ]
    if reference:
        return [(a + 1e-5) / (b + 1e-5) for a, b in pairs]
    return [a / b if b else 0.0 for a, b in pairs]


def iou(a, b):
    """Of two boxes."""
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(areas) - both)


def sweep(rows, boxes, size, threshold):
    """IoU of the unions, the largest regions' best fits (several if equally large), the best fit of all."""
    regions = components(unit(resized(rows, size)), threshold)
    union = localization(rows, boxes, size, threshold)[1]
    if not regions:
        return union, {0.0}, 0.0
    fits = [(len(region), max(iou(bounding_box(region), box) for box in boxes)) for region in regions]
    largest = max(count for count, _ in fits)
    return union, {fit for count, fit in fits if count == largest}, max(fit for _, fit in fits)
