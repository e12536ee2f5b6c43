"""Maps of a frozen ViT on disk: a file for each image, found again by what the image, model, method and code are."""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from salvit.cache.place import ABOUT
from salvit.extractors import Extractor
from salvit.results.atomic import atomic_write
from salvit.results.source import code_of, package_hash
from salvit.vit import ViT
from salvit.vit.identity import describe_vit, raw_bytes


class StoredMaps:
    """Maps of images: read from disk if a run has kept them, else extracted and kept for later runs.

    The maps of a model by a method have a folder, named after a hash of the model's weights and configuration, the
    method with its options and code, salvit's code, torch's version, the kind of device and the precision. A map has a
    file in it, named after the SHA-256 of the image as the model gets it, float32 [3, H, W] after resizing and
    mirroring; so another size, crop or image has another file. Maps are kept in full precision: a run that finds them
    equals, bit for bit, the run that made them.

    Several processes may fill a folder at once: a file gets its name only when it is complete, and all processes write
    the same up to the last bits, as a model rounds differently in another batch. Each file has a checksum; the map
    of a damaged file, or of a file of another image, is extracted again. If a file cannot be written, there is one
    warning, and this run keeps no further maps.

    Args:
        vit: the frozen model.
        extractor: the method.
        extract: images [B, 3, H, W] in [0, 1] → maps [B, K, h, w].
        folder: the folder of all maps.
        title: model and method in words, for `salvit cache list`.

    Example:
        >>> import tempfile
        >>> from salvit.extractors import RawAttention
        >>> from salvit.vit import load_vit, normalize
        >>> vit, method = load_vit("salvit_tiny"), RawAttention()
        >>> images, calls = torch.rand(3, 3, 64, 64), []
        >>> def extract(images):
        ...     calls.append(len(images))
        ...     return method(vit, normalize(vit, images))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for part in (images[:2], images):
        ...         maps = StoredMaps(vit, method, extract, folder)(part)
        >>> maps.shape, calls
        (torch.Size([3, 1, 8, 8]), [2, 1])
    """

    def __init__(
        self,
        vit: ViT,
        extractor: Extractor,
        extract: Callable[[Tensor], Tensor],
        folder: str | Path,
        title: str = "",
    ) -> None:
        self.vit = vit
        self.extractor = extractor
        self.extract = extract
        self.folder = Path(folder)
        self.title = title
        self._folders: dict[tuple[str, ...], Path] = {}
        self._writable = True

    def __call__(self, images: Tensor) -> Tensor:
        """Maps [B, K, h, w] of images [B, 3, H, W] in [0, 1], on their device."""
        folder = self._folder_for(images)
        names = [hashlib.sha256(raw_bytes(image)).hexdigest() for image in images.cpu()]
        maps = [_read(folder, name) for name in names]
        missing = [row for row, found in enumerate(maps) if found is None]
        if missing:
            for row, new in zip(missing, self.extract(images[missing]).cpu(), strict=True):
                maps[row] = new.contiguous()
                self._write(folder, names[row], new.contiguous())
        return torch.stack([found for found in maps if found is not None]).to(images.device)

    def describe(self, device: str, precision: str, matmul: str) -> dict[str, Any]:
        """What maps depend on beside the image, in plain values.

        Args:
            device: type of the device, such as "cpu".
            precision: dtype of autocast, or "" if autocast is off.
            matmul: torch's precision of float32 products where it has an effect, else "".
        """
        return {
            "code": package_hash(),
            "torch": torch.__version__,
            "vit": describe_vit(self.vit),
            "method": code_of(self.extractor),
            "options": self.extractor.options(),
            "computed": [device, precision, matmul],
        }

    def _folder_for(self, images: Tensor) -> Path:
        kind = images.device.type
        autocast = str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else ""
        key = (kind, autocast, "" if kind == "cpu" else torch.get_float32_matmul_precision())
        if key not in self._folders:
            description = json.dumps(self.describe(*key), sort_keys=True, default=str)
            self._folders[key] = self.folder / hashlib.sha256(description.encode()).hexdigest()[:16]
            self._introduce(self._folders[key], description)
        return self._folders[key]

    def _introduce(self, folder: Path, description: str) -> None:
        if not (folder / ABOUT).is_file():
            about = {"title": self.title, "description": json.loads(description)}
            self._keep(folder / ABOUT, json.dumps(about, indent=1).encode())

    def _write(self, folder: Path, name: str, maps: Tensor) -> None:
        checksum = torch.tensor(_checksum(folder, name, maps), dtype=torch.uint8)
        self._keep(folder / f"{name}.safetensors", save({"maps": maps, "checksum": checksum}))

    def _keep(self, path: Path, content: bytes) -> None:
        if not self._writable:
            return
        try:
            with atomic_write(path) as file:
                file.write(content)
        except OSError as error:  # a full disk, or a folder of somebody else
            self._writable = False
            warnings.warn(
                f"{error}; this run goes on without keeping maps on disk. `salvit cache prune` frees space, "
                "SALVIT_CACHE names another folder",
                stacklevel=2,
            )


def _read(folder: Path, name: str) -> Tensor | None:
    """The maps in a file; None if they are not there, damaged, or of something else."""
    try:
        content = load((folder / f"{name}.safetensors").read_bytes())
        maps, checksum = content["maps"], content["checksum"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return maps if checksum.tolist() == _checksum(folder, name, maps) else None


def _checksum(folder: Path, name: str, maps: Tensor) -> list[int]:
    """SHA-256, 32 bytes, of maps and of what they belong to: a file may have been copied to another name."""
    digest = hashlib.sha256(f"{folder.name} {name} {maps.dtype} {list(maps.shape)}\n".encode())
    digest.update(raw_bytes(maps))
    return list(digest.digest())
