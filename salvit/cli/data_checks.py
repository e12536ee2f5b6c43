"""What `salvit doctor` checks about the datasets on disk."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import datamodules
from datamodules import FilesDataModule
from datamodules.base import Split
from salvit.cli.checks import Check
from salvit.errors import SalvitError

_OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "Salicon": ({}, {"release": "2015"}),
    "VOC2012": ({"classes": "all"},),
}
"""Options with which a dataset is checked, if the defaults do not read all of it; one of several must work."""
_PUBLISHED: dict[str, dict[Split, int]] = {
    "OSIE": {"train": 500, "val": 200},
    "CAT2000": {"train": 1600, "val": 400},
    "MIT1003": {"train": 802, "val": 201},
    "MIT300": {"predict": 300},
    "P3O3": {"test": 4515},
    "ImageNetVal": {"val": 50000},
    "VOC2012": {"train": 5717, "val": 5823},
    "CUB200": {"train": 5994, "test": 5794},
}
"""Images of the splits as published; without SALICON, whose layout other datasets have as well."""


def dataset_kinds() -> dict[str, type[FilesDataModule]]:
    """The datamodules that read a dataset from disk, by name.

    Example:
        >>> dataset_kinds()["OSIE"].env
        'SALVIT_OSIE_ROOT'
    """
    kinds = {name.removesuffix("DataModule"): getattr(datamodules, name) for name in datamodules.__all__}
    return {name: kind for name, kind in kinds.items() if hasattr(kind, "env")}


def check_datasets(roots: Mapping[str, str]) -> Iterator[Check]:
    """Is each dataset whose root is named complete?

    Args:
        roots: folders by name of the dataset; they win over environment variables.
    """
    kinds = dataset_kinds()
    not_set = []
    for name, kind in kinds.items():
        if root := roots.get(name) or os.environ.get(kind.env):
            yield check_dataset(name, root)
        else:
            not_set.append(kind.env)
    if not_set:
        yield Check("note", "data", f"not set: {', '.join(not_set)}")
    known = {kind.env for kind in kinds.values()}
    for variable in sorted(os.environ):
        if variable.startswith("SALVIT_") and variable.endswith("_ROOT") and variable not in known:
            yield Check("WRONG", "data", f"{variable} is set, but no dataset has this variable")


def check_dataset(name: str, root: str) -> Check:
    """Is a dataset complete, and can the first image of each split be read?

    Args:
        name: name of the dataset, as in `dataset_kinds`.
        root: folder of the dataset.
    """
    errors = []
    for options in _OPTIONS.get(name, ({},)):
        data = dataset_kinds()[name](root, num_workers=0, **options)
        try:
            datasets = {split: data.dataset(split) for split in dict.fromkeys(data.splits.values())}
            for dataset in datasets.values():
                dataset[0]
        except (SalvitError, OSError) as error:
            errors.append(str(error))
            continue
        counts = {split: len(dataset) for split, dataset in datasets.items()}
        text = f"{', '.join(f'{count} {split}' for split, count in counts.items())} images in {root}"
        published = _PUBLISHED.get(name, {})
        if any(counts[split] < count for split, count in published.items()):
            whole = ", ".join(f"{count} {split}" for split, count in published.items())
            return Check("WRONG", name, f"{text}, but {whole} are published: is a part not unpacked?")
        return Check("ok", name, text)
    return Check("WRONG", name, errors[0])
