"""Packages from the index that compute the same maps: agreement, and their time over ours."""

import copy
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import salvit
from benchmarks.lxt_vit import patch_relevance
from benchmarks.timing import ratios
from salvit.extractors import parse_method
from salvit.vit import ViT, patch_grid


class Peer(NamedTuple):
    """A peer's computation of one of our methods.

    Attributes:
        package: its name on the index, and the class.
        method: ours, with options.
        run: gives its maps, [B, h, w].
    """

    package: str
    method: str
    run: Callable[[], Tensor]


def table(model: str, size: int, batch: int, rounds: int) -> str:
    """A Markdown table; agreement is the least correlation of an image's maps, which peers scale in their ways."""
    vit = salvit.load_vit(model, pretrained=False, img_size=size)
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size)
    target = torch.arange(batch)
    lines = ["| method | peer | peer's time ÷ ours | correlation |", "|---|---|---|---|"]
    for peer in peers(vit, images, target):
        ours = partial(parse_method(peer.method), vit, images, target)
        ratio = ratios(ours, {"peer": peer.run}, rounds, "cpu")["peer"]
        agreement = _correlation(ours().squeeze(1), peer.run())
        lines.append(f"| {peer.method} | {peer.package} | {ratio.median:.2f} | {agreement:.6f} |")
    return "\n".join(lines)


def peers(vit: ViT, images: Tensor, target: Tensor) -> list[Peer]:
    """What is compared with."""
    from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Saliency

    trainable = _trainable(vit)
    noise = {"nt_samples": 5, "stdevs": 0.15 * float(images.amax() - images.amin()), "abs": False}
    found = [
        Peer(f"grad-cam {name}", method, partial(_gradcam, name, trainable, images, target))
        for name, method in _CAMS.items()
    ]
    found += [
        Peer("captum Saliency", "input_gradient", partial(_captum, Saliency(vit), images, target, "max")),
        Peer(
            "captum InputXGradient",
            "input_x_gradient",
            partial(_captum, InputXGradient(vit), images, target, "sum"),
        ),
        Peer(
            "captum IntegratedGradients",
            "integrated_gradients:steps=5",
            partial(_captum, IntegratedGradients(vit), images, target, "sum", n_steps=5),
        ),
        Peer(
            "captum NoiseTunnel, its own noise",
            "smoothgrad:samples=5",
            partial(_captum, NoiseTunnel(Saliency(vit)), images, target, "max", **noise),
        ),
        Peer("torchcam LeGrad", "legrad", partial(_legrad, _torchvision(vit), images, target)),
    ]
    # Not in the extra `bench`, as they ask for more than these parts of them need: transformers, other versions.
    others = {
        "lxt": Peer("lxt, its operations", "attn_lrp", partial(_attn_lrp, vit, images, target)),
        "daam": Peer("daam-timm-vit DAAM", "daam", partial(_daam, vit, images, target)),
        "saliency": Peer("saliency XRAI", "xrai:steps=5", partial(_xrai, vit, images, target)),
    }
    return found + [peer for package, peer in others.items() if find_spec(package)]


_CAMS = {
    "GradCAM": "token_gradcam",
    "GradCAMPlusPlus": "gradcam_plus_plus",
    "HiResCAM": "hirescam",
    "LayerCAM": "layercam",
}
"""Classes of grad-cam, and our methods."""


def _attn_lrp(vit: ViT, images: Tensor, target: Tensor) -> Tensor:
    return patch_relevance(vit, images, target).unflatten(1, patch_grid(vit, images))


