"""Keeps the maps and the attention of a few test images, for `salvit report`."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from salvit.errors import InvalidValueError
from salvit.extractors.recording import record
from salvit.metrics import looked_at
from salvit.modules.explanation import ExplanationModule
from salvit.modules.saliency import Batch, SaliencyModule
from salvit.report.pictures import photo
from salvit.results import gathered, write
from salvit.results.kept import (
    ATTENTION,
    EXPLORED,
    IMAGES,
    MAPS,
    PEOPLE,
    attention_text,
    on_grid,
    pooling,
    small_photo,
    spread,
    to_text,
)
from salvit.vit import ViT, has_class_token, normalize, num_prefix_tokens, patch_grid

_SMALL, LARGE = 128, 256
"""Longest side in pixels of photographs, in the gallery and in the explorer."""


class KeptMaps(Callback):
    """Writes `maps.json` and `attention.json`, of a few images of a test, into the log folder.

    For `images` images, evenly spaced over the split: a small photograph, the map of the model or of each method, and
    the density of fixations, all maps at the size of the patch grid. For at most 4 of them: the attention of every
    block and head, and the maps that a saliency decoder reads. See `salvit.results.kept` for the size and form of the
    files.

    Args:
        images: number of images; 0 keeps none.
    """

    def __init__(self, images: int = IMAGES) -> None:
        self.images = images
        self._kept: list[dict[str, Any]] = []
        self._attention: list[dict[str, Any]] = []
        self._chosen: set[int] = set()
        self._explored: set[int] = set()
        self._about: dict[str, Any] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the images."""
        self._kept, self._attention, self._about = [], [], {}
        self._chosen, self._explored = set(), set()
        data = getattr(trainer, "datamodule", None)
        if isinstance(pl_module, SaliencyModule | ExplanationModule) and data is not None and self.images:
            total = len(data.dataset("test"))
            self._chosen = set(spread(total, self.images))
            self._explored = set(spread(total, EXPLORED)) & self._chosen
            self._about = {"of": total}

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Keep the chosen images of a batch."""
        for row, index in enumerate(batch["index"].tolist() if self._chosen else []):
            if index not in self._chosen:
                continue
            assert isinstance(pl_module, SaliencyModule | ExplanationModule)
            image = batch["image"][row]
            grid = patch_grid(pl_module.vit, image)
            maps = {}
            if isinstance(pl_module, SaliencyModule):
                maps[pl_module.model_name] = to_text(on_grid(outputs[row][None], grid)[0])
            if "density" in batch and looked_at(batch)[row]:
                maps[PEOPLE] = to_text(on_grid(batch["density"][row][None], grid)[0])
            about = {"index": index, "name": batch["name"][row]}
            self._kept.append(
                {**about, "photo": small_photo(photo(image), _SMALL), "maps": maps, "grid": grid}
            )
            if index in self._explored:
                self._explore(pl_module, image, about)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the images of all processes, and write the files."""
        kept = gathered(self._kept)
        attention = gathered(self._attention)
        methods = gathered([pl_module.maps] if isinstance(pl_module, ExplanationModule) else [])
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not kept or not trainer.is_global_zero or folder is None:
            return
        for one in kept:
            for maps in methods:
                known = {method: texts[one["name"]] for method, texts in maps.items() if one["name"] in texts}
                one["maps"] = known | one["maps"]
        files = {MAPS: together(kept, self._about)}
        if attention:
            count = attention[0]["images"]
            shown = set(spread(self._about["of"], count))
            files[ATTENTION] = together([one for one in attention if one["index"] in shown], {})
        write(folder, files)

    def _explore(
        self, module: SaliencyModule | ExplanationModule, image: Tensor, about: dict[str, Any]
    ) -> None:
        found = attention_of(module.vit, normalize(module.vit, image[None]))
        if found is None:
            return
        maps = {}
        if isinstance(module, SaliencyModule):
            extracted = on_grid(module.extract(image[None])[0], patch_grid(module.vit, image))
            maps["mean of the maps"] = to_text(extracted.mean(0))
            if 1 < len(extracted) <= 16:
                maps |= {f"map {number}": to_text(one) for number, one in enumerate(extracted)}
        self._attention.append({**about, "photo": small_photo(photo(image), LARGE), "maps": maps, **found})


def attention_of(vit: ViT, image: Tensor) -> dict[str, Any] | None:
    """The attention of a normalised image [1, 3, H, W], as `attention.json` has it; None without attention maps."""
    grid, prefix = patch_grid(vit, image), num_prefix_tokens(vit)
    try:
        with torch.no_grad(), record(vit) as recording:
            vit(image)
    except InvalidValueError:  # blocks without attention maps
        return None
    attention = [recording.attention[block][0] for block in range(len(vit.blocks))]
    if {one.shape for one in attention} != {(len(attention[0]), *[prefix + grid[0] * grid[1]] * 2)}:
        return None  # windows, or blocks of different widths
    heads = len(attention[0])
    side, count = pooling(len(attention), heads, prefix, grid)
    return {
        "grid": grid,
        "prefix": prefix,
        "class_token": has_class_token(vit),
        "blocks": len(attention),
        "heads": heads,
        "side": side,
        "images": count,
        **attention_text(attention, prefix, grid, side),
    }


def together(images: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """A file of images in the order of the dataset, with what they have in common once."""
    common = [key for key in ("grid", "prefix", "class_token", "blocks", "heads", "side") if key in images[0]]
    # Several processes may have scored an image twice.
    once = {one["index"]: one for one in images}
    own = [
        {key: value for key, value in once[index].items() if key not in (*common, "images", "index")}
        for index in sorted(once)
    ]
    return {**about, **{key: images[0][key] for key in common}, "images": own}
