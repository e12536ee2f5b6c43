"""The module against its parts: every score computed by hand, image by image."""

from datetime import timedelta
from functools import partial

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from PIL import Image
from torch.nn import functional as F

from datamodules import ImageFolderDataModule, SaliconDataModule, VOC2012DataModule
from salvit.callbacks.explanation_pictures import ExplanationPictures
from salvit.callbacks.explanation_scores import ExplanationScores
from salvit.extractors import AGCAM, RISE, CenterPrior, RawAttention, Rollout
from salvit.metrics import (
    ABPC,
    CC,
    NSS,
    SMM,
    BoxLocalization,
    EnergyPointing,
    ShuffledAUC,
    functional,
)
from salvit.metrics.functional import bootstrap_interval
from salvit.metrics.functional.localization import box_masks
from salvit.modules import ExplanationModule
from salvit.results import source
from salvit.vit import normalize
from tests.datamodules.data.images import write_image
from tests.datamodules.data.salicon import make_salicon, stem, write_gaze
from tests.datamodules.data.voc import make_voc
from tests.tiny import tiny_popout

EXTRACTORS = [AGCAM(), RawAttention(block=0, per_head=True), Rollout()]
NAMES = ["agcam", "raw_attention:block=0,per_head=true", "rollout"]


@pytest.fixture
def make_module(vit_file):
    def make(extractors=EXTRACTORS, vit_seed=0, **options):
        return ExplanationModule(vit=vit_file(vit_seed), extractors=extractors, **options)

    return make


@pytest.fixture
def run(make_trainer):
    def test(module, data, callbacks=(), **options):
        make_trainer(callbacks=list(callbacks), **options).test(module, datamodule=data, verbose=False)
        return module

    return test


def per_image(module, method, key):
    for metric in module.metrics[method]:
        scores = metric.by_column()
        if key in scores:
            return scores[key]
    raise KeyError(key)


def test_every_score_is_that_of_its_functional_image_by_image(make_module, run):
    data = tiny_popout(test_size=7)
    module = run(make_module(), data)
    dataset = data.dataset("test")
    pool = data.fixation_counts("test", (32, 32))
    assert list(module.methods) == NAMES
    for name, extractor in zip(NAMES, EXTRACTORS, strict=True):
        for index in range(7):
            sample = dataset[index]
            image, label = normalize(module.vit, sample["image"][None]), sample["label"]
            heatmap = extractor(module.vit, image, label).mean(1)
            native = F.interpolate(heatmap[:, None], (32, 32), mode="bilinear", align_corners=False)[:, 0]
            lerf, morf = functional.perturbation_curves(module.vit, image, heatmap, label)
            right = bool(module.vit(image).argmax() == label)
            boxes = functional.box_localization(heatmap, [sample["boxes"]], (32, 32))
            expected = {
                "CC": functional.cc(native, sample["density"][None]),
                "NSS": functional.nss(native, [sample["fixations"]]),
                "sAUC": functional.shuffled_auc(native, [sample["fixations"]], pool),
                "ABPC": lerf.mean(1) - morf.mean(1),
                "iou": boxes["iou"] if right else torch.tensor([torch.nan]),
                "recall": boxes["recall"] if right else torch.tensor([torch.nan]),
                "energy": functional.energy_pointing(heatmap, box_masks([sample["boxes"]], (32, 32)))
                if right
                else torch.tensor([torch.nan]),
                "SMM": functional.smm(heatmap, [sample["mask"]]) if right else torch.tensor([torch.nan]),
            }
            for key, score in expected.items():
                found = per_image(module, name, key)[index]
                # In float32 the batch decides which of almost equal pixels goes first.
                options = {"rtol": 1e-3, "atol": 1e-3, "equal_nan": True, "msg": f"{name} {key} {index}"}
                torch.testing.assert_close(found, score[0].float(), **options)


def test_the_label_is_explained_or_the_predicted_class(make_module, run):
    data = tiny_popout(test_size=6)
    labels = run(make_module([AGCAM()], scores=[ABPC()]), data)
    said = run(make_module([AGCAM()], scores=[ABPC()], target="predicted"), data)
    images = normalize(labels.vit, torch.stack([data.dataset("test")[i]["image"] for i in range(6)]))
    predicted = labels.vit(images).argmax(-1)
    right = torch.tensor([data.dataset("test")[i]["label"] for i in range(6)]) == predicted
    assert not right.all()
    same = per_image(labels, "agcam", "LeRF") == per_image(said, "agcam", "LeRF")
    assert (same == right).all()


