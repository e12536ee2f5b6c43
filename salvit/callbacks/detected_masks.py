"""Instance masks from a detector, for images whose dataset has none."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, maskrcnn_resnet50_fpn_v2

from datamodules.base import SaliencyDataModule, StimulusDataset
from salvit.errors import InvalidValueError, MissingFileError
from salvit.modules.explanation import IRRELEVANT
from salvit.results.atomic import output_path
from salvit.results.files import file_hash, write
from salvit.vit.checkpoints import why_unreadable

CATEGORIES: list[str] = MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1.meta["categories"]
"""COCO's categories, in the order of the detector's labels; "__background__" and "N/A" are none."""
ANY = "any"


class DetectedMasks:
    """Masks of the label's instance by torchvision's `maskrcnn_resnet50_fpn_v2`, whose weights the user has.

    The detector sees each image at its original size. Of the instances of the label's COCO category that reach
    `min_score`, the one with the highest score is taken: its mask has the pixels with a probability above 0.5. An image
    without such an instance has an empty mask. Masks are kept as PNG files, so that each image is detected once.

    Source: Agrawal, Dayton and Dauber, "Visualizing Attention in Vision Transformers" (poster), which used the masks of
    a Fast R-CNN and names neither a version nor a threshold.

    Args:
        weights: the detector's weights, a torch file such as `maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth`.
        cache: folder of the masks; each combination of weights, options and images has its own subfolder.
        categories: COCO category of each class, by the first of the dataset's names for the class, such as
            `{automobile: car}`; "any" takes the highest score of all categories. A class that is named as a category
            needs no entry.
        min_score: least score of a detection, in [0, 1].

    Raises:
        ValueError: if `min_score` is out of range or there is no such category.
    """

    def __init__(
        self,
        weights: str,
        cache: str = "runs/masks",
        categories: dict[str, str] | None = None,
        min_score: float = 0.5,
    ) -> None:
        if not 0 <= min_score <= 1:
            raise InvalidValueError(f"min_score must be in [0, 1]; got {min_score}")
        for name, category in (categories or {}).items():
            if category != ANY and category not in _known():
                raise InvalidValueError(
                    f"categories: {name} has the category {category!r}, which COCO does not have; it has "
                    f"{', '.join(_known())}, or {ANY!r} for whatever is detected"
                )
        self.weights = weights
        self.cache = cache
        self.categories = categories
        self.min_score = min_score
        self._folder: Path | None = None
        self._detector: nn.Module | None = None
        self._of_label: list[str] = []

    def prepare(self, data: SaliencyDataModule) -> None:
        """Find the category of each class, and the folder of this dataset's masks.

        Raises:
            FileNotFoundError: if there is no weights file.
            ValueError: if a class has no category, or `categories` names a class that the dataset does not have.
        """
        if not Path(self.weights).is_file():
            raise MissingFileError(f"no detector file {self.weights}")
        names = [name.partition(", ")[0] for name in getattr(data, "class_names", [])]
        self._of_label = label_categories(names, self.categories or {})
        settings = {
            "weights": file_hash(Path(self.weights)),
            "min_score": self.min_score,
            "categories": self._of_label,
            "data": type(data).__name__,
            "options": {key: value for key, value in data.hparams.items() if key not in IRRELEVANT},
            "images": data.dataset("test").fingerprint(),
        }
        digest = hashlib.sha256(json.dumps(settings, default=str).encode()).hexdigest()
        self._folder = Path(self.cache) / digest[:16]

    def __call__(self, data: SaliencyDataModule, batch: Mapping[str, Any]) -> list[Tensor]:
        """Return the masks of a batch of the test split, bool [H, W] in the pixels of its images.

        Raises:
            ValueError: if the weights are not those of the detector.
        """
        assert self._folder is not None  # from `prepare`
        dataset = data.dataset("test")
        masks = []
        for row, name in enumerate(batch["name"]):
            path = output_path(self._folder, name, ".png")
            index, image = int(batch["index"][row]), batch["image"][row]
            if not path.is_file():
                original = dataset.original(index) if isinstance(dataset, StimulusDataset) else image
                mask = self._instance(original.to(image.device), self._of_label[int(batch["label"][row])])
                write(path.parent, {path.name: Image.fromarray(mask.cpu().numpy())})
            with Image.open(path) as file:
                pixels = np.array(file, dtype=bool)
            view = dataset.view(index) if isinstance(dataset, StimulusDataset) else None
            masks.append(torch.from_numpy(pixels) if view is None else view.mask(pixels) > 0)
        return masks

    def _instance(self, image: Tensor, category: str) -> Tensor:
        if self._detector is None:
            self._detector = load_detector(Path(self.weights)).to(image.device)
        with torch.no_grad():
            [found] = self._detector([image])
        kept = found["scores"] >= self.min_score
        if category != ANY:
            kept &= found["labels"] == CATEGORIES.index(category)
        if not kept.any():
            return torch.zeros(image.shape[1:], dtype=torch.bool)
        best = torch.where(kept, found["scores"], -1).argmax()
        mask: Tensor = found["masks"][best, 0] > 0.5
        return mask


def label_categories(names: list[str], categories: Mapping[str, str]) -> list[str]:
    """Return the COCO category of each class.

    Args:
        names: names of the dataset's classes, in the order of their labels.
        categories: COCO category of each class that has another name in COCO.

    Raises:
        ValueError: if a class has no category, or there is no such class.

    Example:
        >>> label_categories(["bird", "automobile"], {"automobile": "car"})
        ['bird', 'car']
    """
    if unknown := [name for name in categories if name not in names]:
        raise InvalidValueError(f"categories: the dataset has no class {', '.join(unknown)}")
    if missing := [name for name in names if name not in categories and name not in _known()]:
        raise InvalidValueError(
            f"COCO has no category called {', '.join(missing)}: name one for each of these classes in `categories`, "
            f"such as {{automobile: car}}, or {ANY!r} for whatever is detected"
        )
    return [categories.get(name, name) for name in names]


def load_detector(path: Path) -> nn.Module:
    """Load torchvision's Mask R-CNN from a file of its weights, frozen.

    Raises:
        ValueError: if the file does not hold them.
    """
    detector: nn.Module = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    try:
        detector.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # torch raises RuntimeError, UnpicklingError, EOFError, TypeError, AttributeError and more on other files.
    except Exception as error:
        raise InvalidValueError(
            f"{path} does not hold the weights of torchvision's maskrcnn_resnet50_fpn_v2: "
            f"{why_unreadable(path, error)}"
        ) from error
    return detector.requires_grad_(False).eval()


def _known() -> list[str]:
    return [name for name in CATEGORIES if name not in ("__background__", "N/A")]
