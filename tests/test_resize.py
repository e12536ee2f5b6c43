import pytest
import torch

from salvit.resize import resize_antialiased


def triangle(size, to):
    """Weights [to, size] of a side's pixels in each new one: a triangle as wide as a new pixel, or an old one."""
    wide, weights = max(size / to, 1), torch.zeros(to, size, dtype=torch.float64)
    for new in range(to):
        for old in range(size):
            weights[new, old] = max(1 - abs(old + 0.5 - (new + 0.5) * size / to) / wide, 0)
    return weights / weights.sum(1, keepdim=True)


@pytest.mark.parametrize("size", [(3, 4), (12, 9), (1, 5), (5, 1), (12, 1), (1, 1)])
@pytest.mark.parametrize("shape", [(8, 6), (6, 1), (1, 6)])
def test_every_size_has_the_same_weights(shape, size):
    maps = torch.rand(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = triangle(shape[0], size[0]) @ maps @ triangle(shape[1], size[1]).T
    torch.testing.assert_close(resize_antialiased(maps, size), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(resize_antialiased(maps.float(), size), expected.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 4), (12, 1)])
def test_bytes_are_within_a_level(size):
    maps = torch.randint(0, 256, (2, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = triangle(8, size[0]) @ maps.double() @ triangle(6, size[1]).T
    # As image files are decoded: channels last.
    found = resize_antialiased(maps.contiguous(memory_format=torch.channels_last), size)
    assert found.dtype == torch.uint8
    assert (found.double() - expected).abs().max() <= 1
