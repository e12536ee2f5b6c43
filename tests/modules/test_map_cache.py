"""Kept maps are the extractor's own, whichever batch they were first seen in."""

import torch

from datamodules.base import collate
from datamodules.popout import PopOutDataset
from salvit.extractors import RawAttention
from salvit.modules.saliency import SaliencyModule


def test_a_mirrored_image_has_maps_of_its_own():
    module = SaliencyModule(extractor=RawAttention(per_head=True), cache_maps=True)
    batch = collate(PopOutDataset(2, 0, "train", (64, 64)).__getitems__([0, 1]))
    plain = module._predict({**batch, "mirrored": [False, False]}, "train")
    flipped = {**batch, "image": batch["image"].flip(-1), "mirrored": [True, False]}
    mirrored = module._predict(flipped, "train")
    torch.testing.assert_close(mirrored[0], module(flipped["image"])[0])
    torch.testing.assert_close(mirrored[1], plain[1])  # by its key the image has been seen


def test_splits_do_not_share_keys():
    module = SaliencyModule(extractor=RawAttention(), cache_maps=True)
    train, val = (collate([PopOutDataset(1, 0, split, (64, 64))[0]]) for split in ("train", "val"))
    module._predict(train, "train")
    torch.testing.assert_close(module._predict(val, "val"), module(val["image"]))
