"""Heatmaps of the same few images during training, which show how attention develops."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from salvit.callbacks.explanation_pictures import overlaid
from salvit.callbacks.wandb_panels import wandb_loggers
from salvit.extractors import parse_method
from salvit.extractors.spelling import Spelling
from salvit.modules.classification import ClassificationModule
from salvit.report.grid import Cell, grid, thumbnail
from salvit.report.pictures import photo
from salvit.results.files import write
from salvit.vit import ViT, normalize
from salvit.vit.classes import Classes


class AttentionPanel(Callback):
    """Draws a method's heatmaps of fixed val images every few epochs, each for the image's label.

    Written to the log folder as `pictures/epoch_NNN.png`, and to W&B. The images are evenly spaced over the val split;
    if it is sorted by class, as in a folder per class, each class has one.

    Args:
        count: number of images.
        every: epochs between two panels; the first and the last epoch always have one.
        method: the method whose heatmaps are drawn.

    Raises:
        ValueError: if the model does not support the method.
    """

    def __init__(self, count: int = 10, every: int = 5, method: Spelling = "attention_gradient") -> None:
        self.count = count
        self.every = every
        self.method = parse_method(method)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a method that the model does not support before training starts."""
        assert isinstance(pl_module, ClassificationModule)
        with _evaluating(pl_module.vit):
            self.method.check(pl_module.vit)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the panel."""
        assert isinstance(pl_module, ClassificationModule)
        epoch = trainer.current_epoch
        last = trainer.should_stop or epoch + 1 == trainer.max_epochs
        folder = trainer.log_dir  # asked on every process: it is broadcast
        if not trainer.is_global_zero or not (last or epoch % self.every == 0):
            return
        picture = self.picture(trainer, pl_module)
        if folder is not None:
            write(folder, {f"pictures/epoch_{epoch:03d}.png": picture})
        for logger in wandb_loggers(trainer):
            logger.log_image("val/attention", [picture])

    def picture(self, trainer: Trainer, module: ClassificationModule) -> Image.Image:
        """Images with their labels, and below them heatmaps with the predicted classes."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        dataset = data.dataset("val")
        names = getattr(data, "class_names", [])
        classes = Classes(len(names), names)
        count = min(self.count, len(dataset))
        samples = [dataset[index * len(dataset) // count] for index in range(count)]
        images = torch.stack([sample["image"] for sample in samples]).to(module.device)
        target = torch.tensor([sample["label"] for sample in samples], device=module.device)
        inputs = normalize(module.vit, images)
        with _evaluating(module.vit), torch.no_grad():
            predicted = module.vit(inputs).argmax(1).tolist()
            maps = self.method(module.vit, inputs, target).mean(1)
        above, below = [], []
        for image, sample, heatmap, guess in zip(images, samples, maps, predicted, strict=True):
            above.append(Cell(thumbnail(photo(image)), classes.describe(sample["label"]), ""))
            below.append(Cell(overlaid(image, heatmap), "", f"predicted: {classes.describe(guess)}"))
        return grid([above, below])


@contextmanager
def _evaluating(vit: ViT) -> Iterator[None]:
    """Put a model into eval mode, and back into the mode in which it was."""
    was_training = vit.training
    vit.eval()
    try:
        yield
    finally:
        vit.train(was_training)
