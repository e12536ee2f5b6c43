"""Two processes over gloo score as one does."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from salvit.metrics import AUC, CC, KLD, NSS, SIM, ShuffledAUC
from salvit.metrics.functional import fixation_counts
from tests.metrics.cases import batch

SIZES = [(6, 9)] * 4
# The images of rank 0 and those of rank 1.
SPLITS = {"3 and 1": ([0, 2, 3], [1]), "3 and 0": ([0, 1, 2], []), "0 and 2": ([], [1, 3]), "none": ([], [])}


def scored(images):
    """All metrics after one update per image; image 1 has no fixations."""
    pred, density, fixations = batch(0, images=4, lengths=(4, 0, 5, 3))
    metrics = {cls.__name__: cls() for cls in (NSS, CC, SIM, KLD, AUC, ShuffledAUC)}
    metrics["ShuffledAUC with pool"] = ShuffledAUC(fixation_counts(fixations, SIZES, SIZES[0]))
    truth = {"density": density, "fixations": fixations}
    for i in images:
        for metric in metrics.values():
            metric.update(pred[i : i + 1], truth[metric.truth][i : i + 1])
    return metrics


def readings(metrics):
    return {name: (metric.compute(), metric.per_image()) for name, metric in metrics.items()}


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    results = {}
    for name, split in SPLITS.items():
        metrics = scored(split[rank])
        results[name] = readings(metrics)
        if rank == 0:  # what `compute` gathered is read without the other process
            results[name, "skipped"] = {key: metric.n_skipped for key, metric in metrics.items()}
    fixations = batch(0, images=4, lengths=(4, 0, 5, 3))[2]
    results["counts"] = fixation_counts(fixations[rank::2], SIZES[rank::2], (3, 4))
    dist.all_reduce(results["counts"])
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(work, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_both_processes_know_the_scores_of_all(results, name, rank):
    order = [*SPLITS[name][0], *SPLITS[name][1]]
    for metric, (mean, scores) in readings(scored(order)).items():
        found_mean, found_scores = results[rank][name][metric]
        torch.testing.assert_close(found_scores, scores, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(found_mean, mean, rtol=0, atol=0, equal_nan=True)


def test_skipped_images_are_counted_across_processes(results):
    skipped = results[0]["3 and 1", "skipped"]
    assert skipped == {name: int(name in {"NSS", "AUC"} or "Shuffled" in name) for name in skipped}


def test_count_maps_add_up(results):
    fixations = batch(0, images=4, lengths=(4, 0, 5, 3))[2]
    expected = fixation_counts(fixations, SIZES, (3, 4))
    assert all(result["counts"].equal(expected) for result in results)
