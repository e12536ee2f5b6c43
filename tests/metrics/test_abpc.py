import pytest
import torch

from salvit.metrics import ABPC

LERF = torch.tensor([[0.9, 0.8, 0.1], [0.5, 0.5, 0.5], [torch.nan] * 3, [0.6, 0.2, 0.0]])
MORF = torch.tensor([[0.9, 0.3, 0.1], [0.5, 0.5, 0.5], [torch.nan] * 3, [0.6, 0.4, 0.0]])


def updated():
    metric = ABPC(steps=3)
    metric.update(LERF[:1], MORF[:1])
    metric.update(LERF[1:], MORF[1:])
    return metric


def test_areas_are_means_over_the_steps():
    metric = updated()
    per_image = metric.per_image()
    assert per_image["LeRF"][[0, 1, 3]].tolist() == pytest.approx([0.6, 0.5, 0.8 / 3])
    assert per_image["ABPC"][[0, 1, 3]].tolist() == pytest.approx([0.5 / 3, 0.0, -0.2 / 3])
    means = metric.compute()
    assert list(means) == ["LeRF", "MoRF", "ABPC"]
    assert means["ABPC"].item() == pytest.approx(means["LeRF"].item() - means["MoRF"].item())
    assert means["ABPC"].item() == pytest.approx(0.1 / 3)
    assert (metric.n_skipped, metric.n_constant) == (1, 1)


def test_mean_curves():
    lerf, morf = updated().curves()
    torch.testing.assert_close(lerf, torch.tensor([2.0, 1.5, 0.6]) / 3)
    torch.testing.assert_close(morf, torch.tensor([2.0, 1.2, 0.6]) / 3)


def test_curves_after_another_update_and_a_reset():
    metric = updated()
    before = metric.curves()[0]
    metric.update(LERF[:1], MORF[:1])
    assert not metric.curves()[0].equal(before)
    metric.reset()
    metric.update(LERF[:1], MORF[:1])
    torch.testing.assert_close(metric.curves()[0], LERF[0])
    assert (metric.n_skipped, metric.n_constant) == (0, 0)


def test_curves_of_another_length():
    with pytest.raises(ValueError, match=r"expected both \[B, 11\]: pass steps=number of fractions to ABPC"):
        ABPC().update(LERF, MORF)
