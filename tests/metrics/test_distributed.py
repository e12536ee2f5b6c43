"""Two processes over gloo score as one does."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from salvit import metrics as m
from salvit.metrics.functional import box_masks, fixation_counts
from tests.metrics.cases import batch
from tests.metrics.heatmap_cases import SIZE, heatmaps_and_boxes

SIZES = [(6, 9)] * 5
# Images of rank 0 and of rank 1; image 1 has no fixations and no box, image 3 NaN.
SPLITS = {
    "4 and 1": ([0, 2, 3, 4], [1]),
    "3 and 0": ([0, 1, 2], []),
    "0 and 2": ([], [1, 3]),
    "none": ([], []),
}


def saliency_cases():
    return batch(0, images=5, lengths=(4, 0, 5, 3, 2))


def scored(images):
    """All metrics after one update per image."""
    pred, density, fixations = saliency_cases()
    truth = {"density": density, "fixations": fixations}
    saliency = {cls.__name__: cls() for cls in (m.NSS, m.CC, m.SIM, m.KLD, m.AUC, m.ShuffledAUC)}
    saliency["ShuffledAUC with pool"] = m.ShuffledAUC(fixation_counts(fixations, SIZES, SIZES[0]))
    heatmaps, boxes = heatmaps_and_boxes(0, counts=(2, 0, 1, 1, 3))
    heatmaps[3, 0, 0] = torch.nan
    masks = box_masks(boxes, SIZE)
    curves = torch.rand(2, 5, 11, generator=torch.Generator().manual_seed(0))
    curves[:, 3] = torch.nan
    of_boxes, of_masks = [m.BoxLocalization(), m.BoxSweep()], [m.SMM(), m.EnergyPointing()]
    of_pairs, sensitivity = [m.ABPC(), m.DeletionInsertion(), m.SaCo()], m.MaxSensitivity(samples=2)
    for i in images:
        one = slice(i, i + 1)
        for metric in saliency.values():
            metric.update(pred[one], truth[metric.truth][one])
        for metric in of_boxes:
            metric.update(heatmaps[one], boxes[one], SIZE)
        for metric in of_masks:
            metric.update(heatmaps[one], masks[one])
        for metric in of_pairs:
            metric.update(*curves[:, one])
        sensitivity.update(lambda x: x, heatmaps[one, None])
    explanation = [*of_boxes, *of_masks, *of_pairs, sensitivity]
    return saliency | {type(metric).__name__: metric for metric in explanation}


def readings(metrics):
    return {name: (metric.compute(), metric.per_image()) for name, metric in metrics.items()}


def skipped(metrics):
    return {name: metric.n_skipped for name, metric in metrics.items()}


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = {}
    for name, split in SPLITS.items():
        metrics = scored(split[rank])
        results[name] = readings(metrics)
        if rank == 0:  # what `compute` gathered is read without the other process
            results[name, "skipped"] = skipped(metrics)
            results[name, "curves"] = metrics["ABPC"].curves()
    fixations = saliency_cases()[2]
    results["pool"] = fixation_counts(fixations[rank::2], SIZES[rank::2], (3, 4))
    dist.all_reduce(results["pool"])
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
    assert results[0][name, "skipped"] == skipped(alone)
    curves = alone["ABPC"].curves()
    torch.testing.assert_close(results[0][name, "curves"], curves, rtol=0, atol=0, equal_nan=True)


def test_skipped_images_are_counted_across_processes(results):
    # No box and no finite heatmap; no finite curve or map; no fixations.
    expected = dict.fromkeys(("BoxLocalization", "BoxSweep", "SMM", "EnergyPointing"), 2)
    expected |= dict.fromkeys(("ABPC", "DeletionInsertion", "SaCo", "MaxSensitivity"), 1)
    expected |= dict.fromkeys(("NSS", "AUC", "ShuffledAUC", "ShuffledAUC with pool"), 1)
    expected |= dict.fromkeys(("CC", "SIM", "KLD"), 0)
    assert results[0]["4 and 1", "skipped"] == expected


def test_count_maps_add_up(results):
    expected = fixation_counts(saliency_cases()[2], SIZES, (3, 4))
    assert all(result["pool"].equal(expected) for result in results)
