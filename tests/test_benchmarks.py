"""The benchmarks run, on models too small to say anything."""

import time
from functools import partial

import pytest

from benchmarks import explanation, extractors
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
    measured = {line.split("|")[1].split()[0] for line in table.splitlines()[3:]}
    assert measured == set(METHODS) - {"random", "center_prior", "rise"}
    assert "(exceeded)" in table or "| 4.5 |" in table


def test_perturbation_and_boxes():
    assert "20 bare forward passes" in explanation.table(MODEL, size=32, batch=1, rounds=1, device="cpu")


@pytest.mark.slow
def test_peak_memory_grows_with_the_batch():
    small, large = (peak_mib(MODEL, 224, batch, "cpu", "relevance_lrp") for batch in (2, 16))
    assert large > 3 * small > 0
