"""Sampled scores depend on the seed and the image: not on batch, order or process."""

import pytest
import torch

from salvit.metrics import AUCBorji, AUCJudd, OtherImages, SampledShuffledAUC
from tests.metrics.cases import batch

LENGTHS = (4, 3, 5, 3, 7, 6)


def metrics(fixations):
    others = OtherImages(fixations, [(6, 9)] * len(fixations))
    return [AUCJudd(), AUCBorji(splits=10), SampledShuffledAUC(others, images=2, splits=10)]


def scored(batches):
    pred, _, fixations = batch(0, images=6, lengths=LENGTHS, levels=3)
    found = {}
    for metric in metrics(fixations):
        for images in batches:
            metric.update(pred[images], [fixations[i] for i in images])
        order = [image for images in batches for image in images]
        found[type(metric).__name__] = metric.per_image()[torch.tensor(order).argsort()]
    return found


@pytest.mark.parametrize("batches", [[[i] for i in range(6)], [[5, 0], [3, 1, 2], [4]], [[4, 2, 0, 5, 3, 1]]])
def test_batches_and_order_do_not_matter(batches):
    whole = scored([list(range(6))])
    for name, scores in scored(batches).items():
        assert scores.equal(whole[name]), name


def test_the_order_of_an_images_fixations_does_not_matter():
    pred, _, fixations = batch(0, images=6, lengths=LENGTHS)
    for metric, again in zip(metrics(fixations), metrics(fixations), strict=True):
        metric.update(pred, fixations)
        again.update(pred, [points.flip(0) for points in fixations])
        assert metric.per_image().equal(again.per_image())


def test_another_image_gets_other_draws():
    pred, _, fixations = batch(0, images=1, lengths=(6,), levels=3)
    metric = AUCBorji(splits=3)
    again = torch.cat([fixations[0], fixations[0][:1]])  # the same binary map, yet another image
    metric.update(pred.expand(3, -1, -1), [fixations[0], fixations[0], again])
    first, same, other = metric.per_image()
    assert first == same != other
