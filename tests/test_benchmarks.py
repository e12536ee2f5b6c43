"""The benchmarks run, on models too small to say anything."""

import re
import time
from functools import partial

import numpy as np
import pytest
import torch

import salvit
from benchmarks import decomposition, explanation, extractors, precision, salient_study, stability
from benchmarks.memory import peak_mib
from benchmarks.timing import ratios
from salvit.extractors import METHODS, SalientAttention

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
    assert measured == set(METHODS) - {"random", "center_prior", "rise", "scorecam", "xrai"}
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
    table = explanation.table(MODEL, "vit_small_patch16_224", size=32, batch=1, rounds=1, device="cpu")
    assert "20 bare forward passes" in table
    assert "ROAD's fill of vit_small_patch16_224" in table


@pytest.mark.slow
def test_peak_memory_grows_with_the_batch():
    small, large = (peak_mib(MODEL, 224, batch, "cpu", "relevance_lrp") for batch in (2, 16))
    assert large > 3 * small > 0


def test_stability_compares_a_fit_with_others(monkeypatch):
    monkeypatch.setattr(stability, "_TIGHT", {"tol": 1e-3, "max_iter": 5})
    monkeypatch.setattr(stability, "_CHANGES", {"nothing": {}, "seed=1": {"seed": 1}, "float64": {}})
    table = stability.table(salvit.load_vit("salvit_tiny"), precision.displays(3), ranks=[9])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    assert [row[0] for row in rows[:3]] == ["nothing", "seed=1", "float64"]
    assert [row[0] for row in rows[6:]] == list(salient_study.READINGS)
    shared = [float(row[1]) for row in rows[6:]]
    assert 0 < min(shared) < 1  # another seed, other positions
    assert rows[0][1:] == ["1.00", "1.000 (1.000)", "1.000 (1.000)"]
    assert table.startswith("k = 9: the heaviest mode weighs 0.")


@pytest.mark.filterwarnings("error::UserWarning")
def test_decompositions_are_measured_beside_tensorly(monkeypatch):
    monkeypatch.setattr(decomposition, "SWEEPS", 2)
    monkeypatch.setattr(decomposition, "attention", lambda size, images: torch.rand(images, 2, 12, 3, 4))
    rows = [
        line.split("|")[1:-1]
        for line in decomposition.table(1, images=1, rank=3, largest=5).splitlines()
        if line
    ]
    assert [row[0].strip() for row in rows] == ["fit", "---", "free", "non-negative", "rank", "---", "3", "5"]
    for row in rows[2:4]:
        ours, theirs = map(float, row[3:])
        assert 0 < ours < 1.2 * theirs < 1


def test_attention_to_enlarged_displays():
    attention = decomposition.attention((48, 64), images=2)
    assert attention.shape == (2, 6, 48, 6, 8)
    assert (attention.flatten(3).sum(dim=3) <= 1 + 1e-5).all()


PLAN = salient_study.Plan(ks=[4, 32], all_ks=[2], seeds=2, train=6, growth=[4])


def test_a_study_compares_readings_with_raw_attention_of_the_same_blocks():
    groups = list(PLAN.groups("vit"))
    assert [(blocks, k) for blocks, k, _ in groups] == [("last", 32), ("last", 4), ("all", 2), ("last", 32)]
    readings = [{row.reading for row in rows} for _, _, rows in groups]
    baselines = {salient_study.RAW, salient_study.RECEIVED}
    assert readings[0] == {*salient_study.READINGS, salient_study.TOGETHER} | baselines
    assert baselines <= readings[2]  # of all blocks
    assert {row.train for row in groups[3][2]} == {4}
    rows = [row for _, _, rows in groups for row in rows]
    assert len(rows) == len(set(rows))


def fake_images(vit, train, val):
    generator = torch.Generator().manual_seed(0)
    total = train + val
    pixels = torch.rand(total, 3, 32, 48, generator=generator)
    density = torch.rand(total, 20, 30, generator=generator)
    fixations = [torch.tensor([[index % 30.0, 3.0], [7.0, index % 20.0]]) for index in range(total)]
    return salient_study.Images(pixels, salient_study.Truth(density, fixations), train)


