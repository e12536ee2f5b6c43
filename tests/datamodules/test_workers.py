"""Datasets go to worker processes that share nothing with this one, as on macOS, Windows and from Python 3.14 on."""

import inspect
import pickle
from itertools import accumulate

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader

import datamodules
from datamodules import PopOutDataModule, SaliencyDataModule, collate
from tests.datamodules.data.cat2000 import make_cat2000
from tests.datamodules.data.cub import make_cub
from tests.datamodules.data.imagenet import make_imagenet
from tests.datamodules.data.images import write_image
from tests.datamodules.data.mit import make_mit300, make_mit1003
from tests.datamodules.data.osie import make_osie
from tests.datamodules.data.p3o3 import make_p3o3
from tests.datamodules.data.salicon import make_salicon
from tests.datamodules.data.voc import make_voc


def make_folder(root):
    write_image(root / "a.jpg", (20, 30))
    return root


def make_class_folder(root):
    for split in ("train", "val"):
        write_image(root / split / "cat/a.jpg", (20, 30))
    return root


MAKERS = {
    "CAT2000DataModule": make_cat2000,
    "CUB200DataModule": make_cub,
    "ClassFolderDataModule": make_class_folder,
    "ImageFolderDataModule": make_folder,
    "ImageNetValDataModule": make_imagenet,
    "MIT300DataModule": make_mit300,
    "MIT1003DataModule": make_mit1003,
    "OSIEDataModule": make_osie,
    "P3O3DataModule": make_p3o3,
    "SaliconDataModule": make_salicon,
    "VOC2012DataModule": make_voc,
}


@pytest.fixture
def all_data(tmp_path):
    """Every datamodule, each with a tiny dataset of its own."""
    made = {}
    for name, make in MAKERS.items():
        (tmp_path / name).mkdir()
        made[name] = getattr(datamodules, name)(make(tmp_path / name), image_size=32)
    return {**made, "PopOutDataModule": PopOutDataModule(image_size=32, test_size=2)}


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_none_is_forgotten(all_data):
    public = [getattr(datamodules, name) for name in datamodules.__all__ if name.endswith("DataModule")]
    concrete = {kind.__name__ for kind in public if not inspect.isabstract(kind) and hasattr(kind, "env")}
    concrete.add("PopOutDataModule")
    assert concrete - {"FilesDataModule", "ExplanationDataModule"} == all_data.keys()
    assert all(issubclass(kind, SaliencyDataModule) for kind in public)


@pytest.mark.filterwarnings("ignore:boxes of")
def test_every_dataset_pickles(all_data):
    for data in all_data.values():
        dataset = data.dataset("predict")
        before = dataset[0]  # so that what the dataset keeps in memory is pickled as well
        after = pickle.loads(pickle.dumps(dataset))[0]
        assert before.keys() == after.keys()
        assert all(same(before[key], after[key]) for key in before)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:boxes of")
def test_every_dataset_works_in_a_process_that_is_spawned(all_data):
    """One worker for all, as it takes many seconds to start one; it loads the first two images of each."""
    predicted = [data.dataset("predict") for data in all_data.values()]
    starts = [0, *accumulate(map(len, predicted))]
    batches = [
        list(range(start, start + min(2, len(data)))) for start, data in zip(starts, predicted, strict=False)
    ]
    loader = DataLoader(
        ConcatDataset(predicted),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    for dataset, batch in zip(predicted, loader, strict=True):
        expected = collate([dataset[index] for index in range(len(batch["name"]))])
        assert batch.keys() == expected.keys()
        assert all(same(batch[key], expected[key]) for key in batch)
