"""What every dataset has: splits, errors that help, and samples in worker processes that share no memory."""

import inspect
import pickle
from itertools import accumulate

import pytest
from torch.utils.data import ConcatDataset, DataLoader

import datamodules
from datamodules import DatasetNotFoundError, PopOutDataModule, SaliencyDataModule, collate
from tests.datamodules.data.cat2000 import make_cat2000
from tests.datamodules.data.cub import make_cub
from tests.datamodules.data.imagenet import make_imagenet
from tests.datamodules.data.images import names, same, write_image
from tests.datamodules.data.mit import make_mit300, make_mit1003
from tests.datamodules.data.osie import make_osie
from tests.datamodules.data.p3o3 import make_p3o3
from tests.datamodules.data.salicon import make_salicon
from tests.datamodules.data.tiny_imagenet import make_tiny_imagenet
from tests.datamodules.data.voc import make_voc


def make_folder(root):
    """For both datamodules of folders."""
    for split in ("train", "val"):
        write_image(root / split / "cat/a.jpg", (20, 30))
    return root


MAKERS = {
    "CAT2000DataModule": make_cat2000,
    "CUB200DataModule": make_cub,
    "ClassFolderDataModule": make_folder,
    "ImageFolderDataModule": make_folder,
    "ImageNetValDataModule": make_imagenet,
    "MIT300DataModule": make_mit300,
    "MIT1003DataModule": make_mit1003,
    "OSIEDataModule": make_osie,
    "P3O3DataModule": make_p3o3,
    "SaliconDataModule": make_salicon,
    "TinyImageNetDataModule": make_tiny_imagenet,
    "VOC2012DataModule": make_voc,
}
STAGES = {
    "ImageFolder": ["predict"],
    "ImageNetVal": ["validate", "test", "predict"],
    "MIT300": ["predict"],
    "P3O3": ["validate", "test", "predict"],
}
"""The stages of datasets that do not have all."""


OPTIONS = {"TinyImageNetDataModule": {"classes": 2, "test_images": 2}}
"""What a dataset needs where it is tiny."""


def make(name, root, **options):
    root.mkdir(exist_ok=True)
    options = {**OPTIONS.get(f"{name}DataModule", {}), **options}
    kind = getattr(datamodules, f"{name}DataModule")
    return kind(MAKERS[f"{name}DataModule"](root), image_size=16, num_workers=0, **options)


def first_stage(name):
    return STAGES.get(name, ["fit"])[0]


every_name = pytest.mark.parametrize("name", [name.removesuffix("DataModule") for name in MAKERS])


def assert_helps(error, data, *looked_for):
    """The message says what is missing, the layout, the variable and the source."""
    assert all(str(word) in str(error.value).splitlines()[0] for word in looked_for)
    assert all(text in str(error.value) for text in (data.layout, data.env, data.obtain))


@every_name
def test_splits(tmp_path, name):
    data = make(name, tmp_path)
    stages = STAGES.get(name, ["fit", "validate", "test", "predict"])
    same = {id(data.dataset({"validate": "val"}.get(stage, stage))) for stage in stages if stage != "fit"}
    assert len(same) == 1
    for stage in {"fit", "validate", "test", "predict"} - set(stages):
        with pytest.raises(ValueError, match=rf"{name} has no .* split, only .*: use `salvit {stages[0]}`"):
            data.setup(stage)


@every_name
def test_no_dataset(tmp_path, name, monkeypatch):
    kind = getattr(datamodules, f"{name}DataModule")
    monkeypatch.delenv(kind.env, raising=False)
    for root, looked_for in ((None, "its root folder"), (tmp_path / "no",) * 2, (tmp_path, tmp_path)):
        data = kind(root)
        with pytest.raises(DatasetNotFoundError) as error:
            data.setup(first_stage(name))
        assert_helps(error, data, name, looked_for)