class Interrupt(Callback):
    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        if batch_idx == 1:
            raise KeyboardInterrupt


def count_extractions(module):
    counts = dict.fromkeys(module.methods, 0)
    heatmaps = module.heatmaps

    def counting(method, images, target):
        counts[method] += len(images)
        return heatmaps(method, images, target)

    module.heatmaps = counting
    return counts


def test_an_interrupt_keeps_results_and_a_rerun_computes_what_is_missing(
    make_module, run, tmp_path, capfd, caplog
):
    options = {"results": tmp_path / "results"}
    whole = run(make_module(), tiny_popout(test_size=9, batch_size=3))
    callbacks = [ExplanationScores(), Interrupt()]
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(make_module(**options), tiny_popout(test_size=9, batch_size=3), callbacks)
    assert "the results of 6 images are kept" in caplog.text + capfd.readouterr().err
    again = make_module(**options)
    counts = count_extractions(again)
    run(again, tiny_popout(test_size=9, batch_size=4))  # the other batches cut across those that are done
    assert counts == dict.fromkeys(NAMES, 3)
    for method in NAMES:
        for key in ("CC", "sAUC", "iou", "MaxBoxAccV2", "LeRF", "MoRF"):
            found, expected = per_image(again, method, key), per_image(whole, method, key)
            torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-3, atol=1e-3)
    assert again.about == whole.about
    assert again.images == whole.images


@pytest.mark.parametrize(
    "change", ["", "vit", "scores", "data", "target", "extractor", "normalisation", "code", "package"]
)
def test_cached_results_are_taken_unless_what_they_depend_on_has_changed(
    make_module, run, tmp_path, monkeypatch, change
):
    class Mine(Rollout):
        pass

    options = {"results": tmp_path, "scores": [EnergyPointing()]}
    run(make_module([Mine()], **options), tiny_popout(test_size=3))
    if change == "code":
        monkeypatch.setattr(source, "_source", lambda kind: b"as it is after an edit")
    if change == "package":
        monkeypatch.setattr("salvit.modules.explanation.package_hash", lambda: "another")
    others = {"vit": {"vit_seed": 1}, "scores": {"scores": [SMM()]}, "target": {"target": "predicted"}}
    extractors = [Mine(1 if change == "extractor" else 0), CenterPrior()]
    module = make_module(extractors, **{**options, **others.get(change, {})})
    if change == "normalisation":
        module.vit.pretrained_cfg["mean"] = [0.4, 0.4, 0.4]
    counts = count_extractions(module)
    run(module, tiny_popout(test_size=3, seed=1 if change == "data" else 0))
    assert list(counts.values()) == [3 if change else 0, 3]


def test_fixations_alone_and_images_without_them(make_module, run, tmp_path, capsys):
    root = make_salicon(tmp_path / "salicon", train=2, val=4)
    write_gaze(root / f"fixations/val/{stem('val', 3)}.mat", [])
    Image.new("L", (64, 48)).save(root / f"maps/val/{stem('val', 4)}.png")
    data = SaliconDataModule(root, image_size=32, batch_size=3, num_workers=0)
    module = run(make_module(), data, [ExplanationScores()], default_root_dir=tmp_path)
    assert {type(score) for score in module.active_scores} == {CC, NSS, ShuffledAUC, ABPC}
    assert all(image["correct"] for image in module.about["rollout"])
    for name in NAMES:
        for key in ("CC", "NSS", "sAUC"):
            assert per_image(module, name, key).isnan().tolist() == [False, False, True, True]
        assert not per_image(module, name, "ABPC").isnan().any()
    said = "agreement with people: 2 of 4 images without fixations left out"
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "scores.md").read_text()


