"""Fit a saliency decoder on the maps of a frozen ViT, and score it against people's fixations."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MetricCollection

from datamodules.base import SaliencyDataModule, Size
from salvit.cache.maps import StoredMaps
from salvit.cache.place import cache_folder
from salvit.extractors import Extractor, RawAttention, parse_method, spell
from salvit.extractors.spelling import Spelling
from salvit.metrics import Profile, at_native_size, update_metrics
from salvit.metrics.profiles import check_profiles, split_metrics
from salvit.modules.checkpoint import describe, describe_extractor, public_path, stored_path, without_backbone
from salvit.modules.decoder import SaliencyDecoder
from salvit.modules.losses import SaliencyLoss
from salvit.modules.naming import backbone_name
from salvit.modules.trained import TrainedModule
from salvit.resize import resize_antialiased
from salvit.vit import load_vit, normalize, patch_grid, weights_hash

Batch = dict[str, Any]


class SaliencyModule(TrainedModule):
    """A frozen ViT, an extractor, and a decoder that is trained to predict where people look.

    Batches come from a saliency datamodule: `image` [B, 3, H, W] in [0, 1], `density` and `fixations` at native size.
    Training compares the prediction with the density resized to the prediction; scoring resizes the
    prediction to each image's native size and never touches the ground truth. Checkpoints hold the decoder, the
    configuration and a hash of the backbone's weights, not the backbone. `untrained` says that the decoder's random
    weights are scored on purpose.

    Args:
        vit: a timm name, "salvit_tiny", or a weights file; see `salvit.vit.load_vit`.
        weights: local weights for a timm name.
        pretrained: False for a backbone with random weights.
        extractor: the method that makes the maps, as text (`salvit.extractors.parse_method`) or an extractor;
            raw attention of the last block, per head, by default.
        loss: the training loss; KLD by default.
        cache_maps: extract the maps of an image once, not in every epoch and run: True keeps them on disk, in the
            folder `maps` of `SALVIT_CACHE` (by default `~/.cache/salvit`), a path keeps them there; see
            `salvit.cache.maps.StoredMaps`. A fit also holds those of its images in host memory. Either takes
            4·K·h·w bytes an image, twice that with mirroring.
        center_bias: let the decoder learn a Gaussian center bias; see `SaliencyDecoder`.
        lr: peak learning rate of AdamW.
        weight_decay: AdamW's.
        warmup_epochs: epochs of linear warm-up before the cosine.
        profile: by which definitions `test` scores, or several; see `salvit.metrics.saliency_metrics`. Validation
            is always `exact`.

    Raises:
        ValueError: if the extractor does not fit the backbone, or there is no such method or profile.

    Example:
        >>> module = SaliencyModule(extractor=RawAttention(block="all", per_head=True))
        >>> module(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 64, 64])
    """

    def __init__(
        self,
        vit: str = "salvit_tiny",
        weights: str | Path | None = None,
        pretrained: bool = True,
        extractor: Extractor | Spelling | None = None,
        loss: SaliencyLoss | None = None,
        center_bias: bool = False,
        cache_maps: bool | str = False,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup_epochs: float = 6,
        profile: Profile | list[Profile] = "exact",
    ) -> None:
        super().__init__(lr, weight_decay, warmup_epochs)
        self.profiles = check_profiles(profile)
        self.vit = load_vit(vit, weights=weights, pretrained=pretrained)
        self.extractor = RawAttention(per_head=True) if extractor is None else parse_method(extractor)
        self.extractor.check(self.vit)
        self.decoder = SaliencyDecoder(self.extractor.num_channels(self.vit), center_bias)
        self.loss = SaliencyLoss() if loss is None else loss
        self.val_metrics: MetricCollection | None = None
        self.test_metrics: MetricCollection | None = None
        self.backbone = backbone_name(vit, weights, pretrained)
        self.stored: Callable[[Tensor], Tensor] = self.extract
        if cache_maps:
            folder = cache_folder() if cache_maps is True else cache_maps
            self.stored = StoredMaps(self.vit, self.extractor, self.extract, folder, self.model_name)
        self.cache = MapCache(self.stored) if cache_maps else None
        extractor_description = describe_extractor(self.extractor)
        self.description = describe(
            self,
            {
                "vit": stored_path(vit),
                "weights": stored_path(weights),
                "pretrained": pretrained,
                "extractor": extractor_description,
                "center_bias": center_bias,
                "loss": {"class_path": public_path(type(self.loss)), "init_args": self.loss.weights},
                "cache_maps": cache_maps,
                "lr": lr,
                "weight_decay": weight_decay,
                "warmup_epochs": warmup_epochs,
            },
            weights_sha256=weights_hash(self.vit),
            extractor=extractor_description,
            decoder={
                "channels": [layer.in_channels for layer in self.decoder.convolutions],
                "center_bias": center_bias,
            },
        )

    @property
    def model_name(self) -> str:
        """The model in tables: backbone, extractor, and whether the decoder is untrained."""
        name = f"{self.backbone} · {spell(self.extractor)}"
        return f"{name}, untrained decoder" if self.untrained else name

    def train(self, mode: bool = True) -> "SaliencyModule":
        """Switch the decoder between training and evaluation; the backbone stays frozen in eval mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Predict saliency.

        Args:
            images: [B, 3, H, W] RGB in [0, 1], sides multiples of the patch size.

        Returns:
            [B, H, W] float32, non-negative, on no particular scale.
        """
        if not len(images):  # a process without images: extractors may divide by their number
            return images[:, 0].float()
        return self._decode(self.extract(images), images)

    def extract(self, images: Tensor) -> Tensor:
        """Maps [B, K, h, w] of images [B, 3, H, W] in [0, 1]; maps of pixels are averaged over each patch."""
        maps = self.extractor(self.vit, normalize(self.vit, images))
        return F.adaptive_avg_pool2d(maps, patch_grid(self.vit, images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        pred = self._predict(batch, "train")
        loss = self.loss(pred, density_like(pred, batch["density"]))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(pred), sync_dist=True)
        return loss

    def setup(self, stage: str) -> None:
        """Forget what belongs to the data of an earlier run."""
        self.val_metrics = None
        if self.cache is not None:
            self.cache = MapCache(self.stored)

    def on_validation_start(self) -> None:
        """Make the metrics; shuffled AUC needs all fixations of the split."""
        if self.val_metrics is None:
            self.val_metrics = self._metrics("val")

    def on_test_start(self) -> None:
        """Make the metrics; shuffled AUC needs all fixations of the split."""
        self.test_metrics = self._metrics("test")

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Score a batch; returns the predictions [B, H, W], for callbacks."""
        return self._score(batch, self.val_metrics, self._predict(batch, "val"))

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Score a batch; returns the predictions [B, H, W], for callbacks."""
        images = batch["image"]
        pred = self._decode(self.stored(images), images) if len(images) else self(images)
        return self._score(batch, self.test_metrics, pred)

    def predict_step(self, batch: Batch, batch_idx: int) -> "NativeMaps":
        """Predictions [H0, W0] at each image's native size."""
        return NativeMaps(self(batch["image"]), batch["size"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out the backbone, which the description names."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["state_dict"] = without_backbone(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another model; add the backbone, which it does not hold."""
        super().on_load_checkpoint(checkpoint)
        backbone = {f"vit.{name}": tensor for name, tensor in self.vit.state_dict().items()}
        checkpoint["state_dict"] = {**backbone, **checkpoint["state_dict"]}

    def _metrics(self, split: Literal["val", "test"]) -> MetricCollection:
        data: SaliencyDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        profiles = self.profiles if split == "test" else ("exact",)
        return split_metrics(data, split, profiles, prefix=f"{split}/").to(self.device)

    def _predict(self, batch: Batch, split: str) -> Tensor:
        """Predict a batch of a split that every epoch repeats."""
        images = batch["image"]
        if self.cache is None or not len(images):
            return self(images)
        mirrored = batch.get("mirrored", [False] * len(images))
        keys = [(split, *key) for key in zip(batch["index"].tolist(), mirrored, strict=True)]
        return self._decode(self.cache(keys, images), images)

    def _decode(self, maps: Tensor, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return self.decoder(maps, (height, width)).float()

    def _score(self, batch: Batch, metrics: MetricCollection | None, pred: Tensor) -> Tensor:
        assert metrics is not None  # made when validation or test started
        update_metrics(metrics, pred, batch)
        self.log_dict(dict(metrics.items()), batch_size=len(pred))
        return pred


class NativeMaps:
    """Predictions at native size, each resized when it is asked for: a batch of photographs would fill the memory.

    Args:
        pred: [B, H, W].
        sizes: native (H0, W0) of each image.

    Example:
        >>> maps = NativeMaps(torch.rand(2, 8, 8), [(4, 6), (10, 20)])
        >>> len(maps), maps[1].shape, [saliency.shape[0] for saliency in maps]
        (2, torch.Size([10, 20]), [4, 10])
    """

    def __init__(self, pred: Tensor, sizes: Sequence[Size]) -> None:
        self.pred = pred
        self.sizes = sizes

    def __len__(self) -> int:
        """Number of images."""
        return len(self.sizes)

    def __getitem__(self, index: int) -> Tensor:
        """The prediction of an image: float32 [H0, W0]."""
        return next(at_native_size(self.pred[index][None], [self.sizes[index]]))

    def __iter__(self) -> Iterator[Tensor]:
        """The predictions, one by one."""
        return at_native_size(self.pred, self.sizes)


class MapCache:
    """Extracted maps by key, in host memory and in full precision: a run with it equals one without.

    Args:
        extract: images [B, 3, H, W] → maps [B, K, h, w].

    Example:
        >>> calls = []
        >>> cache = MapCache(lambda images: calls.append(len(images)) or images[:, :1])
        >>> images = torch.rand(3, 3, 2, 2)
        >>> _ = cache(["a", "b"], images[:2])
        >>> bool((cache(["b", "c"], images[1:]) == images[1:, :1]).all()), calls
        (True, [2, 1])
    """

    def __init__(self, extract: Callable[[Tensor], Tensor]) -> None:
        self.extract = extract
        self._maps: dict[Hashable, Tensor] = {}

    def __call__(self, keys: Sequence[Hashable], images: Tensor) -> Tensor:
        """Maps of images [B, 3, H, W] with the given keys; only those not seen before are extracted."""
        missing = [row for row, key in enumerate(keys) if key not in self._maps]
        if missing:
            for row, maps in zip(missing, self.extract(images[missing]).cpu(), strict=True):
                self._maps[keys[row]] = maps.clone()
        return torch.stack([self._maps[key] for key in keys]).to(images.device)


def density_like(pred: Tensor, density: Tensor | list[Tensor]) -> Tensor:
    """Resize ground-truth densities to the prediction, for the loss only.

    Args:
        pred: [B, H, W].
        density: [B, H0, W0], or B tensors of different sizes.

    Returns:
        [B, H, W] on the prediction's device; antialiased bilinear.
    """
    size = pred.shape[-2:]
    batches = [density] if isinstance(density, Tensor) else [one[None] for one in density]
    resized = [
        batch if batch.shape[-2:] == size else resize_antialiased(batch[:, None], size)[:, 0]
        for batch in batches
    ]
    return torch.cat(resized).to(pred.device)