def _gradcam(name: str, model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    height, width = patch_grid(model, images)

    def fold(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].unflatten(1, (height, width)).movedim(-1, 1)

    kind = getattr(pytorch_grad_cam, name)
    with kind(model=model, target_layers=[model.blocks[-1].norm1], reshape_transform=fold) as cam:
        maps = cam(input_tensor=images, targets=[ClassifierOutputTarget(int(c)) for c in target])
    return torch.from_numpy(maps)


def _captum(attribution: Any, images: Tensor, target: Tensor, over_channels: str, **options: Any) -> Tensor:
    maps = attribution.attribute(images.clone().requires_grad_(), target=target, **options)
    maps = maps.detach()
    return maps.abs().amax(1) if over_channels == "max" else maps.sum(1)


def _daam(vit: ViT, images: Tensor, target: Tensor) -> Tensor:
    import daam

    with daam.DAAM(vit) as peer:
        return peer(images, target=target).maps[:, -1]


def _xrai(vit: ViT, images: Tensor, target: Tensor) -> Tensor:
    from saliency import core

    maps = []
    for image, label in zip(images, target.tolist(), strict=True):

        def gradients(
            batch: Any, call_model_args: Any = None, expected_keys: Any = None, label: int = label
        ) -> dict[str, Any]:
            pixels = torch.as_tensor(batch).float().movedim(-1, 1).requires_grad_()
            [gradient] = torch.autograd.grad(vit(pixels)[:, label].sum(), pixels)
            return {core.INPUT_OUTPUT_GRADIENTS: gradient.movedim(1, -1).numpy()}

        picture, options = image.movedim(0, -1).numpy(), core.XRAIParameters(steps=5)
        found = core.XRAI().GetMask(picture, gradients, batch_size=5, extra_parameters=options)
        maps.append(torch.from_numpy(found))
    return torch.stack(maps)


def _legrad(model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
    from torchcam.methods import LeGrad

    with LeGrad(model, list(model.encoder.layers)) as cam:
        scores = model(images)
        [maps] = cam(target.tolist(), scores, normalized=False)
    return maps.detach()


def _trainable(vit: ViT) -> ViT:
    """A copy whose parameters require gradients: grad-cam raises on a frozen model."""
    return copy.deepcopy(vit).requires_grad_()


def _torchvision(vit: ViT) -> nn.Module:
    """The same weights in torchvision's VisionTransformer, the only one that torchcam's LeGrad knows."""
    from torchvision.models import VisionTransformer

    embed, block = vit.patch_embed, vit.blocks[0]
    model = VisionTransformer(
        image_size=embed.img_size[0],
        patch_size=embed.patch_size[0],
        num_layers=len(vit.blocks),
        num_heads=block.attn.num_heads,
        hidden_dim=vit.embed_dim,
        mlp_dim=block.mlp.fc1.out_features,
        num_classes=vit.num_classes,
    )
    state = {
        "class_token": vit.cls_token,
        "conv_proj.weight": embed.proj.weight,
        "conv_proj.bias": embed.proj.bias,
        "encoder.pos_embedding": vit.pos_embed,
        "encoder.ln.weight": vit.norm.weight,
        "encoder.ln.bias": vit.norm.bias,
        "heads.head.weight": vit.head.weight,
        "heads.head.bias": vit.head.bias,
    }
    names = {
        "norm1.": "ln_1.",
        "attn.qkv.": "self_attention.in_proj_",
        "attn.proj.": "self_attention.out_proj.",
        "norm2.": "ln_2.",
        "mlp.fc1.": "mlp.0.",
        "mlp.fc2.": "mlp.3.",
    }
    for index, one in enumerate(vit.blocks):
        for ours, theirs in names.items():
            for kind in ("weight", "bias"):
                state[f"encoder.layers.encoder_layer_{index}.{theirs}{kind}"] = one.get_parameter(
                    f"{ours}{kind}"
                )
    model.load_state_dict({name: value.detach() for name, value in state.items()})
    return model.eval()


def _correlation(ours: Tensor, theirs: Tensor) -> float:
    """Correlation of two maps of an image, the least over the batch; ours is enlarged where theirs is larger."""
    ours = F.interpolate(ours[:, None], theirs.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    pairs = zip(ours.flatten(1).double(), theirs.flatten(1).double(), strict=True)
    return min(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in pairs)