def test_a_study_goes_on_where_it_stopped(tmp_path, monkeypatch):
    vit = salvit.load_vit("salvit_tiny")
    images = fake_images(vit, 6, 3)
    monkeypatch.setattr(
        salient_study,
        "READINGS",
        {"locations": {}, "distinct, merged per head": salient_study.READINGS["distinct, merged per head"]},
    )
    monkeypatch.setattr(salient_study, "_WIDE", "locations")
    monkeypatch.setattr(salient_study, "_GROWING", ("locations",))
    plan = PLAN._replace(ks=[4], seeds=1)
    salient_study.study(vit, "tiny", images, plan, epochs=1, out=tmp_path)
    scores = salient_study.read_scores(tmp_path)
    assert set(scores) == {row for _, _, rows in plan.groups("tiny") for row in rows}
    # A row that is there is kept as it is, one that is not is computed, as it was.
    kept, missing, *others = scores
    salient_study.write_scores(tmp_path, {kept: (9.0, 9.0, 9.0)} | {row: scores[row] for row in others})
    salient_study.study(vit, "tiny", images, plan, epochs=1, out=tmp_path)
    again = salient_study.read_scores(tmp_path)
    assert again[kept] == (9, 9, 9)
    assert again[missing] == pytest.approx(scores[missing], abs=1e-4)
    page = (tmp_path / "study.md").read_text()
    assert "## tiny, all blocks, 6 training images" in page
    assert "| NSS | 4 | 6 |" in page
    assert (tmp_path / "study.png").stat().st_size > 1000


def test_a_study_without_data_names_the_folder_that_it_needs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["study", "--root", str(tmp_path / "none"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        salient_study.main()
    message = capsys.readouterr().err
    assert message.startswith(f"salvit: error: OSIE: cannot find {tmp_path / 'none'}")
    assert "fixations.mat" in message


def test_a_studys_maps_are_those_of_the_extractor():
    vit = salvit.load_vit("salvit_tiny")
    images = fake_images(vit, 2, 1)
    rows = [
        salient_study.Row("tiny", "all", name, 5, 1, 0)
        for name in ("distinct, by value", salient_study.TOGETHER)
    ]
    maps = salient_study.all_maps(vit, images, "all", 5, rows)
    chosen = images.pixels[[0, 2]]  # as many training images as a row needs, and all others
    by_value = SalientAttention(k=5, block="all", select="distinct", order="value")(vit, chosen)
    torch.testing.assert_close(maps["distinct, by value"], by_value.half())
    assert maps[salient_study.TOGETHER].shape == (2, 72, 4, 6)


def test_the_figure_has_a_panel_for_each_backbone_and_its_blocks_and_names_every_reading_once():
    row = salient_study.Row("vit", "last", "locations", 4, 6, 2)
    drawn = [row, row._replace(k=32), row._replace(blocks="all"), row._replace(backbone="deit")]
    raw = row._replace(reading=salient_study.RAW, k=0)
    nss = {row: 1.0, drawn[1]: 1.5, drawn[2]: 2.0, drawn[3]: 2.5, raw: 3.0, row._replace(train=4): 9.0}
    figure = salient_study.draw({key: [(0.5, 0.1), (value, 0.2)] for key, value in nss.items()}, PLAN)
    last, every, deit, empty = figure.axes
    assert [axis.get_title() for axis in (last, every, deit)] == [
        "vit, last block",
        "vit, all blocks",
        "deit, last block",
    ]
    assert [line.get_xydata().tolist() for line in last.lines] == [
        [[4, 1.0], [32, 1.5]],
        [[0, 3.0], [1, 3.0]],
    ]
    (bars,) = last.collections
    np.testing.assert_allclose(bars.get_segments(), [[[4, 0.8], [4, 1.2]], [[32, 1.3], [32, 1.7]]])
    assert [line.get_xydata().tolist() for line in (*every.lines, *deit.lines)] == [[[4, 2.0]], [[4, 2.5]]]
    assert not empty.lines
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["locations", salient_study.RAW]


def test_seeds_are_summarised():
    row = salient_study.Row("vit", "last", "locations", 8, 40, 0)
    scores = {row: (0.1, 1.0, 0.5), row._replace(seed=1): (0.3, 2.0, 0.5)}
    [(found, summary)] = salient_study.summarised(scores).items()
    assert found == row._replace(seed=2)
    assert summary[1] == pytest.approx((1.5, 0.5**0.5))


def test_one_seed_has_no_deviation(tmp_path):
    row = salient_study.Row("vit", "last", "locations", 4, 6, 0)
    salient_study.write_page(tmp_path, {row: (0.1, 1.0, 0.5)}, PLAN, val=3, epochs=1)
    assert "| locations | 1.000 |" in (tmp_path / "study.md").read_text()