@pytest.mark.parametrize(
    ("name", "pattern", "on_error"),
    [
        ("CAT2000", "trainSet/FIXATIONLOCS/Satelite/005.mat", "raise"),
        ("CUB200", "CUB_200_2011/images/*/*_2.jpg", "raise"),
        ("ImageNetVal", "Annotations/CLS-LOC/val/*2.xml", "raise"),
        ("MIT1003", "ALLSTIMULI/i3_*.jpeg", "raise"),
        ("MIT1003", "ALLFIXATIONMAPS/i3_*_fixPts.jpg", "raise"),
        ("OSIE", "data/stimuli/1002.jpg", "raise"),
        ("P3O3", "O3/dist_labels/owl.jpg", "raise"),
        ("P3O3", "O3/image_properties.txt", "raise"),
        ("Salicon", "maps/train/*2.png", "raise"),
        ("TinyImageNet", "tiny-imagenet-200/train/n01629819/images/n01629819_2.JPEG", "raise"),
        ("VOC2012", "VOCdevkit/VOC2012/JPEGImages/2007_000002.jpg", "raise"),
        ("VOC2012", "VOCdevkit/VOC2012/Annotations/2007_000002.xml", "raise"),
        # A missing table or folder is an error also when skipping.
        ("CUB200", "CUB_200_2011/bounding_boxes.txt", "skip"),
        ("ClassFolder", "val/cat", "skip"),
        ("ImageNetVal", "ILSVRC2012_devkit_t12/data/meta.mat", "skip"),
        ("ImageNetVal", "val", "skip"),
        ("OSIE", "data/eye/fixations.mat", "skip"),
        ("P3O3", "P3/colors/images", "skip"),
        ("Salicon", "maps/val", "skip"),
        ("TinyImageNet", "tiny-imagenet-200/words.txt", "skip"),
        ("TinyImageNet", "tiny-imagenet-200/val/val_annotations.txt", "skip"),
        ("VOC2012", "VOCdevkit/VOC2012/ImageSets/Main/val.txt", "skip"),
    ],
)
def test_what_is_missing_is_named(tmp_path, name, pattern, on_error):
    data = make(name, tmp_path, on_error=on_error)
    [path] = tmp_path.glob(pattern)
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetNotFoundError) as error:
        data.setup(first_stage(name))
    assert_helps(error, data, path, "missing files: 1" if on_error == "raise" else "")


@pytest.mark.parametrize(
    ("name", "val", "lost"),
    [
        ("CAT2000", ["Action__005", "Satelite__009"], "trainSet/FIXATIONMAPS/Action/001.jpg"),
        ("MIT1003", ["i2_static_street_p101072"], "ALLSTIMULI/i1_static_street_p101071.jpeg"),
        ("OSIE", ["1003", "1006"], "data/stimuli/1001.jpg"),
    ],
)
def test_splits_by_seed(tmp_path, name, val, lost):
    """The split is complete, depends on the seed, and stays as it was without an image."""
    data = make(name, tmp_path)
    train = names(data, "train")
    assert names(data) == val
    assert (
        len(set(train) | set(val)) == len(train) + len(val) == {"CAT2000": 10, "MIT1003": 5, "OSIE": 7}[name]
    )
    assert any(names(make(name, tmp_path, split_seed=seed)) != val for seed in (1, 2, 3))
    (tmp_path / lost).unlink()
    data = type(data)(tmp_path, image_size=16, num_workers=0, on_error="skip")
    with pytest.warns(UserWarning, match=f"left out 1 of {len(train)} images of the train split"):
        assert names(data, "train") == train[1:]
    assert names(data) == val


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("P3O3", "subset", "Q3"),
        ("Salicon", "on_error", "ignore"),
        ("Salicon", "release", "2016"),
        ("VOC2012", "classes", "some"),
        ("VOC2012", "crop_pct", 0),
        ("VOC2012", "resize", "pad"),
    ],
)
def test_unknown_options(tmp_path, name, option, value):
    with pytest.raises(ValueError, match=f"{option} must be .*not '?{value}'?"):
        make(name, tmp_path, **{option: value})


@pytest.fixture
def all_data(tmp_path):
    """Every datamodule, each with a tiny dataset of its own."""
    made = {}
    for name, make in MAKERS.items():
        (tmp_path / name).mkdir()
        options = OPTIONS.get(name, {})
        made[name] = getattr(datamodules, name)(make(tmp_path / name), image_size=32, **options)
    return {**made, "PopOutDataModule": PopOutDataModule(image_size=32, test_size=2)}


def test_none_is_forgotten(all_data):
    public = {name for name in datamodules.__all__ if name.endswith("DataModule")}
    assert {name for name in public if not inspect.isabstract(getattr(datamodules, name))} == all_data.keys()
    assert all(issubclass(getattr(datamodules, name), SaliencyDataModule) for name in public)


@pytest.mark.filterwarnings("ignore:boxes of")
def test_every_dataset_pickles(all_data):
    for data in all_data.values():
        dataset = data.dataset("predict")
        before = dataset[0]  # so that what the dataset keeps in memory is pickled as well
        after = pickle.loads(pickle.dumps(dataset))[0]
        assert same(before, after)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:boxes of")
def test_every_dataset_works_in_a_process_that_is_spawned(all_data):
    """One worker for all, as it takes many seconds to start one; it loads the first two images of each."""
    predicted = [data.dataset("predict") for data in all_data.values()]
    starts = [0, *accumulate(map(len, predicted))]
    batches = [
        list(range(start, start + min(2, len(data)))) for start, data in zip(starts, predicted, strict=False)
    ]
    loader = DataLoader(
        ConcatDataset(predicted),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    for dataset, batch in zip(predicted, loader, strict=True):
        expected = collate([dataset[index] for index in range(len(batch["name"]))])
        assert same(batch, expected)
