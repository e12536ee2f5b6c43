"""Train a ViT to classify images, from scratch or from published weights."""

import os
from pathlib import Path
from typing import Any

import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from salvit.errors import InvalidValueError
from salvit.modules.checkpoint import describe, stored_path
from salvit.modules.naming import backbone_name
from salvit.modules.trained import TrainedModule
from salvit.vit import ViT, build_vit, input_size, load_vit, normalize

MEAN = STD = (0.5, 0.5, 0.5)
"""Normalisation of a ViT trained here from scratch."""

Batch = dict[str, Any]


class ClassificationModule(TrainedModule):
    """A plain timm ViT, trained on the labels of any datamodule.

    With `dense_weight` > 0 a linear head, used in training only, predicts from each patch token the share of its pixels
    on each class of item and on the target (batches with `items` and `mask`, as of PopOut). A ViT then learns to find
    an odd item from far fewer displays.

    Args:
        num_classes: of the labels.
        vit: arguments of `salvit.vit.build_vit` except `num_classes`, to train from scratch; or a model of
            `salvit.vit.load_vit`, to train with a new head.
        weights: local weights for a timm name.
        pretrained: False for a timm name with random weights.
        dense_weight: weight of the patch tokens' loss beside the class token's cross-entropy.
        label_smoothing: of the class token's cross-entropy.
        lr: peak learning rate of AdamW.
        weight_decay: AdamW's.
        warmup_epochs: epochs of linear warm-up before the cosine.

    Example:
        >>> import torch
        >>> small = {"img_size": 64, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
        >>> module = ClassificationModule(10, vit=small)
        >>> module(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int,
        vit: dict[str, Any] | str,
        weights: str | Path | None = None,
        pretrained: bool = True,
        dense_weight: float = 0.0,
        label_smoothing: float = 0.0,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_epochs: float = 1,
    ) -> None:
        super().__init__(lr, weight_decay, warmup_epochs)
        self.dense_weight = dense_weight
        self.label_smoothing = label_smoothing
        self.trained_steps = 0
        self.vit, self.weights_description = (
            _published(vit, weights, pretrained, num_classes)
            if isinstance(vit, str)
            else _from_scratch(vit, num_classes)
        )
        self.backbone = backbone_name(vit, weights, pretrained)
        architecture = vit if isinstance(vit, dict) else stored_path(vit)
        self.description = describe(
            self,
            # The checkpoint holds all weights, so the published ones are not needed again.
            {
                "num_classes": num_classes,
                "vit": architecture,
                "pretrained": False,
                "dense_weight": dense_weight,
                "label_smoothing": label_smoothing,
                "lr": lr,
                "weight_decay": weight_decay,
                "warmup_epochs": warmup_epochs,
            },
            num_classes=num_classes,
            architecture=architecture,
            dense_head=dense_weight > 0,
        )
        self.dense_head = nn.Linear(self.vit.embed_dim, num_classes + 2) if dense_weight else None
        self.epoch_loss = MeanMetric()
        # In checkpoints, so that a fit that is resumed within an epoch goes on with its mean.
        self.epoch_loss.persistent(True)
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.test_accuracy = MulticlassAccuracy(num_classes, average="micro")

    @property
    def model_name(self) -> str:
        """The model as a row of a table."""
        return f"{self.backbone}, untrained" if self.untrained else self.backbone

    def forward(self, images: Tensor) -> Tensor:
        """Classify images [B, 3, H, W] in [0, 1]: logits [B, num_classes]."""
        logits: Tensor = self.vit(normalize(self.vit, images))
        return logits

    def on_train_epoch_start(self) -> None:
        """Begin a new mean of the loss."""
        self.epoch_loss.reset()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Let dropout, if the ViT has any, follow from seed and step, so that a resumed run goes on exactly."""
        torch.manual_seed(int(os.environ.get("PL_GLOBAL_SEED", 0)) + self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        tokens = self.vit.forward_features(normalize(self.vit, batch["image"]))
        logits = self.vit.forward_head(tokens)
        loss = F.cross_entropy(logits, batch["label"], label_smoothing=self.label_smoothing)
        accuracy = (logits.argmax(1) == batch["label"]).float().mean()
        self.log_dict({"train/loss": loss, "train/accuracy": accuracy}, prog_bar=True, sync_dist=True)
        self.epoch_loss.update(loss.detach(), len(logits))
        self.log("train/epoch_loss", self.epoch_loss, on_epoch=True, on_step=False)
        if self.dense_head is None:
            return loss
        dense = self._dense_loss(self.dense_head(tokens[:, self.vit.num_prefix_tokens :]), batch)
        self.log("train/dense_loss", dense, prog_bar=True)
        return loss + self.dense_weight * dense

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Accuracy of a batch."""
        self._score(batch, self.val_accuracy, "val/accuracy")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Accuracy of a batch; returns its logits [B, num_classes], None if it has no images."""
        return self._score(batch, self.test_accuracy, "test/accuracy")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also keep the number of steps that the weights were trained for."""
        super().on_load_checkpoint(checkpoint)
        self.trained_steps = checkpoint["global_step"]

    def _score(self, batch: Batch, accuracy: MulticlassAccuracy, name: str) -> Tensor | None:
        logits = self(batch["image"]) if len(batch["image"]) else None  # a process may have got none
        if logits is not None:
            accuracy.update(logits, batch["label"])
        self.log(name, accuracy, prog_bar=True, batch_size=len(batch["image"]))
        return logits

    def _dense_loss(self, predictions: Tensor, batch: Batch) -> Tensor:
        """Loss of what each patch shows: an item, its class, the target; predictions are [B, N, classes + 2].

        The loss of the class is averaged over the pixels of items: most patches show ground only.
        """
        patch, kinds = self.vit.patch_embed.patch_size, predictions.shape[-1] - 2
        one_hot = F.one_hot(batch["items"].long(), kinds + 1)[..., 1:].movedim(-1, 1).float()
        shares = F.avg_pool2d(one_hot, patch).flatten(2).transpose(1, 2)
        target = F.avg_pool2d(batch["mask"][:, None], patch).flatten(1)
        classes, item, odd = predictions.split([kinds, 1, 1], dim=-1)
        which = -(shares * classes.log_softmax(-1)).sum() / shares.sum().clamp_min(1)
        presence = F.binary_cross_entropy_with_logits(item[..., 0], shares.sum(-1))
        # Few patches are on the target: the factor brings the three terms to one scale.
        return which + presence + 5 * F.binary_cross_entropy_with_logits(odd[..., 0], target)


def _from_scratch(architecture: dict[str, Any], num_classes: int) -> tuple[ViT, dict[str, Any]]:
    """A ViT with random weights, and the description for its weights file."""
    model = {**architecture, "num_classes": num_classes}
    try:
        vit = build_vit(dynamic_img_size=True, **model)
    except TypeError as error:
        raise InvalidValueError(f"vit: {error}") from error
    vit.pretrained_cfg = {"mean": MEAN, "std": STD, "input_size": (3, *vit.patch_embed.img_size)}
    return vit, {"model": model, "mean": MEAN, "std": STD}


def _published(
    name: str, weights: str | Path | None, pretrained: bool, num_classes: int
) -> tuple[ViT, dict[str, Any]]:
    """A ViT with published weights and a new head, and the description for its weights file."""
    vit = load_vit(name, weights=weights, pretrained=pretrained).requires_grad_(True).train()
    vit.reset_classifier(num_classes)
    model = {"num_classes": num_classes, "img_size": input_size(vit)}
    config = resolve_model_data_config(vit)
    return vit, {"vit": name, "model": model, "mean": list(config["mean"]), "std": list(config["std"])}
