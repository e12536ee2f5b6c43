import csv
import json

import pandas as pd
import pytest
import yaml

from salvit.report.compare import main, submissions

COLUMNS = {"CC": "↑", "NSS": "↑", "SIM": "↑", "KLD": "↓", "sAUC": "↑", "AUC": "↑"}


@pytest.fixture
def make_test(tmp_path):
    """Makes the files of a test of a saliency model, all of whose scores are one number."""

    def make(row, value, seed=0, version=1, started="2026-01-01T00:00:00", dataset="Salicon", images=2):
        folder = tmp_path / f"{row}/seed{seed}/version_{version}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"started": started}))
        (folder / "config.yaml").write_text("{}")
        about = {"dataset": dataset, "release": None, "split": "val", "images": images}
        tables = [{"profile": "exact", "columns": COLUMNS, "per_image": "per_image.csv"}]
        (folder / "scores.json").write_text(json.dumps({**about, "tables": tables}))
        lines = [
            {"model": model, "image": image, **dict.fromkeys(COLUMNS, base + image)}
            for model, base in (("ours", value - 0.5), ("random", 7))
            for image in (0, 1)
        ]
        pd.DataFrame(lines).to_csv(folder / "per_image.csv", index=False)

    return make


@pytest.fixture
def make_explanations(tmp_path):
    """Makes the files of a test of explanation methods."""

    def make(folder, dataset, **means):
        folder = tmp_path / folder / "version_0"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"started": "2026-01-01T00:00:00"}))
        (folder / "config.yaml").write_text("{}")
        about = {"dataset": dataset, "release": None, "split": "val", "images": 2}
        tables = [{"group": "localisation", "columns": {"iou": "↑"}}]
        (folder / "scores.json").write_text(
            json.dumps({**about, "tables": tables, "settings": ["a ViT at 224×224"]})
        )
        lines = [
            {"method": method, "score": score, "mean": mean}
            for method, scores in means.items()
            for score, mean in scores.items()
        ]
        pd.DataFrame(lines).to_csv(folder / "scores.csv", index=False)

    return make


def written(folder, table):
    with (folder / f"{table}.csv").open() as file:
        lines = {(line["dataset"], line["row"], line["score"]): line for line in csv.DictReader(file)}
    return lines, (folder / f"{table}.md").read_text()


def test_our_rows_beside_the_published_ones(make_test, make_explanations, tmp_path, capsys):
    for seed, value in enumerate((0.4, 0.8)):
        make_test("dino/salient_attention-32", value, seed)
    make_test("supervised/rollout", 0.75)
    make_test("dino/salient_attention-16", 0.5)  # of table 3
    make_test("dino/raw_attention", 0.5, dataset="CAT2000")  # of table 2
    make_explanations("dino/unsupervised_map/seed0", "Salicon", unsupervised_map={"KLD": 1.5, "NSS": 1})
    main(["table1", str(tmp_path)])
    lines, text = written(tmp_path, "table1")
    cell = lines["Salicon", "dino/salient_attention-32", "CC"]
    numbers = {key: float(cell[key]) for key in ("mean", "sd", "seeds", "published", "difference")}
    assert numbers == pytest.approx(
        {"mean": 0.6, "sd": 0.282843, "seeds": 2, "published": 0.86, "difference": -0.26}
    )
    assert lines["Salicon", "supervised/rollout", "CC"]["sd"] == ""
    assert lines["MIT300", "supervised/rollout", "CC"]["mean"] == ""
    assert {row for _, row, _ in lines} >= {"dino/salient_attention-32", "dino/unsupervised_map", "SalGAN"}
    assert not {row for _, row, _ in lines} & {"dino/salient_attention-16"}
    assert not [dataset for dataset, *_ in lines if dataset == "CAT2000"]
    assert "AUC" not in {score for *_, score in lines}
    for line in (
        "| row | SIM ↑ | sAUC ↑ | CC ↑ | NSS ↑ | KLD ↓ |",
        "| supervised/rollout | **0.750** | **0.750** | **0.750** | 0.750 | 0.750 |",
        "| supervised/rollout, published | 0.580 | 0.690 | 0.670 | 1.450 | 0.800 |",
        "| supervised/rollout, difference | 0.170 | 0.060 | 0.080 | -0.700 | -0.050 |",
        "| dino/unsupervised_map, difference | – | – | – | -0.460 | 0.380 |",
    ):
        assert f"\n{line}\n" in text
    assert text.startswith(
        "Salicon, val split, 2 images, profile exact; mean ± standard deviation over 2 seeds"
    )
    assert "\nMIT300, not scored here; published: Djilali" in text
    printed = capsys.readouterr().out
    assert "supervised/rollout" in printed
    assert "MIT300" not in printed


