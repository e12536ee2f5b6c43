"""A tiny validation set of ILSVRC 2012 in the layouts it is found in."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.datamodules.data.images import Box, write_rectangle
from tests.datamodules.data.xml import write_xml

IMAGES: list[tuple[tuple[int, int], str, list[Box]]] = [
    ((40, 60), "n15075141", [(10, 5, 30, 25)]),
    ((51, 37), "n01440764", [(4, 9, 33, 40), (0, 0, 37, 8)]),
    ((45, 45), "n02123045", [(5, 5, 40, 20)]),
]
"""(height, width), wnid and boxes (edges, 0-based) of the first, second, … image."""

INDICES = [999, 0, 281]
"""Of their classes: toilet tissue, tench, tabby."""

KIT = {1: "n02123045", 2: "n15075141", 3: "n01440764", 1001: "n00001740"}
"""The development kit's own numbers, which are not in the order of the wnids; 1001 is no leaf."""


def stem(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}"


def write_kit(folder: Path, numbers: list[int] | None = None) -> Path:
    """meta.mat with the fields it has, and a line per image."""
    text, count = (
        [("words", "O"), ("gloss", "O")],
        [("num_children", "O"), ("children", "O"), ("wordnet_height", "O")],
    )
    synsets = np.empty((len(KIT), 1), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), *text, *count])
    for row, (number, wnid) in enumerate(KIT.items()):
        synsets[row, 0] = (np.int16(number), wnid, "words", "gloss", 0, np.empty((0, 0)), 0)
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "meta.mat", {"synsets": synsets}, do_compression=True)
    of_wnid = {wnid: number for number, wnid in KIT.items()}
    lines = numbers if numbers is not None else [of_wnid[wnid] for _, wnid, _ in IMAGES]
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def write_solution(path: Path) -> Path:
    """LOC_val_solution.csv, which is not sorted and has a blank after each object."""
    rows = [
        f"{stem(number)},{''.join(f'{wnid} {x0} {y0} {x1} {y1} ' for x0, y0, x1, y1 in boxes)}\n"
        for number, (_, wnid, boxes) in enumerate(IMAGES, start=1)
    ]
    path.write_text("ImageId,PredictionString\n" + "".join(reversed(rows)))
    return path


def make_imagenet(root: Path, labels: str = "kit", data: str = "", boxes: bool = True) -> Path:
    """Flat with the development kit, flat with the csv, or in "folders"; ``data`` is put before ``val``."""
    for number, (size, wnid, objects) in enumerate(IMAGES, start=1):
        folder = root / data / "val" / (wnid if labels == "folders" else "")
        write_rectangle(folder / f"{stem(number)}.JPEG", size, objects[0], quality=95)
        if boxes:
            place = root / data.replace("Data", "Annotations") if data else root / "Annotations/CLS-LOC"
            write_xml(place / f"val/{stem(number)}.xml", size, [(wnid, box) for box in objects])
    if labels == "kit":
        write_kit(root / "ILSVRC2012_devkit_t12/data")
    if labels == "csv":
        write_solution(root / "LOC_val_solution.csv")
    return root
