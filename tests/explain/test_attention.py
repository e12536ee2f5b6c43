"""`salvit explain` keeps the attention of its first images."""

import json

import pytest
import torch

from datamodules.base import read_image, to_tensor
from salvit.extractors.recording import read_attention
from salvit.vit import load_vit, normalize
from tests.attention_file import read_attention_text
from tests.datamodules.data.images import write_image
from tests.explaining import explain


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def kept(tmp_path):
    return json.loads((tmp_path / "runs/explain/attention.json").read_text(encoding="utf-8"))


def test_the_attention_of_the_first_images_is_kept_and_later_commands_add_theirs(tmp_path, vit_file):
    for index in range(6):
        write_image(tmp_path / f"{index}.png", (40, 30), seed=index)
    explain("0.png", "--model", vit_file(), "--method", "rollout")
    first = kept(tmp_path)
    explain(*(f"{index}.png" for index in range(6)), "--model", vit_file(), "--method", "rollout", "agcam")
    stored = kept(tmp_path)
    assert [one["name"] for one in stored["images"]] == ["0", "1", "2", "3"]
    assert stored["images"][0] == first["images"][0]
    vit = load_vit(vit_file())
    image = normalize(vit, to_tensor(read_image(tmp_path / "3.png"), (32, 32))[None])
    expected = torch.cat(read_attention(vit, image, [0, 1])).numpy()
    assert read_attention_text(stored["images"][3], (2, 3, 17)) == pytest.approx(expected, abs=2e-3)
