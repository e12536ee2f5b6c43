"""Predictions of fitted models beside people's fixations: `python -m salvit.report.beside NAME=CHECKPOINT …`.

    python -m salvit.report.beside "raw attention=a.ckpt" "salient attention=b.ckpt" --root OSIE --out beside.jpg

It shows the first images of the val split of the dataset that the first model was fitted on.
"""

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from pydoc import locate
from typing import Any

from PIL import Image, ImageDraw
from torch import Tensor

from datamodules import FilesDataModule, SaliencyDataset
from datamodules.base import read_image, to_tensor
from salvit.cli.failure import one_clear_error
from salvit.cli.interrupt import interruptible
from salvit.errors import InvalidValueError
from salvit.modules.checkpoint import read_checkpoint
from salvit.modules.fitted import FittedSaliency, load_saliency
from salvit.report.pictures import overlay, panel
from salvit.results.files import write

_DOT = 3
"""Radius of a fixation, in pixels of the image."""


def beside(models: Mapping[str, FittedSaliency], dataset: SaliencyDataset, count: int) -> Image.Image:
    """Draw a row for each image: the photograph, people's fixations, and each model's prediction.

    Args:
        models: fitted models by the name above their column.
        dataset: a dataset of images on disk with fixations.
        count: number of images to show, the first of the dataset.

    Returns:
        An RGB picture. Colours run from the minimum to the maximum of each map.
    """
    rows = []
    for index in range(min(count, len(dataset))):
        file: Path = dataset.stimuli[index].image  # type: ignore[attr-defined]
        photograph = read_image(file)
        pixels = to_tensor(photograph, dataset.size(index))
        people = _with_dots(overlay(pixels, dataset.density(index)), dataset.fixations(index))
        rows.append([photograph, people, *(overlay(pixels, model(photograph)) for model in models.values())])
    return panel(rows, ["photograph", "people", *models], height=200)


def _with_dots(picture: Image.Image, fixations: Tensor) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    for x, y in fixations.tolist():
        draw.ellipse((x - _DOT, y - _DOT, x + _DOT, y + _DOT), fill="white", outline="black")
    return picture


def fitted_data(checkpoint: Path, root: Path | None) -> FilesDataModule:
    """The datamodule that a model was fitted on.

    Args:
        checkpoint: the file of the fit.
        root: folder of the dataset, if it has moved.

    Raises:
        ValueError: if the checkpoint names no dataset on disk.
    """
    described: dict[str, Any] | None = read_checkpoint(checkpoint).get("salvit", {}).get("data")
    kind = locate(described["class_path"]) if described else None
    if described is None or not (isinstance(kind, type) and issubclass(kind, FilesDataModule)):
        raise InvalidValueError(
            f"{checkpoint} was not fitted on a dataset on disk, so there are no photographs"
        )
    options = {**described["init_args"], **({"root": root} if root else {}), "num_workers": 0}
    return kind(**options)


def main(args: Sequence[str] | None = None) -> None:
    """Write the picture, and say where it is.

    Raises:
        SystemExit: with status 2 if the command line is wrong, 1 after an error later, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser("python -m salvit.report.beside", allow_abbrev=False)
    parser.add_argument("models", nargs="+", metavar="NAME=CHECKPOINT", help="fitted models and their titles")
    parser.add_argument("--root", type=Path, help="folder of the dataset; default: that of the first fit")
    parser.add_argument("--images", type=int, default=4, help="number of images; default: 4")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a JPEG file")
    options = parser.parse_args(args)
    named = [model.partition("=")[::2] for model in options.models]
    if bad := [name for name, file in named if not file]:
        parser.error(f"expected NAME=CHECKPOINT, got {bad[0]!r}")
    with interruptible(), one_clear_error():
        data = fitted_data(Path(named[0][1]), options.root)
        models = {name: load_saliency(file) for name, file in named}
        picture = beside(models, data.dataset("val"), options.images)
        jpeg = io.BytesIO()
        picture.save(jpeg, format="JPEG", quality=88)
        write(options.out.parent, {options.out.name: jpeg.getvalue()})
    print(f"picture: {options.out}")


if __name__ == "__main__":
    main()
