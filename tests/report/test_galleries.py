import numpy as np
import pytest
from scipy.stats import spearmanr

from salvit.report.agreement import mean_agreement, rank_correlations
from salvit.report.galleries import Gallery, Picture, read_explained, read_galleries
from salvit.report.runs import find_runs
from tests.datamodules.data.images import write_image
from tests.explaining import explain
from tests.report.conftest import keep

RISING, FALLING, MIXED = [[1.0, 2.0], [3.0, 4.0]], [[8.0, 6.0], [4.0, 2.0]], [[1.0, 5.0], [2.0, 2.0]]


def test_models_on_the_same_images_share_a_gallery_under_their_labels(tmp_path, make_test):
    for name, saliency in (("a", RISING), ("b", FALLING)):
        folder = make_test(name, scores=(0.25, 0.75))
        keep(folder, {f"image{i}": {f"tiny · {name}": saliency, "people": MIXED} for i in range(2)})
    [gallery] = read_galleries(find_runs(tmp_path))
    assert gallery.title == "PopOut, test split, 2 images"
    assert gallery.methods == ["tiny · a", "tiny · b", "people"]
    assert gallery.columns["KLD"] == "↓"
    first, second = gallery.pictures
    assert first.maps["tiny · b"].tolist() == [[1, 0.75], [0.5, 0.25]]
    assert second.scores["tiny · a"]["CC"] == 0.75
    assert "people" not in second.scores


def test_an_explanation_run_has_its_own_gallery_with_every_score(tmp_path, make_test, make_explanations):
    keep(make_test("a"), {"image0": {"tiny · a": RISING}})
    methods = {"rollout": [(0.5, 0.2, 0.1)], "agcam": [(0.25, 0.4, 0.3)]}
    keep(make_explanations("b", methods), {"image0": {"rollout": RISING, "agcam": MIXED}})
    _, gallery = read_galleries(find_runs(tmp_path))
    assert gallery.methods == ["rollout", "agcam"]
    assert gallery.pictures[0].scores["agcam"] == {"CC": 0.25, "iou": 0.4, "ABPC": 0.3}


def test_runs_without_maps_have_no_gallery(tmp_path, make_test, make_fit):
    make_test("a")
    make_fit("b")
    assert read_galleries(find_runs(tmp_path)) == []


def test_what_explain_wrote_is_a_gallery(tmp_path, vit_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cat.png", "dog.png"):
        write_image(tmp_path / name, (40, 30))
    explain("cat.png", "dog.png", "--model", vit_file(), "--method", "rollout", "agcam", "--target", "1", "2")
    gallery = read_explained(tmp_path / "runs/explain")
    assert gallery.of == 2
    assert sorted(gallery.methods) == ["agcam, 1", "agcam, 2", "rollout"]
    one = gallery.pictures[0]
    assert max(one.maps["rollout"].shape) == 24
    assert one.photo
    (tmp_path / "cat.png").unlink()
    assert read_explained(tmp_path / "runs/explain").pictures[0].photo == ""


def test_rank_correlations_are_spearmans_image_by_image():
    rng = np.random.default_rng(0)
    maps = [{name: rng.random((4, 5)).astype(np.float32).round(1) for name in "abc"} for _ in range(3)]
    gallery = Gallery("", 3, {}, [Picture(str(i), "", one) for i, one in enumerate(maps)])
    found = rank_correlations(gallery)
    assert len(found) == 9
    for image, row, other, correlation in found.itertuples(index=False):
        one = maps[int(image)]
        assert correlation == pytest.approx(spearmanr(one[row].ravel(), one[other].ravel()).statistic)
    matrix = mean_agreement(found, gallery.methods)
    assert (
        matrix.at["a", "b"]
        == matrix.at["b", "a"]
        == pytest.approx(found[(found["row"] == "a") & (found["other"] == "b")]["correlation"].mean())
    )
    assert [matrix.at[name, name] for name in "abc"] == [1, 1, 1]


def test_a_constant_map_has_no_correlation_and_another_grid_is_brought_to_the_coarsest():
    fine = np.kron(np.array(RISING), np.ones((2, 2))).astype(np.float32)
    maps = {"a": np.array(RISING, dtype=np.float32), "fine": fine, "flat": np.ones((2, 2), dtype=np.float32)}
    found = rank_correlations(Gallery("", 1, {}, [Picture("0", "", maps)])).set_index(["row", "other"])
    assert found.at[("a", "fine"), "correlation"] == pytest.approx(1)
    assert np.isnan(found.at[("a", "flat"), "correlation"])
    assert np.isnan(mean_agreement(found.reset_index(), ["a", "flat"]).at["a", "flat"])