def test_each_table_takes_its_own_rows_from_one_folder(make_test, tmp_path):
    for k in (64, 16):
        make_test(f"salvit_tiny/salient_attention-{k}", 0.5)
    make_test("salvit_tiny/raw_attention", 0.5)
    make_test("dino/raw_attention", 0.6, dataset="CAT2000")
    main(["table3", str(tmp_path)])
    ours = [row for dataset, row, score in written(tmp_path, "table3")[0] if row.startswith("salvit_tiny")]
    assert list(dict.fromkeys(ours)) == [f"salvit_tiny/salient_attention-{k}" for k in (16, 64)]
    main(["table2", str(tmp_path)])
    lines, _ = written(tmp_path, "table2")
    assert float(lines["CAT2000", "dino/raw_attention", "NSS"]["difference"]) == pytest.approx(0.6 - 1.84)


def test_on_other_data_the_published_rows_stand_apart(make_test, tmp_path):
    make_test("dino/raw_attention", 0.5, dataset="OSIE")
    main(["table1", str(tmp_path)])
    lines, text = written(tmp_path, "table1")
    assert lines["OSIE", "dino/raw_attention", "CC"]["published"] == ""
    assert lines["Salicon", "dino/raw_attention", "CC"]["difference"] == ""
    assert text.startswith("OSIE, val split, 2 images, profile exact; published: none for OSIE")


def test_the_newest_test_of_a_row_counts(make_test, tmp_path):
    make_test("dino/raw_attention", 0.1, version=2, started="2026-01-02T00:00:00")
    make_test("dino/raw_attention", 0.9, version=1)
    main(["table1", str(tmp_path)])
    assert float(written(tmp_path, "table1")[0]["Salicon", "dino/raw_attention", "CC"]["mean"]) == 0.1


def test_methods_of_several_datasets(make_explanations, tmp_path):
    make_explanations(
        "imagenet", "ImageNetVal", agcam={"iou": 0.5, "ABPC": 0.4, "SaCo": 0.1}, legrad={"iou": 0.2}
    )
    make_explanations("voc", "VOC2012", rollout={"iou": 0.25})
    make_explanations("popout", "PopOut", legrad={"iou": 1}, agcam={"iou": 1}, rollout={"iou": 1})
    main(["agcam", str(tmp_path)])
    lines, text = written(tmp_path, "agcam")
    assert not [dataset for dataset, *_ in lines if dataset == "PopOut"]
    assert float(lines["ImageNetVal", "agcam", "ABPC"]["difference"]) == pytest.approx(0.4 - 0.3691)
    assert float(lines["VOC2012", "rollout", "iou"]["published"]) == 0.1645
    assert lines["ImageNetVal", "legrad", "iou"]["published"] == ""
    assert "SaCo" not in text
    assert text.startswith("ImageNetVal, val split, 2 images; a ViT at 224×224; published: Leem and Seo")


def test_methods_on_other_data_have_the_order_of_the_table(make_explanations, tmp_path):
    make_explanations("popout", "PopOut", agcam={"iou": 1}, legrad={"iou": 1}, rollout={"iou": 1})
    main(["agcam", str(tmp_path)])
    rows = [row for dataset, row, _ in written(tmp_path, "agcam")[0] if dataset == "PopOut"]
    assert rows == ["rollout", "agcam", "legrad"]


def test_submissions_are_named(make_test, tmp_path, capsys):
    make_test("dino/raw_attention", 0.5)
    for version, data in (("version_2", "MIT300"), ("version_3", "CAT2000")):
        folder = tmp_path / f"dino/raw_attention/seed0/{version}"
        (folder / "submission").mkdir(parents=True)
        (folder / "submission/submission.json").write_text("{}")
        (folder / "run.json").write_text("{}")
        config = {"data": {"class_path": f"datamodules.{data}DataModule"}}
        (folder / "config.yaml").write_text(yaml.dump(config))
    assert [data for data, _ in submissions(tmp_path)] == ["MIT300", "CAT2000"]
    main(["table1", str(tmp_path)])
    folder = tmp_path / "dino/raw_attention/seed0/version_2/submission"
    for text in (capsys.readouterr().out, written(tmp_path, "table1")[1]):
        assert f"predicted, for the benchmark to score: MIT300, {folder}\n" in text
        assert "version_3" not in text


def test_what_cannot_be_put_together(make_test, tmp_path, capsys):
    for table, message in (
        ("table1", "expected ROW/seedN/version_M/scores.json"),
        ("table4", "invalid choice"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([table, str(tmp_path)])
        assert message in capsys.readouterr().err
    make_test("dino/raw_attention", 0.5)
    make_test("dino/rollout", 0.5, images=3)
    with pytest.raises(SystemExit, match="2"):
        main(["table1", str(tmp_path)])
    assert "cannot be compared" in capsys.readouterr().err
