"""A tiny Tiny ImageNet in its published layout."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.datamodules.data.images import Box, write_rectangle

NAMES = {
    "n02123045": "tabby, tabby cat",
    "n01629819": "European fire salamander, Salamandra salamandra",
    "n01443537": "goldfish, Carassius auratus",
}
"""Of the classes, in the order of wnids.txt."""
TRAIN, VAL = 4, 2
"""Images of each class."""


def box_of(name: str) -> Box:
    """Edges of an image's box; what the files say is one less at the lower right."""
    x0, y0, width, height = np.random.default_rng(list(name.encode())).integers(
        (0, 0, 12, 12), (30, 30, 34, 34)
    )
    return int(x0), int(y0), int(x0 + width), int(y0 + height)


def write_images(folder: Path, names: list[str]) -> list[str]:
    """Write pictures, the first in grey; return their rows, of which a {} takes a further column."""
    rows = []
    for name in names:
        box = box_of(name)
        path = write_rectangle(folder / name, (64, 64), box, quality=95)
        if name == names[0]:
            Image.open(path).convert("L").save(path, quality=95)
        rows.append("\t".join([name + "{}", *(str(edge) for edge in (*box[:2], box[2] - 1, box[3] - 1))]))
    return rows


def make_tiny_imagenet(root: Path) -> Path:
    """Three classes; the official test images are there, and words.txt names other synsets too."""
    folder = root / "tiny-imagenet-200"
    for wnid in NAMES:
        rows = write_images(folder / f"train/{wnid}/images", [f"{wnid}_{n}.JPEG" for n in range(TRAIN)])
        (folder / f"train/{wnid}/{wnid}_boxes.txt").write_text("".join(f"{row}\n".format("") for row in rows))
    rows = write_images(folder / "val/images", [f"val_{number}.JPEG" for number in range(VAL * len(NAMES))])
    wnids = list(NAMES) * VAL
    (folder / "val/val_annotations.txt").write_text(
        "".join(f"{row}\n".format(f"\t{wnid}") for row, wnid in zip(rows, wnids, strict=True))
    )
    write_images(folder / "test/images", ["test_0.JPEG"])
    (folder / "wnids.txt").write_text("\n".join(NAMES))
    words = {"n00001740": "entity", **NAMES, "n07688624": "nan, naan", "n02129604": 'the "big" cat'}
    (folder / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in words.items()))
    return root
