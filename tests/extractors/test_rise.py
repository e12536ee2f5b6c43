import pytest
import torch

from salvit.extractors import RISE


def test_finds_what_the_class_needs(vit, images, monkeypatch):
    """A model that looks at one corner of the image: class 1 needs it bright, class 0 dark."""

    def forward(self, images):
        corner = images[:, :, :8, 40:].mean((1, 2, 3))
        return torch.stack([torch.zeros_like(corner), 6 * corner], dim=1)

    monkeypatch.setattr(type(vit), "forward", forward)
    for target, sign in ((1, 1), (0, -1)):
        maps = RISE(masks=200, cells=4)(vit, torch.ones_like(images), target)
        y, x = divmod(int((sign * maps[0, 0]).argmax()), 48)
        assert y < 12
        assert x > 36


def test_a_constant_model_gives_a_flat_map(vit, images, monkeypatch):
    """E[M] = p everywhere, so the map of a model that always says 1/4 tends to 1/4 for any p."""
    monkeypatch.setattr(type(vit), "forward", lambda self, images: images.new_zeros(len(images), 4))
    maps = RISE(masks=1500, cells=3, probability=0.4)(vit, images[:1], 1)
    torch.testing.assert_close(maps, torch.full_like(maps, 0.25), rtol=0, atol=0.025)


def test_weighted_mean_of_the_masks(vit, images):
    extractor = RISE(masks=5, cells=3, batch_size=2)
    generator = torch.Generator().manual_seed(0)
    masks = list(extractor._draw(5, torch.Size([32, 48]), generator)[:, 0])
    assert all(-1e-9 < mask.min() < mask.max() < 1 + 1e-9 for mask in masks)
    for image, target in zip(images, (4, 0, 2), strict=True):
        expected = torch.zeros(32, 48, dtype=torch.float64)
        for mask in masks:
            expected += vit((image * mask)[None]).softmax(-1)[0, target] * mask / (5 * 0.5)
        torch.testing.assert_close(extractor(vit, image[None], target)[0, 0], expected)


def test_masks_are_grids_enlarged_and_cut_out_anywhere():
    """Bilinear between the cells' centres, one number after the other; 3 cells of 4 and 2 pixels."""
    generator, again = (torch.Generator().manual_seed(5) for _ in range(2))
    masks = RISE(cells=3, probability=0.6)._draw(40, torch.Size([10, 5]), generator)
    corners = set()
    for mask in masks[:, 0].tolist():
        grid = (torch.rand(3, 3, generator=again, dtype=torch.float64) < 0.6).double().tolist()
        top, left = (int(torch.randint(cell, (), generator=again)) for cell in (4, 2))
        corners.add((top, left))
        for row in range(10):
            for column in range(5):
                y, x = (
                    (place + 0.5) * 3 / size - 0.5 for place, size in ((top + row, 16), (left + column, 8))
                )
                expected = sum(
                    grid[j][i] * max(0, 1 - abs(y - j)) * max(0, 1 - abs(x - i))
                    for y, x in [(min(max(y, 0), 2), min(max(x, 0), 2))]
                    for j in range(3)
                    for i in range(3)
                )
                assert mask[row][column] == pytest.approx(expected, abs=1e-12)
    assert corners == {(top, left) for top in range(4) for left in range(2)}


def test_the_only_class_is_refused(make_vit, images):
    with pytest.raises(ValueError, match="always 1 in a model with one class"):
        RISE(masks=2)(make_vit(num_classes=1), images)
