"""Evaluation under Lightning on two real processes: every image once, and no hanging."""

import pytest
from lightning.pytorch import LightningModule

from datamodules import SaliconDataModule
from tests.datamodules.data.salicon import make_salicon, stem
from tests.tiny import quiet_trainer


class Recorder(LightningModule):
    """Writes the name of every image it is given to a file of its process."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def validation_step(self, batch, batch_index):
        with (self.folder / f"rank{self.global_rank}").open("a") as file:
            file.writelines(f"{name}\n" for name in batch["name"])


def validate(folder, images):
    root = make_salicon(folder / "data", train=0, val=images)
    datamodule = SaliconDataModule(root, image_size=16, batch_size=4, num_workers=0)
    trainer = quiet_trainer(folder, devices=2, strategy="ddp_fork")
    trainer.validate(Recorder(folder), datamodule, verbose=False)


@pytest.mark.parametrize("images", [1, 5])
def test_each_image_is_seen_once(tmp_path, images):
    validate(tmp_path, images)
    seen = [(tmp_path / f"rank{rank}").read_text().split() for rank in range(2)]
    assert [len(names) for names in seen] == [(images + 1) // 2, images // 2]
    assert sorted(seen[0] + seen[1]) == [stem("val", number) for number in range(1, images + 1)]
