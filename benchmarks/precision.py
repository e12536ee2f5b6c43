"""How many digits LRP keeps of float32 models: `python -m benchmarks.precision --images FOLDER --size 240 320`."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

import salvit
from datamodules import ImageFolderDataModule, PopOutDataModule
from salvit.extractors import FullLRP, PartialLRP, RelevanceLRP
from salvit.extractors.base import Extractor
from salvit.extractors.lrp.precision import in_double
from salvit.vit import ViT, normalize

_AGREES = 0.999
_METHODS: dict[str, Extractor] = {
    "relevance_lrp": RelevanceLRP(),
    "relevance_lrp:precision=double": RelevanceLRP(precision="double"),
    "partial_lrp": PartialLRP(),
    "full_lrp:precision=model": FullLRP(precision="model"),
    "full_lrp": FullLRP(),
}


def table(vit: ViT, images: Tensor) -> str:
    """A Markdown table of how well each method's maps correlate with those of the model in float64, image by image.

    Args:
        vit: a float32 model.
        images: RGB in [0, 1], [B, 3, H, W].
    """
    normed, exact = normalize(vit, images), in_double(vit)
    agreement: dict[str, list[Tensor]] = {name: [] for name in _METHODS}
    for part in normed.split(8):
        maps = {kind: kind()(exact, part.double()) for kind in {type(method) for method in _METHODS.values()}}
        for name, method in _METHODS.items():
            agreement[name].append(_correlations(method(vit, part), maps[type(method)]))
    lines = ["| method | median correlation | least | maps below .999 |", "|---|---|---|---|"]
    for name, parts in agreement.items():
        found = torch.cat(parts)
        share = 100 * (found < _AGREES).double().mean()
        lines.append(f"| {name} | {found.median():.6f} | {found.min():.6f} | {share:.0f} % |")
    return "\n".join(lines)


def displays(count: int) -> Tensor:
    """PopOut's first test displays, RGB in [0, 1], [count, 3, 64, 64]."""
    data = PopOutDataModule(test_size=count, batch_size=count, num_workers=0)
    data.setup("test")
    batch: dict[str, Tensor] = next(iter(data.test_dataloader()))
    return batch["image"]


def photographs(root: Path, size: tuple[int, int]) -> Tensor:
    """All images of a folder, RGB in [0, 1], [B, 3, H, W]."""
    data = ImageFolderDataModule(root, image_size=size, num_workers=0)
    data.setup("predict")
    return torch.cat([batch["image"] for batch in data.predict_dataloader()])


def _correlations(maps: Tensor, exact: Tensor) -> Tensor:
    pairs = zip(maps.double().flatten(1), exact.flatten(1), strict=True)
    return torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs])


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of images")
    parser.add_argument("--size", type=int, nargs=2, default=[240, 320], help="height and width in pixels")
    options = parser.parse_args()
    print(table(salvit.load_vit("salvit_tiny"), photographs(options.images, tuple(options.size))))


if __name__ == "__main__":
    main()
