import numpy as np
import pytest
import torch
from PIL import Image

import salvit
from datamodules import ImageFolderDataModule
from salvit.modules import SaliencyModule
from tests.datamodules.data.images import write_image
from tests.tiny import quiet_trainer, tiny_popout


@pytest.fixture(scope="module")
def model(vit_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fitted")
    trainer = quiet_trainer(folder, limit_val_batches=0)
    trainer.fit(SaliencyModule(vit=vit_file(), warmup_epochs=0), tiny_popout(image_size=40))
    trainer.save_checkpoint(folder / "a.ckpt")
    return salvit.load_saliency(folder / "a.ckpt")


def test_maps_of_a_picture_are_those_of_predict(model, tmp_path):
    write_image(tmp_path / "images/a.jpg", (20, 30), 0)
    data = ImageFolderDataModule(tmp_path / "images", image_size=40, num_workers=0)
    [[expected]] = quiet_trainer(tmp_path).predict(model.module, data)
    image = Image.open(tmp_path / "images/a.jpg")
    torch.testing.assert_close(model(image), expected)
    assert expected.shape == (20, 30)
    [in_a_list] = model([image])
    torch.testing.assert_close(in_a_list, expected)
    grey = Image.fromarray(np.full((20, 30), 90, np.uint8))
    torch.testing.assert_close(model(grey), model(grey.convert("RGB")))


def test_tensors(model):
    images = torch.rand(2, 3, 40, 40)
    maps = model(images)
    torch.testing.assert_close(maps, model.module(images).detach())
    torch.testing.assert_close(model(images[1]), maps[1])
    assert model(torch.rand(3, 24, 16)).shape == (24, 16)
    assert not maps.requires_grad
    with pytest.raises(ValueError, match=r"\[3, H, W\] or \[B, 3, H, W\]; got \[1, 20, 30\]"):
        model(torch.rand(1, 20, 30))
    with pytest.raises(ValueError, match="reach 255"):
        model(torch.full((3, 40, 40), 255))
