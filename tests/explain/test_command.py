"""`salvit explain` as people use it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import salvit
from salvit.explain.command import parse
from salvit.explain.methods import named_methods
from salvit.extractors import METHODS
from salvit.extractors.choice import supported_methods
from salvit.vit import load_vit, normalize
from tests.datamodules.data.images import truncate, write_image
from tests.explaining import explain, failure, files, index

THREE = ("agcam", "rollout", "relevance_lrp")


def expected_map(path, model, method, target=None):
    """The map by the library's own call on an image read by Pillow alone, upsampled to the image's size."""
    with Image.open(path) as file:
        pixels = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)[None].float()
    squashed = F.interpolate(pixels, (32, 32), mode="bilinear", antialias=True).round() / 255
    vit = load_vit(model)
    maps = salvit.extract(vit, normalize(vit, squashed), method, target).mean(1, keepdim=True)
    return F.interpolate(maps, pixels.shape[-2:], mode="bilinear")[0, 0].numpy()


# What is written


def test_examples_of_the_help_parse(capsys):
    with pytest.raises(SystemExit):
        explain("--help")
    examples = re.findall(r"^  salvit explain (.*)$", capsys.readouterr().out, re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        assert named_methods(parse(re.findall(r'"[^"]*"|\S+', example)).method, [])


def test_several_methods(image, shapes, capsys):
    explain(image, "--method", *THREE[:2], "--method", *THREE[1:], *shapes)
    made = [f"maps/dog/{method}.{kind}" for method in sorted(THREE) for kind in ("npy", "png")]
    assert files() == sorted([*made, "attention.json", "explain.csv", "explain.json", "grids/dog.png"])
    rows = index()
    assert [row["method"] for row in rows] == sorted(THREE)
    assert {row["predicted"] for row in rows} == {rows[0]["target"]}
    assert rows[0]["probability"] == rows[0]["target_probability"] != ""
    assert rows[2]["target"] == ""
    printed = capsys.readouterr().out
    assert f"class {rows[0]['predicted']}, p = {float(rows[0]['probability']):.3f}" in printed
    assert printed.endswith("maps and pictures are in runs/explain; explain.csv lists them\n")


@pytest.mark.parametrize(
    ("size", "method", "typed"),
    [
        ((40, 60), "agcam", ["--target", 7]),
        ((40, 60), "rollout", []),
        ((40, 60), "input_gradient", ["--target", 7]),
        ((32, 32), "legrad", []),
    ],
)
def test_maps_are_those_of_extract_at_the_images_size(shapes, size, method, typed):
    image = write_image(Path("dog.png"), size, 1)
    explain(image, "--method", method, *shapes, *typed)
    [row] = index()
    assert row["target"] == (str(typed[1]) if typed else row["target"] and row["predicted"])
    saliency = np.load(f"runs/explain/{row['map']}")
    assert (saliency.shape, saliency.dtype) == (size, np.float32)
    expected = expected_map(image, shapes[1], method, int(row["target"]) if row["target"] else None)
    # A pixel of a squashed image may round the other way.
    atol = 0 if size == (32, 32) else 0.02 * np.abs(expected).max()
    np.testing.assert_allclose(saliency, expected, rtol=1e-4, atol=atol)


def test_classes_by_index_name_and_wnid(image, imagenet):
    targets = ("243", "Tabby_Cat", "n02123045", "tench", "bull mastiff")
    explain(image, "--method", "agcam", "rollout", *imagenet, "--target", *targets)
    rows = index()
    assert [(row["method"], row["target"], row["target_name"]) for row in rows] == [
        ("agcam", "0", "tench"),
        ("agcam", "243", "bull mastiff"),
        ("agcam", "281", "tabby"),
        ("rollout", "", ""),
    ]
    maps = [np.load(f"runs/explain/{row['map']}") for row in rows[:3]]
    pictures = [np.asarray(Image.open(f"runs/explain/{row['overlay']}")).astype(int) for row in rows[:3]]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(maps[a] - maps[b]).max() > 0.05 * np.abs(maps[a]).max()
        assert np.abs(pictures[a] - pictures[b]).max() > 10


def test_a_grid_has_a_row_for_each_class_and_a_column_for_each_method(image, imagenet):
    explain(image, "--method", "agcam", "rollout", *imagenet, "--target", "0", "1", "--out", "two")
    explain(image, "--method", "agcam", "rollout", *imagenet, "--target", "0", "--out", "one")
    two, one = (np.asarray(Image.open(f"{out}/grids/dog.png")).astype(int) for out in ("two", "one"))
    assert two.shape[1] == one.shape[1] == 3 * (320 + 10) + 10
    assert two.shape[0] > 2 * 213 > one.shape[0] > 213
    # The picture of the first row starts where the one row's does; the photo is in colour, at its proportions.
    top = one.shape[0] - 10 - 213
    np.testing.assert_array_equal(two[top : top + 213], one[top : top + 213])
    photo = one[top : top + 213, 10:330]
    expected = np.asarray(Image.open(image).resize((320, 213), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(photo - expected).max() < 3


def test_pictures_of_large_images_are_bounded_and_all_are_turned_upright(shapes):
    Image.new("RGB", (3000, 1500), "red").save("large.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40), "red").save("turned.png", exif=exif)
    explain("large.png", "turned.png", "--method", "center_prior", *shapes)
    assert Image.open("runs/explain/maps/large/center_prior.png").size == (1024, 512)
    assert np.load("runs/explain/maps/large/center_prior.npy").shape == (1500, 3000)
    assert np.load("runs/explain/maps/turned/center_prior.npy").shape == (60, 40)


def test_the_record_of_a_command(image, shapes):
    options = ("--device", "cpu", "--image-size", "64", "48")
    explain(image, "--method", "agcam", *shapes, *options)
    record = json.loads(Path("runs/explain/explain.json").read_text())
    typed = f"salvit explain dog.png --method agcam --model {shapes[1]} {' '.join(options)}"
    assert (record["command"], record["input_size"]) == (typed, [64, 48])
    assert (record["device"], record["methods"]) == ("CPU", {"agcam": "AGCAM(rows='auto')"})
    assert len(record["weights_sha256"]) == 64


def test_the_shipped_model_needs_nothing_and_names_shapes(capsys):
    write_image(Path("display.png"), (64, 64))
    explain("display.png", "--target", "heart")
    assert Path("runs/explain/maps/display/agcam_6.npy").is_file()
    assert "heart (6)" in capsys.readouterr().out


# Which images


def test_a_folder_with_subfolders_in_batches(shapes):
    for number, name in enumerate(("a.jpg", "b.png", "more/a.jpg", "more/.hidden.jpg")):
        write_image(Path("images") / name, (20 + 4 * number, 30), number)
    explain("images", "--method", "agcam", "rollout", *shapes, "--batch-size", "2")
    rows = index()
    assert [(row["name"], row["method"]) for row in rows] == [
        (name, method) for name in ("a", "b", "more__a") for method in ("agcam", "rollout")
    ]
    for row in rows:
        saliency = np.load(f"runs/explain/{row['map']}")
        assert saliency.shape == (int(row["height"]), int(row["width"]))
        target = int(row["target"]) if row["target"] else None
        expected = expected_map(row["image"], shapes[1], row["method"], target)
        np.testing.assert_allclose(saliency, expected, atol=0.05 * np.abs(expected).max())


def test_images_of_one_name_and_an_image_named_twice(shapes):
    one, two = (write_image(Path(folder) / "dog.png", (20, 30), 3) for folder in ("one", "two"))
    write_image(Path("one/dog.jpg"), (20, 30), 3)
    explain(one, two, "one/dog.jpg", "two", one.resolve(), "--method", "rollout", *shapes)
    assert [row["name"] for row in index()] == ["one__dog_jpg", "one__dog_png", "two__dog"]


def test_a_broken_file_among_others(image, shapes, capsys):
    broken = truncate(write_image(Path("broken.png"), (200, 300)))
    Path("notes.txt").write_text("no image")
    message = failure(capsys, broken, image, "notes.txt", "--method", "rollout", *shapes)
    assert message.startswith(
        "2 of 3 images cannot be explained, the others are done:\n  broken.png: cannot read"
    )
    assert "notes.txt: cannot read the image (UnidentifiedImageError" in message
    assert [row["name"] for row in index()] == ["dog"]
    assert Path("runs/explain/grids/dog.png").is_file()
    message = failure(capsys, "notes.txt", "--method", "rollout", *shapes, "--out", "nothing")
    assert message.startswith("none of the images can be explained:\nnotes.txt: ")


# Models that lack something


def test_all_leaves_out_what_the_model_does_not_support(image, headless, monkeypatch, capsys):
    monkeypatch.delitem(METHODS, "rise")  # 4000 forward passes
    explain(image, "--method", "all", *headless)
    said = capsys.readouterr().err
    made = {row["method"] for row in index()}
    left_out = json.loads(Path("runs/explain/explain.json").read_text())["left_out"]
    assert made.isdisjoint(left_out)
    assert made | set(left_out) == set(METHODS)
    assert "explains a class" in left_out["agcam"]
    lines = [line for line in said.splitlines() if line.startswith("left out")]
    assert len(lines) == len(set(left_out.values()))
    assert all(reason in said and name in said for name, reason in left_out.items())


def test_a_model_without_a_head(image, headless, capsys):
    message = failure(capsys, image, *headless, status=2)
    assert message.startswith("agcam: the method explains a class, and the model has no classifier head")
    named = message.partition("it is the default method, and the model supports others: ")[2].splitlines()[0]
    assert named.split(", ") == list(supported_methods(load_vit(headless[1]), size=(32, 32))[0])
    message = failure(capsys, image, "--method", "agcam", *headless, status=2)
    assert message.startswith("agcam: the method explains a class, and the model has no classifier head")
    assert "default" not in message
    assert "knows no classes" in failure(capsys, image, *headless, "--target", "3", status=2)
    assert not Path("runs").exists()
    explain(image, "--method", "rollout", *headless)
    assert (index()[0]["predicted"], index()[0]["probability"]) == ("", "")


# What people type wrongly


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "agcan"], 'no method "agcan"; did you mean "agcam"'),
        (["--method", "rollout,agcam"], 'no method "rollout,agcam"; several methods are separated by spaces'),
        (["--method", "agcam", "dog.png"], 'no method "dog.png", but a file or folder: put images before'),
        (["--method", "rollout:start_layer=99"], "rollout:start_layer=99: there is no block 99"),
        (["--method", "rollout:rows"], "'rows' is no OPTION=VALUE"),
        (["--method", "rollout:rows=all,agcam"], "'agcam' is no OPTION=VALUE; several methods are"),
        (["--method", "salient_attention", "--image-size", "8"], "salient_attention: .* larger images"),
        (["--method", "all", "--without", "rsie"], 'no method "rsie"; did you mean "rise"'),
        (["--method", "all", "--without", "rise:masks=2"], '--without: no method "rise:masks=2"'),
        (["--method", "all", "--without", *METHODS], " leaves no method"),
        (["--method", "agcam", "--without", "rise"], "--method all, which was not typed"),
        (["--method", "all:rows=all"], "all takes every method with its default options"),
        (["--target", "10"], "target class 10 is outside 0 … 9"),
        (["--target", "dog"], "the names of this model's 10 classes are unknown; give an index, 0 … 9"),
        (["--method", "rollout", "--target", "1"], "--target has no effect on rollout"),
        (["nowhere.jpg"], "no image or folder nowhere.jpg"),
        (["empty"], "no image in the folder empty"),
        (["--image-size", "30"], "sides must be multiples of the patch size 8×8"),
        (["--device", "abacus"], 'no device "abacus": take auto, cpu, cuda'),
        (["--device", "cuda:99"], 'no device "cuda:99": torch finds .* GPUs'),
        (["--out", "dog.png"], "cannot make the folder --out dog.png: File exists"),
        (["--weights", "none.pth"], "no weights file none.pth"),
        (["--batch-size", "0"], "argument --batch-size: expected a whole number of at least 1; got '0'"),
        (
            ["--image-size", "1", "2", "3"],
            "--image-size takes a side, or a height and a width; got 3 numbers",
        ),
        (["--meth", "agcam"], "unrecognized arguments: --meth"),
        (["--out", ""], "argument --out: an empty argument"),
        (["--target", ""], "argument --target: an empty argument"),
    ],
)
def test_values_that_do_not_fit(image, shapes, capsys, arguments, said):
    Path("empty").mkdir()
    message = failure(capsys, image, *arguments, *shapes, status=2)
    assert re.search(said, message.splitlines()[0]), message
    assert not Path("runs").exists()


def test_models_that_cannot_be_explained(image, vit_file, capsys):
    message = failure(capsys, image, "--model", "vit_bas_patch16_224", status=2)
    assert "did you mean vit_base_patch16_224" in message
    message = failure(capsys, image, "--model", vit_file(in_chans=1), status=2)
    assert "takes images of 1 channels, not RGB" in message


@pytest.mark.parametrize("arguments", [[], ["--method", "rollout", "a.jpg"]])
def test_no_image_before_the_options(capsys, arguments):
    message = failure(capsys, *arguments, status=2)
    assert (
        "required: IMAGE, before the options, which take all that follows them\n(`salvit explain --help`"
        in message
    )
