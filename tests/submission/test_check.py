"""Every complaint of the checker, and its silence."""

import numpy as np
import pytest
from PIL import Image

from datamodules import CAT2000DataModule, ImageFolderDataModule, MIT300DataModule, PopOutDataModule
from datamodules.base import Stimulus, StimulusDataset
from salvit.submission import SubmissionError, check_submission, stimuli_of, write_hdf5
from salvit.submission.__main__ import main
from tests.datamodules.data.cat2000 import make_cat2000
from tests.datamodules.data.images import truncate, write_image
from tests.datamodules.data.mit import make_mit300

h5py = pytest.importorskip("h5py")
STIMULI = {"i1.jpg": (21, 30), "b/i2.jpg": (22, 30)}


@pytest.fixture
def maps(tmp_path):
    """A folder of maps as pictures."""
    for name, size in STIMULI.items():
        path = (tmp_path / "maps" / name).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)).save(path)
    return tmp_path / "maps"


@pytest.fixture
def logs(tmp_path):
    """A file of log densities."""
    write_hdf5(tmp_path / "logs.h5", [(name, np.random.rand(*size) + 0.1) for name, size in STIMULI.items()])  # noqa: NPY002
    return tmp_path / "logs.h5"


def complaints(path):
    with pytest.raises(SubmissionError) as error:
        check_submission(path, STIMULI)
    first, *problems = str(error.value).splitlines()
    assert first == f"{path} is no submission for these 2 images; {len(problems)} problems:"
    return [problem.strip() for problem in problems]


def replace(path, name, values):
    with h5py.File(path, "a") as file:
        del file[name]
        file[name] = values


def test_all_problems_are_listed(maps):
    (maps / "i1.png").unlink()
    (maps / "i9.png").write_bytes((maps / "b/i2.png").read_bytes())
    (maps / "b/i2.png").write_bytes(b"no picture")
    missing, unreadable, unknown = complaints(maps)
    assert missing.startswith(f"{maps}/i1.png: missing, the map of i1.jpg: run salvit predict again")
    assert unreadable.startswith(f"{maps}/b/i2.png: cannot be read")
    assert unknown == f"{maps}/i9.png: belongs to none of the 2 images: remove it"


def save_picture(path, *shape):
    Image.fromarray(np.zeros(shape, dtype=np.uint8)).save(path)


def save_float_maps(folder, values):
    """Maps as .npy in place of the pictures."""
    for path in folder.rglob("*.png"):
        path.unlink()
    np.save(folder / "b/i2.npy", np.ones((22, 30)))
    np.save(folder / "i1.npy", values)
    return folder / "i1.npy"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda maps: save_picture(maps / "i1.png", 30, 21),
            "i1.png: is 30×21 but its image 21×30 (height×width): write it at the image's size",
        ),
        (lambda maps: save_picture(maps / "i1.png", 21, 30, 3), "its pixels are RGB, not 8-bit grey"),
        (lambda maps: np.save(maps / "i1.npy", np.ones((21, 30))), "maps of 2 kinds (.npy, .png)"),
        (lambda maps: save_float_maps(maps, np.full((21, 30), np.nan)), "NaN or infinite"),
        (lambda maps: save_float_maps(maps, np.ones((21, 30), dtype=bool)), "holds bool; expected floats"),
        (lambda maps: truncate(save_float_maps(maps, np.ones((21, 30)))), "i1.npy: cannot be read"),
    ],
)
def test_one_problem(maps, spoil, said):
    check_submission(maps, STIMULI)
    spoil(maps)
    [problem] = complaints(maps)
    assert said in problem


def test_no_maps(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no maps; expected one of .npy" in complaints(tmp_path / "empty")[0]
    assert "no such folder, nor a file that ends in .h5" in complaints(tmp_path / "nowhere")[0]


@pytest.mark.parametrize("shift", [0.009, 0.02, -0.02])
def test_log_densities_are_normalised_within_the_tolerance(logs, shift):
    with h5py.File(logs) as file:
        values = file["i1.jpg"][()] + shift
    replace(logs, "i1.jpg", values)
    if abs(shift) < 0.01:
        check_submission(logs, STIMULI)
    else:
        [problem] = complaints(logs)
        assert f"its logsumexp is {shift:.3f}, not 0 ± 0.01" in problem


def test_names_and_sizes_of_log_densities(logs):
    with h5py.File(logs, "a") as file:
        file.move("i1.jpg", "i1")
    replace(logs, "b/i2.jpg", np.full((2, 2), -np.log(4)))
    missing, size, unknown = complaints(logs)
    assert missing.startswith(f"{logs}['i1.jpg']: missing")
    assert "is 2×2 but its image 22×30" in size
    assert unknown.startswith(f"{logs}['i1']: belongs to none")


def test_infinite_log_densities_and_no_hdf5(logs):
    replace(logs, "i1.jpg", np.full((21, 30), -np.inf))
    assert "NaN or infinite" in complaints(logs)[0]
    logs.write_bytes(b"something else")
    assert "cannot be read" in complaints(logs)[0]


def test_names_of_mit300_and_cat2000(tmp_path):
    mit300 = MIT300DataModule(make_mit300(tmp_path / "mit300"), image_size=32, num_workers=0)
    sizes = {"i1.jpg": (21, 30), "i2.jpg": (22, 30), "i10.jpg": (30, 30)}
    assert stimuli_of(mit300.dataset("predict")) == sizes
    cat2000 = CAT2000DataModule(make_cat2000(tmp_path / "cat2000"), image_size=32, num_workers=0)
    dataset = cat2000.dataset("predict")
    names = [name.replace("/", "__") for name in stimuli_of(dataset)]
    assert names == [f"{stimulus.name}.jpg" for stimulus in dataset.stimuli]


def test_images_whose_maps_have_one_name_and_generated_images_are_no_stimuli(tmp_path):
    for name in ("a.jpg", "a.png", "b.jpg"):
        write_image(tmp_path / name, (20, 30))
    with pytest.raises(ValueError, match=r"a\.jpg, a\.png would "):
        stimuli_of(ImageFolderDataModule(tmp_path).dataset("predict"))
    paths = [write_image(tmp_path / name, (20, 30)) for name in ("a/i1.jpg", "A/I1.jpg")]
    with pytest.raises(ValueError, match=r"maps of .* would have the same name"):
        stimuli_of(StimulusDataset([Stimulus(str(path), path) for path in paths], (32, 32)))
    with pytest.raises(ValueError, match="this dataset has none"):
        stimuli_of(PopOutDataModule(val_size=2).dataset("val"))


def test_command(tmp_path, capsys):
    root = make_mit300(tmp_path / "mit300")
    for number in (1, 2, 10):
        write_image(tmp_path / f"maps/i{number}.png", (20 + number, 30))
        Image.open(tmp_path / f"maps/i{number}.png").convert("L").save(tmp_path / f"maps/i{number}.png")
    main([str(tmp_path / "maps"), "--data.root", str(root)])
    said = "3 images, all under the root, but NOT complete: MIT300 has 300"
    assert capsys.readouterr().out == f"{tmp_path / 'maps'}: {said}\n"
    (tmp_path / "maps/i2.png").unlink()
    with pytest.raises(SystemExit) as exit_:
        main([str(tmp_path / "maps"), "--data.root", str(root)])
    assert exit_.value.code == 1
    assert "salvit: error: " in (error := capsys.readouterr().err)
    assert "i2.png: missing" in error


def test_command_without_data(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["maps", "-q", "--data.root", "/no/where"])
    assert exit_.value.code == 2
    assert "MIT300: cannot find /no/where" in capsys.readouterr().err