def test_tables_reach_wandb_as_numbers(make_module, make_trainer, tmp_path, monkeypatch):
    logged = {}
    monkeypatch.setattr(
        WandbLogger, "log_table", lambda self, key, dataframe=None, **_: logged.update({key: dataframe})
    )
    module = make_module([Rollout(), CenterPrior()], scores=[CC(), EnergyPointing()])
    trainer = make_trainer(callbacks=[ExplanationScores()], logger=WandbLogger(save_dir=tmp_path))
    trainer.test(module, tiny_popout(test_size=3), verbose=False)
    assert list(logged) == [
        "test/all groups",
        "test/agreement with people (profile exact)",
        "test/localisation, any threshold",
        "test/scores",
    ]
    table = logged["test/all groups"].set_index("method")
    assert list(table.index) == ["rollout", "center_prior"]
    expected = float(per_image(module, "rollout", "CC").mean())
    assert table.at["rollout", "CC"] == pytest.approx(expected, abs=1e-6)


def test_voc_images_of_one_class_and_of_several(make_module, run, tmp_path, vit_file):
    root = make_voc(tmp_path / "voc")
    module = ExplanationModule(vit=vit_file(num_classes=20), extractors=[AGCAM()])
    pictures = ExplanationPictures(count=3)
    data = VOC2012DataModule(root, classes="all", image_size=32, batch_size=2, num_workers=0)
    run(module, data, [pictures, ExplanationScores()], default_root_dir=tmp_path)
    assert {type(score).__name__ for score in module.active_scores} >= {"BoxLocalization", "ABPC"}
    # One image has a person and a dog: a row each.
    assert [row[0].note for row in pictures._classes] == ["dog (11)", "person (14)"]
    assert (tmp_path / "pictures/classes.png").is_file()
    assert "agcam, published | 0.752" in (tmp_path / "scores.md").read_text()


def test_nothing_to_score_is_an_error(make_module, run, tmp_path, monkeypatch):
    write_image(tmp_path / "a.jpg", (32, 32), 0)
    with pytest.raises(ValueError, match="ImageFolder"):
        run(make_module(), ImageFolderDataModule(tmp_path, image_size=32))
    monkeypatch.setattr(EnergyPointing, "keys", ("depth",))
    with pytest.raises(ValueError, match="nothing to score"):
        run(make_module(scores=[EnergyPointing()]), tiny_popout(test_size=2))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "second"}, "target"),
        ({"extractors": [AGCAM(), "agcam"]}, "different methods"),
        ({"extractors": []}, "different methods"),
    ],
)
def test_options_that_make_no_sense(make_module, options, said):
    with pytest.raises(ValueError, match=said):
        make_module(**options)


def test_methods_that_the_model_does_not_support_are_left_out_and_counted_once(vit_file, caplog):
    headless = vit_file(num_classes=0)
    every = ExplanationModule(vit=headless).methods.keys()
    assert ("rollout" in every, "agcam" in every, "relevance_lrp" in every) == (True, False, False)
    caplog.clear()
    with caplog.at_level("INFO"):
        module = ExplanationModule(vit=headless, extractors=[AGCAM(), "rollout:start_layer=1", "legrad"])
    assert list(module.methods) == ["rollout:start_layer=1"]
    assert [line for line in caplog.messages if "left out" in line] == [
        "left out 2 of 3 methods, agcam and legrad: the method explains a class, and the model has no classifier head: "
        "load weights that have one"
    ]
    with pytest.raises(ValueError, match=r"left out 1 of 1 methods, agcam: .* no classifier head"):
        ExplanationModule(vit=headless, extractors=[AGCAM()])


def test_heatmaps_that_say_nothing_are_counted(make_module, run, tmp_path, capsys):
    module = make_module([Rollout(), RawAttention()])
    module.heatmaps = lambda method, images, target: torch.full(
        (len(images), 4, 4), 1.0 if method == "rollout" else torch.nan
    )
    run(module, tiny_popout(test_size=3), [ExplanationScores()], default_root_dir=tmp_path)
    printed = capsys.readouterr().out
    assert "heatmaps that are constant: rollout 3" in printed
    assert "heatmaps that are not finite: raw_attention 3" in printed
    assert per_image(module, "rollout", "ABPC").tolist() == [0, 0, 0]
    assert per_image(module, "raw_attention", "ABPC").isnan().all()


