import pytest
import torch

from salvit.extractors import CenterPrior, InputGradient, InputXGradient, RandomMap

TARGETS = torch.tensor([4, 0, 2])


def test_random_maps_follow_seed_and_image(vit, images):
    maps = RandomMap()(vit, images)
    assert 0 <= maps.min() < maps.max() < 1
    assert len({tuple(one.flatten().tolist()) for one in maps}) == 3
    torch.testing.assert_close(RandomMap()(vit, images.flip(0)), maps.flip(0), rtol=0, atol=0)
    assert not torch.equal(RandomMap(seed=1)(vit, images), maps)


def test_random_maps_are_uniform(make_vit):
    vit = make_vit(img_size=256)
    values = RandomMap()(vit, torch.randn(2, 3, 256, 256, dtype=torch.float64)).flatten().sort().values
    expected = torch.linspace(0, 1, len(values), dtype=torch.float64)
    assert (values - expected).abs().max() < 0.05


def test_center_prior(vit, images):
    maps = CenterPrior(sigma=0.2)(vit, images)
    torch.testing.assert_close(maps.sum((1, 2, 3)), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(maps, maps.flip(2, 3))
    ratio = torch.exp(torch.tensor((0.125**2 - 0.375**2) / (2 * 0.2**2), dtype=torch.float64))
    torch.testing.assert_close(maps[0, 0, 0] / maps[0, 0, 1], ratio.expand(6))
    narrow = CenterPrior(sigma=1e-3)(vit, images)
    torch.testing.assert_close(narrow[:, 0, 1:3, 2:4], torch.full((3, 2, 2), 0.25, dtype=torch.float64))
    with pytest.raises(ValueError, match="sigma"):
        CenterPrior(sigma=0)


def difference(vit, image, target, place, step=1e-5):
    """∂logit/∂x of one pixel by central differences."""
    shift = torch.zeros_like(image)
    shift[place] = step
    upper, lower = (vit((image + sign * shift)[None])[0, target] for sign in (1, -1))
    return (upper - lower) / (2 * step)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (17, 40), (31, 5)])
def test_gradients_match_finite_differences(vit, images, y, x):
    gradient = InputGradient()(vit, images, TARGETS)
    product = InputXGradient()(vit, images, TARGETS)
    assert gradient.shape == product.shape == (3, 1, 32, 48)
    for index, target in enumerate(TARGETS):
        slopes = torch.stack([difference(vit, images[index], target, (c, y, x)) for c in range(3)])
        torch.testing.assert_close(gradient[index, 0, y, x], slopes.abs().max(), rtol=1e-6, atol=1e-9)
        expected = (slopes * images[index, :, y, x]).sum()
        torch.testing.assert_close(product[index, 0, y, x], expected, rtol=1e-6, atol=1e-9)


def test_noise_is_that_of_the_image_in_every_precision(vit, images):
    images = images.float()
    images[0, 0, 0, 0] = 0.0
    expected = RandomMap()(vit.float(), images)
    images[0, 0, 0, 0] = -0.0
    torch.testing.assert_close(RandomMap()(vit.float(), images), expected, rtol=0, atol=0)
    torch.set_default_dtype(torch.float64)
    try:
        maps = RandomMap()(vit.double(), images.double())
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(maps, expected.double(), rtol=0, atol=0)
