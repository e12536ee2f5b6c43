"""The stimuli of a submission: names and sizes."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath

from datamodules.base import SaliencyDataModule, SaliencyDataset, Size, StimulusDataset
from salvit.errors import InvalidValueError
from salvit.results.atomic import output_path


def stimuli_of(dataset: SaliencyDataset) -> dict[str, Size]:
    """File names and sizes of a dataset's stimuli, in its order.

    A name is the path below the folder that holds all stimuli, as in pysaliency: "i1.jpg" of MIT300, "Action/001.jpg"
    of CAT2000.

    Args:
        dataset: of images on disk.

    Returns:
        Native (height, width) by name.

    Raises:
        ValueError: if the stimuli are no files, or two of them would have maps of the same name.
    """
    if not isinstance(dataset, StimulusDataset) or not len(dataset):
        raise InvalidValueError(
            "a submission is for image files, and this dataset has none: use a dataset on disk"
        )
    paths = [stimulus.image for stimulus in dataset.stimuli]
    folder = os.path.commonpath([path.parent for path in paths])
    names = [path.relative_to(folder).as_posix() for path in paths]
    counts = Counter(_stem(name).casefold() for name in names)
    if same := [name for name in names if counts[_stem(name).casefold()] > 1]:
        raise InvalidValueError(
            f"the maps of {', '.join(same)} would have the same name without the ending: rename all but one"
        )
    return {name: dataset.size(index) for index, name in enumerate(names)}


def completeness(data: SaliencyDataModule, images: int) -> str:
    """Say whether a submission of a number of images has all images of the benchmark.

    Example:
        >>> from datamodules import MIT300DataModule
        >>> completeness(MIT300DataModule("."), 4)
        '4 images, all under the root, but NOT complete: MIT300 has 300'
    """
    expected = getattr(data, "images_expected", None)
    if expected in (None, images):
        return f"{images} images, complete"
    name = type(data).__name__.removesuffix("DataModule")
    return f"{images} images, all under the root, but NOT complete: {name} has {expected}"


def file_of(folder: Path, name: str, ending: str) -> Path:
    """The file of a stimulus' map: the name of the stimulus with another ending.

    Example:
        >>> file_of(Path("maps"), "Action/001.jpg", ".png").as_posix()
        'maps/Action/001.png'
    """
    return output_path(folder, _stem(name), ending)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
