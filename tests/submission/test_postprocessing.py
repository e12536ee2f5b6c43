"""The post-processing against its formula, and its fit against trying everything by hand."""

import json
from datetime import timedelta

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from scipy.ndimage import gaussian_filter

from datamodules import MIT300DataModule, SaliconDataModule
from salvit.callbacks.postprocessing import FitPostProcessing
from salvit.callbacks.submission import SubmissionWriter
from salvit.metrics import at_native_size
from salvit.metrics.functional import cc, information_gain, kld
from salvit.modules import SaliencyModule
from salvit.submission.postprocessing import FLOOR, PostProcessing, read_fit
from tests.datamodules.data.mit import make_mit300
from tests.datamodules.data.salicon import make_salicon, stem, write_gaze


def test_formula():
    saliency = np.random.default_rng(0).random((24, 40))
    blurred = gaussian_filter(saliency, 0.05 * 40) ** 2
    y, x = np.mgrid[:24, :40] + 0.5
    center = np.exp(-((x / 40 - 0.5) ** 2 + (y / 24 - 0.5) ** 2) / (2 * 0.3**2))
    expected = 0.7 * blurred / blurred.sum() + 0.3 * center / center.sum()
    expected = (1 - 1e-4) * expected + 1e-4 / expected.size
    found = PostProcessing(blur=0.05, power=2, center_weight=0.3, center_sigma=0.3)(torch.tensor(saliency))
    assert np.allclose(found.numpy(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("saliency", [torch.zeros(5, 7), torch.full((5, 7), 3.0)])
@pytest.mark.parametrize("options", [{}, {"blur": 0.1, "power": 0.5}])
def test_a_constant_map_is_uniform(saliency, options):
    assert torch.allclose(PostProcessing(**options)(saliency), torch.tensor(1 / 35).double(), atol=1e-12)


def test_an_equalised_map_is_the_share_of_pixels_below_each_value():
    saliency = torch.tensor([[5.0, 1.0, 1.0], [9.0, 2.0, 3.0]])
    # Ranks 1 … 6 of six pixels, the two ones sharing 1 and 2, less one half.
    shares = torch.tensor([[4.5, 1.0, 1.0], [5.5, 2.5, 3.5]], dtype=torch.float64) ** 2
    expected = (1 - FLOOR) * shares / shares.sum() + FLOOR / 6
    found = PostProcessing(equalize=True, power=2)(saliency)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(PostProcessing(equalize=True, power=2)(saliency.exp()), found)


def test_scale_does_not_matter_negatives_are_shifted_and_values_out_of_range_refused():
    saliency = torch.rand(6, 8, dtype=torch.float64)
    saliency[0, 0] = 0
    process = PostProcessing(power=2)
    assert torch.allclose(process(saliency), process(1e-30 * saliency))
    assert torch.allclose(process(saliency - 5), process(saliency))
    with pytest.raises(ValueError, match="NaN"):
        process(torch.full((2, 2), torch.nan))
    bad = [("blur", -0.1), ("blur", 1), ("power", 0), ("center_weight", 1.1), ("center_sigma", 0)]
    for option, value in bad:
        with pytest.raises(ValueError, match="expected blur in"):
            PostProcessing(**{option: value})


@pytest.fixture
def data(tmp_path):
    """Three labelled images; at the second nobody looked."""
    root = make_salicon(tmp_path / "salicon", train=2, val=3)
    write_gaze(root / f"fixations/val/{stem('val', 2)}.mat", [])
    return SaliconDataModule(root, image_size=32, batch_size=1, num_workers=0)


@pytest.fixture
def module(vit_file):
    torch.manual_seed(0)
    return SaliencyModule(vit=vit_file())


FEW = {"blur": (0.0, 0.1), "equalize": (False, True), "power": (1.0, 3.0), "center_weight": (0.0, 0.5)}


def by_hand(module, data, score, process):
    """Mean over the images that somebody looked at."""
    found = []
    for batch in data.val_dataloader():
        density, fixations = batch["density"][0][None], batch["fixations"]
        if not len(fixations[0]):
            continue
        with torch.inference_mode():
            [saliency] = at_native_size(module.eval()(batch["image"]), batch["size"])
        function = {"IG": information_gain, "CC": cc, "KLD": kld}[score]
        found.append(float(function(process(saliency)[None], fixations if score == "IG" else density)))
    return float(np.mean(found))


@pytest.mark.parametrize(("score", "best"), [("IG", max), ("CC", max), ("KLD", min)])
def test_the_best_is_chosen(data, module, make_trainer, tmp_path, score, best):
    callback = FitPostProcessing(str(tmp_path / "fit.json"), score=score, **FEW)
    make_trainer(callbacks=[callback]).validate(module, data, verbose=False)
    process, record = read_fit(tmp_path / "fit.json")
    scores = [by_hand(module, data, score, one) for one in callback.tried]
    assert record["after"] == pytest.approx(best(scores), abs=1e-6)
    assert record["before"] == pytest.approx(scores[0], abs=1e-6)
    assert process.options() == record["parameters"] == callback.tried[scores.index(best(scores))].options()
    assert [tried[score] for tried in record["tried"]] == pytest.approx(scores, abs=1e-6)
    assert len(record["tried"]) == 17
    assert (record["images"], record["skipped"]) == (2, 1)
    assert record["fitted_on"] == "Salicon layout 2017, val split, 3 images"


def test_two_processes_fit_the_same(data, module, make_trainer, tmp_path):
    fork = DDPStrategy(process_group_backend="gloo", start_method="fork", timeout=timedelta(seconds=60))
    records = []
    for name, options in (("one", {}), ("two", {"devices": 2, "strategy": fork})):
        callbacks = [FitPostProcessing(str(tmp_path / name), **FEW)]
        make_trainer(callbacks=callbacks, **options).validate(module, data, verbose=False)
        records.append(json.loads((tmp_path / name).read_text()))
    one, two = records
    assert two["parameters"] == one["parameters"]
    assert (two["images"], two["skipped"]) == (2, 1)
    assert two["after"] == pytest.approx(one["after"], abs=1e-6)


def test_the_submission_uses_it(data, module, make_trainer, tmp_path):
    pytest.importorskip("h5py")
    fit = {"parameters": {"blur": 0.1, "power": 2.0, "center_weight": 0.5, "center_sigma": 0.2}, "after": 1.5}
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    images = MIT300DataModule(make_mit300(tmp_path / "mit300"), image_size=32, batch_size=2, num_workers=0)
    writer = SubmissionWriter(str(tmp_path / "s"), postprocessing=str(tmp_path / "fit.json"))
    predictions = make_trainer(callbacks=[writer]).predict(module, images)
    expected = PostProcessing(**fit["parameters"])(predictions[0][0])
    assert np.allclose(np.load(tmp_path / "s/densities/i1.npy"), expected, rtol=1e-6, atol=0)
    record = json.loads((tmp_path / "s/submission.json").read_text())
    assert record["postprocessing"] == {**fit["parameters"], "equalize": False}
    assert record["fit"] == fit


def test_wrong_options(tmp_path):
    with pytest.raises(ValueError, match="score is 'sAUC'"):
        FitPostProcessing("fit.json", score="sAUC")
    with pytest.raises(ValueError, match="nothing to try"):
        FitPostProcessing("fit.json", blur=())
    for content in ("", "{}", '{"parameters": {"blurr": 1}}', '{"parameters": {"blur": -1}}'):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(ValueError, match=r"a\.json holds no post-processing"):
            read_fit(tmp_path / "a.json")
