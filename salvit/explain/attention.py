"""Keeps the attention of the first images of `salvit explain`, for the explorer of `salvit report`."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from salvit.callbacks.kept_maps import LARGE, attention_of, together
from salvit.report.pictures import photo
from salvit.results.files import write
from salvit.results.kept import ATTENTION, EXPLORED, small_photo
from salvit.vit import normalize


class KeptAttention(Callback):
    """Writes `attention.json`, of the first images that are explained in a folder; earlier ones stay.

    Args:
        folder: of the results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / ATTENTION
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"images": []}
        common = {key: value for key, value in stored.items() if key != "images"}
        self._kept: dict[str, dict[str, Any]] = {one["name"]: {**common, **one} for one in stored["images"]}
        self._room = EXPLORED

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any, **_: Any
    ) -> None:
        """Keep the attention of images that are new, as long as there is room."""
        for row, name in enumerate(batch["name"]):
            if name in self._kept or len(self._kept) >= self._room:
                continue
            found = attention_of(pl_module.vit, normalize(pl_module.vit, batch["image"][row][None]))
            if found is None:
                self._room = 0
                return
            self._room = found["images"]
            shown = photo(batch["photos"][row].shown)
            self._kept[name] = {"name": name, "photo": small_photo(shown, LARGE), "maps": {}, **found}

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file."""
        if self._kept:
            images = [{**one, "index": index} for index, one in enumerate(self._kept.values())]
            write(self.folder, {ATTENTION: together(images, {})})
