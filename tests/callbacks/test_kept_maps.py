"""What a test keeps for the report is what the model and the methods gave."""

import json

import pytest
import torch
from torch.nn import functional as F

from salvit.callbacks.explanation_scores import ExplanationScores
from salvit.callbacks.kept_maps import KeptMaps
from salvit.extractors import AGCAM, InputGradient, Rollout
from salvit.extractors.recording import read_attention
from salvit.metrics import CC
from salvit.modules import ExplanationModule, SaliencyModule
from salvit.results.kept import from_text
from salvit.vit import normalize
from tests.attention_file import read_attention_text
from tests.tiny import tiny_popout


def kept(folder, name="maps.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def unit(saliency):
    return (saliency / saliency.abs().max()).detach().numpy()


def test_a_saliency_test_keeps_predictions_densities_and_attention(vit_file, make_trainer, tmp_path):
    module = SaliencyModule(vit=vit_file())
    data = tiny_popout()
    make_trainer(callbacks=[KeptMaps()]).test(module, data, verbose=False)
    maps = kept(tmp_path)
    assert (maps["of"], maps["grid"], len(maps["images"])) == (5, [4, 4], 5)
    for sample, one in zip(data.dataset("test"), maps["images"], strict=True):
        assert one["name"] == sample["name"]
        with torch.no_grad():
            prediction = F.adaptive_avg_pool2d(module(sample["image"][None]), (4, 4))[0]
        density = F.adaptive_avg_pool2d(sample["density"][None], (4, 4))[0]
        assert from_text(one["maps"][module.model_name], (4, 4)) == pytest.approx(unit(prediction), abs=2e-3)
        assert from_text(one["maps"]["people"], (4, 4)) == pytest.approx(unit(density), abs=2e-3)
    explored = kept(tmp_path, "attention.json")
    assert [one["name"] for one in explored["images"]] == [maps["images"][i]["name"] for i in (0, 1, 2, 3)]
    assert [explored[key] for key in ("blocks", "heads", "prefix", "class_token", "side")] == [
        2,
        3,
        1,
        True,
        1,
    ]
    image = normalize(module.vit, data.dataset("test")[1]["image"][None])
    expected = torch.cat(read_attention(module.vit, image, [0, 1])).numpy()
    assert read_attention_text(explored["images"][1], (2, 3, 17)) == pytest.approx(expected, abs=2e-3)
    names = ["mean of the maps", "map 0", "map 1", "map 2"]
    assert list(explored["images"][1]["maps"]) == names
    extracted = module.extract(data.dataset("test")[1]["image"][None])[0]
    assert from_text(explored["images"][1]["maps"]["map 2"], (4, 4)) == pytest.approx(
        unit(extracted[2]), abs=2e-3
    )


def test_an_explanation_test_keeps_the_map_of_every_method_on_the_patch_grid(
    vit_file, make_trainer, tmp_path
):
    module = ExplanationModule(vit=vit_file(), extractors=[AGCAM(), InputGradient()], scores=[CC()])
    data = tiny_popout()
    make_trainer(callbacks=[ExplanationScores(), KeptMaps()]).test(module, data, verbose=False)
    sample = data.dataset("test")[2]
    maps = kept(tmp_path)["images"][2]["maps"]
    assert list(maps) == ["agcam", "input_gradient", "people"]
    image = normalize(module.vit, sample["image"][None])
    for name, method in module.methods.items():
        found = F.adaptive_avg_pool2d(method(module.vit, image, int(sample["label"])).mean(1), (4, 4))[0]
        assert from_text(maps[name], (4, 4)) == pytest.approx(unit(found), abs=2e-3)


def test_a_run_that_goes_on_from_kept_results_computes_no_map_again(
    vit_file, make_trainer, tmp_path, monkeypatch
):
    options = {"vit": vit_file(), "scores": [CC()], "results": tmp_path / "results"}
    for folder in ("first", "second"):
        trainer = make_trainer(default_root_dir=tmp_path / folder, callbacks=[KeptMaps()])
        trainer.test(ExplanationModule(extractors=["rollout"], **options), tiny_popout(), verbose=False)
        monkeypatch.setattr(Rollout, "_maps", None)  # a second call would fail
    assert kept(tmp_path / "first") == kept(tmp_path / "second")


@pytest.mark.parametrize("images", [0, 2])
def test_no_more_images_than_asked_are_kept(vit_file, make_trainer, tmp_path, images):
    module = SaliencyModule(vit=vit_file())
    make_trainer(callbacks=[KeptMaps(images)]).test(module, tiny_popout(), verbose=False)
    if not images:
        assert not list(tmp_path.glob("*.json"))
        return
    assert len(kept(tmp_path)["images"]) == 2
    assert {one["name"] for one in kept(tmp_path, "attention.json")["images"]} <= {
        one["name"] for one in kept(tmp_path)["images"]
    }


def test_a_model_without_attention_maps_keeps_its_maps_only(make_trainer, tmp_path, monkeypatch, vit_file):
    monkeypatch.setattr("salvit.callbacks.kept_maps.attention_of", lambda vit, image: None)
    make_trainer(callbacks=[KeptMaps()]).test(SaliencyModule(vit=vit_file()), tiny_popout(), verbose=False)
    assert (tmp_path / "maps.json").is_file()
    assert not (tmp_path / "attention.json").exists()
