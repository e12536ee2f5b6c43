import torch
from timm.layers import LayerNorm

from salvit.extractors import LeGrad
from tests.extractors import slow_vit


def reference(vit, image, target):
    """Each block's own score and its own backward pass through the uncut model, as the paper words it."""
    trace = slow_vit.run(vit, image)
    total = torch.zeros(25, dtype=torch.float64)
    for heads, output in zip(trace.attention, trace.outputs, strict=True):
        score = slow_vit.classify(vit, output.mean(0))[target]
        gradients = torch.autograd.grad(score, heads, retain_graph=True)
        for gradient in gradients:
            total += gradient.clamp(min=0).mean(0) / len(gradients)
    return total[1:].reshape(1, 4, 6)


def test_matches_slow_reference(make_vit, images):
    vit = make_vit(img_size=(32, 48), norm_layer=LayerNorm)
    expected = torch.stack([reference(vit, *pair) for pair in zip(images, (4, 0, 2), strict=True)])
    maps = LeGrad()(vit, images, torch.tensor([4, 0, 2]))
    torch.testing.assert_close(maps, expected, rtol=1e-8, atol=1e-12)
