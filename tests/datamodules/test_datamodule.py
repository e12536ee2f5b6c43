"""What every datamodule has from its base, on a dataset of four generated images."""

import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import SequentialSampler

from datamodules import SaliencyDataModule, SaliencyDataset

SIZES = [(6, 8), (12, 16), (6, 8), (6, 8)]
POINTS = [[[0, 0], [7, 5]], [[0, 0], [1, 1], [15, 11]], [], [[3.4, 2.2]]]


class Four(SaliencyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        size = self.size(index)
        return {"image": torch.zeros(3, 4, 4), "size": size, "name": str(index), "index": index}

    def size(self, index):
        return SIZES[index]

    def fixations(self, index):
        return torch.tensor(POINTS[index]).reshape(-1, 2).float()

    def density(self, index):
        density = torch.zeros(SIZES[index])
        if index == 1:
            return torch.full_like(density, 3.0)
        density[index, index] = float(index != 2)
        return density

    def dropped_fixations(self, index):
        return index


class FourDataModule(SaliencyDataModule):
    def make_dataset(self, split):
        return Four()


@pytest.fixture
def datamodule():
    return FourDataModule(image_size=4, batch_size=3, num_workers=0)


def test_options():
    assert FourDataModule(image_size=5).image_size == (5, 5)
    assert FourDataModule(image_size=[5, 6]).image_size == (5, 6)
    assert FourDataModule().num_workers >= 1
    with pytest.raises(ValueError, match=r"image_size \(4, -1\) .*at least 1"):
        FourDataModule(image_size=(4, -1))
    with pytest.raises(ValueError, match="batch_size 0 must be at least 1"):
        FourDataModule(batch_size=0)
    with pytest.raises(
        ValueError, match="num_workers is -1: give the number of processes that load data, 0 "
    ):
        FourDataModule(num_workers=-1)


def test_loaders(datamodule, monkeypatch):
    datamodule.setup("fit")
    dataset, train, val = (
        datamodule.dataset("train"),
        datamodule.train_dataloader(),
        datamodule.val_dataloader(),
    )
    assert sorted(name for batch in train for name in batch["name"]) == ["0", "1", "2", "3"]
    assert isinstance(val.sampler, SequentialSampler)
    assert [batch["name"] for batch in val] == [["0", "1", "2"], ["3"]]
    assert not val.persistent_workers
    assert FourDataModule(num_workers=1).val_dataloader().persistent_workers
    datamodule.setup("fit")
    assert datamodule.dataset("train") is train.dataset is dataset  # built once
    for available in (True, False):  # memory is pinned for an accelerator alone
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert datamodule.train_dataloader().pin_memory == available


@pytest.fixture
def processes(monkeypatch):
    def pretend(world_size, rank):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: world_size)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)

    return pretend


def test_each_image_is_on_one_process(datamodule, processes):
    for split in ("val", "test", "predict"):
        seen = []
        for rank in range(3):
            processes(3, rank)
            loader = getattr(datamodule, f"{split}_dataloader")()
            assert isinstance(loader.sampler, UnrepeatedDistributedSampler)
            seen += [name for batch in loader for name in batch["name"]]
        assert sorted(seen) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_process_without_images_has_one_batch_of_none(datamodule, processes, workers, monkeypatch):
    datamodule.num_workers = workers
    batches = []
    for rank in range(6):
        processes(6, rank)
        loader = datamodule.val_dataloader()
        assert len(loader) == 1
        assert isinstance(loader.sampler, UnrepeatedDistributedSampler)
        batches += list(loader)
    assert [batch["name"] for batch in batches] == [["0"], ["1"], ["2"], ["3"], [], []]
    assert batches[5].keys() == batches[0].keys()
    assert (batches[5]["image"].shape, batches[5]["size"]) == ((0, 3, 4, 4), [])
    assert batches[5]["index"].dtype == batches[0]["index"].dtype
    monkeypatch.setattr(Four, "__len__", lambda self: 0)
    assert len(datamodule.val_dataloader()) == 0  # no images at all


def test_fixations_are_counted_as_points(datamodule, monkeypatch):
    with pytest.warns(UserWarning, match="6 fixations of the val split lie outside their image.*6 remain"):
        counts = datamodule.fixation_counts("val", (6, 8))
    expected = np.zeros((6, 8))
    expected[0, 0] = 3  # (1, 1) of 12×16 lies in pixel (0, 0) of 6×8
    expected[5, 7] = 2
    expected[2, 3] = 1
    assert np.array_equal(counts, expected)
    monkeypatch.setattr(Four, "dropped_fixations", lambda self, index: 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datamodule.fixation_counts("test", (6, 8))


def test_center_prior_is_the_mean_over_images_with_fixations(datamodule, monkeypatch):
    prior = datamodule.center_prior((6, 8))
    assert (prior.shape, prior.dtype) == ((6, 8), torch.float32)
    assert torch.isclose(prior.sum(), torch.tensor(1.0))
    expected = torch.full((6, 8), 1 / 48)
    expected[0, 0] += 1
    expected[3, 3] += 1
    assert torch.allclose(prior, expected / 3)
    assert datamodule.center_prior((6, 8)) is prior
    assert datamodule.center_prior((3, 4)).shape == (3, 4)
    monkeypatch.setattr(Four, "density", lambda self, index: torch.zeros(SIZES[index]))
    with pytest.raises(ValueError, match="no image of the dataset has a fixation"):
        FourDataModule(num_workers=0).center_prior((6, 8))
