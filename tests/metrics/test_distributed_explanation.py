"""Two processes over gloo score explanations as one does."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from salvit.metrics import (
    ABPC,
    SMM,
    BoxLocalization,
    BoxSweep,
    DeletionInsertion,
    EnergyPointing,
    MaxSensitivity,
    SaCo,
)
from salvit.metrics.functional import box_masks
from tests.metrics.heatmap_cases import SIZE, heatmaps_and_boxes

# The images of rank 0 and those of rank 1; image 1 has no box, image 2 a constant heatmap, image 3 NaN.
SPLITS = {
    "4 and 1": ([0, 2, 3, 4], [1]),
    "3 and 0": ([0, 1, 2], []),
    "0 and 2": ([], [1, 3]),
    "none": ([], []),
}
COUNTED = {"BoxLocalization", "BoxSweep", "SMM", "EnergyPointing", "ABPC"}


def scored(images):
    """All metrics after one update per image."""
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(2, 0, 1, 1, 3))
    heatmaps[2], heatmaps[3, 0, 0] = 0.4, torch.nan
    masks = box_masks(boxes, SIZE)
    curves = torch.rand(2, 5, 11, generator=torch.Generator().manual_seed(0))
    curves[1, 2], curves[:, 3] = curves[0, 2], torch.nan
    metrics = [cls() for cls in (BoxLocalization, BoxSweep, SMM, EnergyPointing)]
    pairs = [cls() for cls in (ABPC, DeletionInsertion, SaCo)]
    sensitivity = MaxSensitivity(samples=2)
    for i in images:
        one = slice(i, i + 1)
        for metric in metrics[:2]:
            metric.update(heatmaps[one], boxes[one], SIZE)
        for metric in metrics[2:]:
            metric.update(heatmaps[one], masks[one])
        for metric in pairs:
            metric.update(*curves[:, one])
        sensitivity.update(lambda x: x, heatmaps[one, None])
    return {type(metric).__name__: metric for metric in [*metrics, *pairs, sensitivity]}


def readings(metrics):
    return {name: (metric.compute(), metric.per_image()) for name, metric in metrics.items()}


def counts(metrics):
    return {name: (m.n_skipped, getattr(m, "n_constant", None)) for name, m in metrics.items()}


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = {}
    for name, split in SPLITS.items():
        metrics = scored(split[rank])
        results[name] = readings(metrics)
        if rank == 0:  # what `compute` gathered is read without the other process
            results[name, "counts"] = counts(metrics)
            results[name, "curves"] = metrics["ABPC"].curves()
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(work, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_both_processes_know_the_scores_of_all(results, name):
    alone = scored([*SPLITS[name][0], *SPLITS[name][1]])
    expected = readings(alone)
    for rank in range(2):
        torch.testing.assert_close(results[rank][name], expected, rtol=0, atol=0, equal_nan=True)
    assert results[0][name, "counts"] == counts(alone)
    torch.testing.assert_close(
        results[0][name, "curves"], alone["ABPC"].curves(), rtol=0, atol=0, equal_nan=True
    )


def test_skipped_and_constant_images_are_counted_across_processes(results):
    found = results[0]["4 and 1", "counts"]
    assert {name for name, (_, constant) in found.items() if constant == 1} == COUNTED
    skipped = {name: skipped for name, (skipped, _) in found.items()}
    assert skipped == {
        "BoxLocalization": 2,
        "BoxSweep": 2,
        "SMM": 2,
        "EnergyPointing": 2,
        "ABPC": 1,
        "DeletionInsertion": 1,
        "SaCo": 1,
        "MaxSensitivity": 1,
    }
