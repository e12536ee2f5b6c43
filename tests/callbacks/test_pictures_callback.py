import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import OSIEDataModule
from salvit.callbacks.pictures import LABELS, Pictures
from salvit.modules import SaliencyModule
from salvit.report.pictures import heat, photo
from tests.datamodules.data.images import write_image
from tests.datamodules.data.osie import make_osie


@pytest.fixture
def module(vit_file):
    return SaliencyModule(vit=vit_file(), warmup_epochs=0)


def opened(path):
    with Image.open(path) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize(
    ("stage", "split", "count", "rows"), [("validate", "val", 2, 2), ("test", "test", 6, 3)]
)
def test_a_row_per_image(module, make_trainer, popout, tmp_path, stage, split, count, rows):
    def size(count):
        trainer = make_trainer(callbacks=[Pictures(count)], default_root_dir=tmp_path / f"{count}")
        getattr(trainer, stage)(module, popout, verbose=False)
        return opened(tmp_path / f"{count}/pictures/{split}.png").size

    popout.batch_size = 3
    one, several = size(1), size(count)
    assert several[0] == one[0] > 4 * 160
    height_of_labels = one[1] - (several[1] - one[1]) // (rows - 1)
    assert 0 < height_of_labels < 60


def test_the_columns_show_what_their_labels_say(module, make_trainer, popout, tmp_path):
    popout.batch_size = 1
    make_trainer(callbacks=[Pictures()]).test(module, popout, verbose=False)
    picture = np.asarray(opened(tmp_path / "pictures/test.png").convert("RGB"), dtype=float)
    assert LABELS == ("image", "ground truth", "prediction", "overlay")
    sample = popout.dataset("test")[0]
    with torch.no_grad():
        prediction = module(sample["image"][None])[0]
    width = (picture.shape[1] - 18) // 4
    for i, expected in enumerate((photo(sample["image"]), heat(sample["density"]), heat(prediction))):
        column = picture[22 : 22 + width, i * (width + 6) : i * (width + 6) + width]
        large = np.asarray(expected.resize((width, width), Image.Resampling.BICUBIC), dtype=float)
        assert np.abs(column - large).mean() < 4


def test_the_latest_replaces_the_last_and_the_sanity_check_is_not_drawn(
    module, make_trainer, popout, tmp_path
):
    drawn = []

    class Record(Pictures):
        def on_validation_batch_end(self, trainer, *args):
            super().on_validation_batch_end(trainer, *args)
            path = tmp_path / "pictures/val.png"
            drawn.append(path.read_bytes() if path.exists() else None)

    make_trainer(max_epochs=2, num_sanity_val_steps=1, callbacks=[Record(1)]).fit(module, popout)
    sanity, first, second = drawn
    assert sanity is None
    assert first != second
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["val.png"]


def test_images_of_different_sizes(module, make_trainer, tmp_path):
    root = make_osie(tmp_path / "osie")
    val = OSIEDataModule(root, image_size=32, batch_size=4, num_workers=0)
    name = val.dataset("val").stimuli[1].name
    write_image(root / f"data/stimuli/{name}.jpg", (60, 40), 3)
    val = OSIEDataModule(root, image_size=32, batch_size=4, num_workers=0)
    make_trainer(callbacks=[Pictures()]).test(module, val, verbose=False)
    assert opened(tmp_path / "pictures/test.png").height > 300
