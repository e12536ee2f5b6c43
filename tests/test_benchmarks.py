"""The benchmarks run, on models too small to say anything."""

import re
import time
from functools import partial

import pytest
import torch

import salvit
from benchmarks import explanation, extractors, precision, stability
from benchmarks.memory import peak_mib
from benchmarks.timing import ratios
from salvit.extractors import METHODS

MODEL = "vit_tiny_patch16_224"


def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_ratios_are_to_the_reference():
    ratio = ratios(partial(spin, 0.01), {"twice": partial(spin, 0.02)}, rounds=3, device="cpu")["twice"]
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.median == pytest.approx(2, rel=0.3)
    assert ratio.seconds == pytest.approx(0.02, rel=0.3)


def test_every_method_but_those_without_a_forward_pass_of_its_own_is_measured():
    table = extractors.table(MODEL, size=64, batch=1, rounds=1, device="cpu", memory=False)
    measured = {re.match(r"\| (\w+)", line)[1] for line in table.splitlines()[3:]}
    assert measured == set(METHODS) - {"random", "center_prior", "rise", "scorecam"}
    assert "(exceeded)" in table or "| 4.5 |" in table


def test_bookkeeping_is_measured_of_every_method_that_four_patches_are_enough_for():
    table = extractors.bookkeeping(MODEL, 1, "cpu").splitlines()
    measured = {line.split("|")[1].strip() for line in table[2:]}
    assert measured == set(extractors.names()) - {"salient_attention"}


def test_lrp_of_another_make():
    sentence = extractors.other_make(64, 1, 1, "cpu", model="vit_small_patch16_rope_224")
    assert re.fullmatch(
        r"For vit_small_patch16_rope_224, a model with RoPE, relevance LRP takes \d+\.\d forward passes \(batch 1\)\.",
        sentence,
    )


def test_precision_counts_maps_that_rounding_has_changed(monkeypatch):
    images = precision.displays(2)
    assert images.shape == (2, 3, 64, 64)
    vit = salvit.load_vit("salvit_tiny")
    monkeypatch.setattr(precision, "_correlations", lambda maps, exact: torch.tensor([1.0, 0.9]).double())
    rows = precision.table(vit, images).splitlines()[2:]
    assert [row.split("|")[1:5] for row in rows] == [
        [f" {name} ", " 0.900000 ", " 0.900000 ", " 50 % "] for name in precision._METHODS
    ]


def test_correlation_of_maps():
    maps = torch.tensor([[[1.0, 2.0]], [[1.0, 2.0]]])
    exact = torch.tensor([[[10.0, 20.0]], [[2.0, 1.0]]], dtype=torch.float64)
    assert precision._correlations(maps, exact).tolist() == pytest.approx([1, -1])


def test_perturbation_and_boxes():
    assert "20 bare forward passes" in explanation.table(MODEL, size=32, batch=1, rounds=1, device="cpu")


@pytest.mark.slow
def test_peak_memory_grows_with_the_batch():
    small, large = (peak_mib(MODEL, 224, batch, "cpu", "relevance_lrp") for batch in (2, 16))
    assert large > 3 * small > 0


def test_stability_compares_a_fit_with_others(monkeypatch):
    monkeypatch.setattr(stability, "_TIGHT", {"tol": 1e-3, "max_iter": 5})
    monkeypatch.setattr(stability, "_CHANGES", {"nothing": {}, "seed=1": {"seed": 1}, "float64": {}})
    table = stability.table(salvit.load_vit("salvit_tiny"), precision.displays(3), ranks=[4])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    assert [row[0] for row in rows] == ["nothing", "seed=1", "float64"]
    assert rows[0][1:] == ["1.00", "1.000 (1.000)", "1.000 (1.000)"]
    assert table.startswith("k = 4: the heaviest mode weighs 0.")