def test_files_of_a_run(make_module, run, tmp_path, capsys):
    module = make_module([AGCAM(), Rollout(), RISE(masks=4)])
    callbacks = [ExplanationScores(), ExplanationPictures(count=2, columns=3)]
    run(module, tiny_popout(test_size=5), callbacks, default_root_dir=tmp_path)
    assert {"test/rollout/iou", "test/rollout/ABPC"} <= module.trainer.callback_metrics.keys()
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    tables = {"scores.md", "scores.csv", "per_image.csv", "differences.csv", "curves.csv"}
    assert names >= {*tables, "curves.png", "pictures/methods.png"}
    rows, images, pairs = (
        pd.read_csv(tmp_path / f"{name}.csv") for name in ("scores", "per_image", "differences")
    )
    assert set(rows["method"]) == {"agcam", "rollout", "rise:masks=4"}
    found = rows.set_index(["method", "score"]).loc[("agcam", "CC")]
    scores = per_image(module, "agcam", "CC")
    assert found["mean"] == pytest.approx(scores.mean().item(), abs=1e-5)
    assert found["low"] <= scores.mean() <= found["high"]
    assert len(images) == 15
    assert images["CC"][:5].tolist() == pytest.approx(scores.tolist(), abs=1e-6)
    assert (images["iou"].isna() == ~images["correct"]).all()
    pair = pairs.set_index(["score", "method", "other"]).loc[("CC", "agcam", "rollout")]
    difference = scores - per_image(module, "rollout", "CC")
    assert pair["difference"] == pytest.approx(difference.mean().item(), abs=1e-5)
    assert [pair["low"], pair["high"]] == pytest.approx(bootstrap_interval(difference), abs=0.1)
    assert pair["low"] < pair["difference"] < pair["high"]
    assert pair["images"] == 5
    assert set(pairs[pairs["score"] == "iou"]["images"]) == {images["correct"][:5].sum()}
    text = (tmp_path / "scores.md").read_text()
    assert "PopOut, test split, 5 images" in text
    assert "misclassified ones are left out" in text
    picture = Image.open(tmp_path / "pictures/methods.png")
    assert 3 * 200 < picture.width < 4 * 200
    assert picture.height > 4 * 150  # an image and three methods take two rows
    assert "agcam" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("images", "processes"),
    [(3, 2), pytest.param(1, 2, marks=pytest.mark.slow), pytest.param(5, 3, marks=pytest.mark.slow)],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_processes_change_nothing(make_module, run, tmp_path, images, processes):
    def lines(count):
        fork = DDPStrategy(process_group_backend="gloo", start_method="fork", timeout=timedelta(seconds=60))
        options = {"devices": count, "strategy": fork} if count > 1 else {}
        folder = tmp_path / str(count)
        module = make_module([Rollout(), AGCAM()], results=folder / "results")
        logger = CSVLogger(folder, name="run", version="")
        # One in a batch: a network rounds differently in batches of different sizes.
        data = tiny_popout(test_size=images, batch_size=1)
        run(module, data, [ExplanationScores(), ExplanationPictures(count=1)], logger=logger, **options)
        assert len(list((folder / "results").rglob("rank*.jsonl"))) == 2 * min(count, images)
        files = [folder / "run" / name for name in ("scores.csv", "per_image.csv")]
        return [sorted(path.read_text().splitlines()) for path in files]

    one = lines(1)
    assert lines(processes) == one
    assert len(one[1]) == 1 + 2 * images


def test_what_the_run_was_is_said_and_images_that_were_changed_are_computed_anew(
    make_module, run, tmp_path, vit_file
):
    root = make_voc(tmp_path / "voc")
    options = {"vit": vit_file(num_classes=20), "pretrained": False, "results": tmp_path / "results"}
    data = partial(VOC2012DataModule, root, resize="crop", image_size=32, batch_size=3, num_workers=0)

    def computed():
        torch.manual_seed(0)  # of the random weights
        module = ExplanationModule(extractors=[Rollout()], scores=[BoxLocalization()], **options)
        counted = count_extractions(module)
        run(module, data(), [ExplanationScores()], default_root_dir=tmp_path)
        return counted["rollout"]

    assert (computed(), computed()) == (3, 0)
    text = (tmp_path / "scores.md").read_text()
    assert "VOC2012, val split, 3 images; resize=crop; 1 images left out by classes=single" in text
    assert "with random weights at 32×32" in text
    assert "batch_size" not in text
    assert str(root) not in text
    write_image(root / "VOCdevkit/VOC2012/JPEGImages/2007_000001.jpg", (40, 60), 1)
    assert computed() == 3
    with pytest.raises(ValueError, match=r"10 classes and VOC2012DataModule has 20.*_head\.yaml"):
        run(make_module(), data())
