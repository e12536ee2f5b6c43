import pytest
import torch
from scipy.stats import spearmanr

from salvit.extractors import AGCAM
from salvit.metrics import Case, Consistency
from salvit.metrics.functional import flip_consistency, shift_consistency
from tests.metrics.test_faithfulness import TARGETS, images_and_heatmaps, tiny_vit


def explained(images):
    """Maps that depend on the pixel and its place."""
    place = torch.arange(images.shape[-1]) + 3 * torch.arange(images.shape[-2])[:, None]
    return images.mean(1) + 0.1 * place


def test_flips_agree_with_flipping_by_hand():
    images, _ = images_and_heatmaps(0)
    scores = flip_consistency(explained, images, explained(images))
    for image, score in zip(images, scores, strict=True):
        before = explained(image[None])[0]
        mirrored = torch.stack([image[..., column] for column in reversed(range(16))], -1)
        after = explained(mirrored[None])[0]
        pairs = [(before[y, x], after[y, 15 - x]) for y in range(16) for x in range(16)]
        assert score.item() == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
        assert score < 0.99


def test_shifts_agree_with_moving_pixel_by_pixel():
    images, _ = images_and_heatmaps(0, size=(9, 11))
    scores = shift_consistency(explained, images, explained(images), pixels=2)
    for image, score in zip(images, scores, strict=True):
        before, found = explained(image[None])[0], []
        for dy, dx in ((0, 2), (0, -2), (2, 0), (-2, 0)):
            moved = torch.empty_like(image)
            for y in range(9):
                for x in range(11):
                    moved[:, y, x] = image[:, min(max(y - dy, 0), 8), min(max(x - dx, 0), 10)]
            after = explained(moved[None])[0]
            places = [(y, x) for y in range(9) for x in range(11) if 0 <= y + dy < 9 and 0 <= x + dx < 11]
            pairs = [(before[y, x], after[y + dy, x + dx]) for y, x in places]
            found.append(spearmanr(*zip(*pairs, strict=True)).statistic)
        assert score.item() == pytest.approx(sum(found) / 4)


def test_a_method_on_a_patch_grid_and_one_that_ignores_the_image():
    vit, (images, _) = tiny_vit(), images_and_heatmaps(0)

    def explain(images):
        return AGCAM()(vit, images, TARGETS).mean(1)

    metric = Consistency(pixels=3)
    metric.score(Case(vit, images, TARGETS, explain(images), explain, {}))
    assert all(score.isfinite().all() and (score < 1).all() for score in metric.per_image().values())
    ramp = torch.arange(16.0).expand(3, 16, 16)
    fixed = Consistency()
    fixed.update(lambda images: ramp, images, ramp)
    assert fixed.compute()["flip"].item() == pytest.approx(-1)  # a ramp, mirrored
    for pixels in (0, 16):
        with pytest.raises(ValueError, match=rf"pixels is {pixels}; expected 1 … 15"):
            shift_consistency(lambda images: ramp, images, ramp, pixels)
