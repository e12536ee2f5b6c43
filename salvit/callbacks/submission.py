"""Writing the files of a submission to a benchmark, and checking them before `submission.json` is written."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from datamodules.base import Size
from salvit.callbacks.outputs import claim, output_folder, require_finite
from salvit.errors import InvalidValueError
from salvit.modules.saliency import Batch
from salvit.report.pictures import grey
from salvit.results.atomic import atomic_write
from salvit.results.files import write
from salvit.results.machine import versions
from salvit.submission import SubmissionError, check_submission, stimuli_of, write_hdf5
from salvit.submission.hdf5 import h5py
from salvit.submission.postprocessing import FLOOR, PostProcessing, read_fit
from salvit.submission.stimuli import completeness, file_of
from salvit.vit import weights_hash

Picture = Literal["png", "jpg"]


class SubmissionWriter(Callback):
    """Writes the submission of a benchmark: densities, pictures and log densities at native size.

    Below `folder`, each with the stimulus' name and another ending, in folders apart as benchmarks take one kind:
    `densities/NAME.npy`, float32, positive, sums to 1 (see `salvit.submission.postprocessing.PostProcessing`);
    `maps/NAME.png`, 8-bit grey, ⌊255 u + 0.5⌋ of the density min-max scaled to u; `log_densities.h5`, the natural
    logarithms of the densities, float32, in a dataset per stimulus under its file name, as pysaliency's HDF5Model
    reads them; and `submission.json`: the post-processing and its fit, the checkpoint, the weights' hash, versions.

    Maps are written when their batch is done, each by one process. The last two files are made from them at the end, by
    the first process, one map in memory at a time. They are deleted at the start: if `submission.json` exists,
    everything has passed `check_submission`. To complete an interrupted run, run it again.

    Args:
        folder: where to write; made if need be, and shared by all nodes. By default `submission` in the folder of
            the run.
        picture: "png", or "jpg" at quality 100 without chroma.
        postprocessing: the JSON file of `FitPostProcessing`; None: only the sum and the floor.
        hdf5: write the log densities, which needs the extra `export`.

    Raises:
        ValueError: if `picture` is none of these, or the file holds no post-processing.
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: h5py is needed and not installed.
    """

    def __init__(
        self,
        folder: str | None = None,
        picture: Picture = "png",
        postprocessing: str | None = None,
        hdf5: bool = True,
    ) -> None:
        if picture not in ("png", "jpg"):
            raise InvalidValueError(f'picture is {picture!r}; expected "png" or "jpg"')
        if hdf5:
            h5py()
        self.named = folder
        self.folder = Path(folder or "submission")
        self.picture = picture
        self.hdf5 = hdf5
        self.process = PostProcessing()
        self.fit: dict[str, Any] | None = None
        if postprocessing is not None:
            self.process, self.fit = read_fit(Path(postprocessing))
        self.stimuli: dict[str, Size] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the stimuli, claim the folder, and delete the last two files of an earlier run.

        Raises:
            ValueError: if an image cannot be read, or a file is there that salvit did not write.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        self.stimuli = stimuli_of(data.dataset("predict"))
        if names := ", ".join(item.name for item in getattr(data, "skipped", [])):
            raise InvalidValueError(
                f"a submission needs every image, and {names} cannot be read: replace them"
            )
        self.folder = output_folder(trainer, self.named, "submission")
        last = [self.folder / name for name in ("log_densities.h5", "submission.json")]
        maps = [(path, name) for name in self.stimuli for path in self._files(name)]
        claim(self.folder, [*maps, *((path, path.name) for path in last)], data.dataset("predict"))
        if trainer.is_global_zero:
            for path in last:
                path.unlink(missing_ok=True)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any, **_: Any
    ) -> None:
        """Write the densities and pictures of a batch.

        Raises:
            ValueError: at the first map that is not finite.
        """
        names = list(self.stimuli)
        for index, saliency in zip(batch["index"].tolist(), outputs, strict=True):
            self._write(names[index], saliency)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the maps, gather the log densities, and say what all of it is."""
        trainer.strategy.barrier("maps are written")
        checkpoint = trainer.ckpt_path
        problem = None
        if trainer.is_global_zero:
            problem = self._finish(None if checkpoint is None else str(checkpoint), pl_module)
        # Told to all: one that waited for a process that has failed would wait for ever.
        if problem := trainer.strategy.broadcast(problem):
            raise SubmissionError(problem)
        data = trainer.datamodule  # type: ignore[attr-defined]
        rank_zero_info(f"the submission is in {self.folder}: {completeness(data, len(self.stimuli))}")

    def _files(self, name: str) -> tuple[Path, Path]:
        """Of the density and of the picture of a stimulus."""
        maps = file_of(self.folder / "maps", name, f".{self.picture}")
        return file_of(self.folder / "densities", name, ".npy"), maps

    def _write(self, name: str, saliency: Tensor) -> None:
        require_finite(name, saliency)
        density = self.process(saliency)
        values, picture = self._files(name)
        with atomic_write(values) as file:
            np.save(file, density.float().numpy())
        with atomic_write(picture) as file:
            kind = {"png": "PNG", "jpg": "JPEG"}[self.picture]
            grey(density).save(file, format=kind, quality=100)  # PNG has no quality

    def _finish(self, checkpoint: str | None, module: LightningModule) -> str | None:
        """Check and complete the submission; returns what is wrong with it."""
        try:
            for folder in ("densities", "maps"):
                check_submission(self.folder / folder, self.stimuli)
            if self.hdf5:
                logs = self.folder / "log_densities.h5"
                write_hdf5(logs, ((name, np.load(self._files(name)[0])) for name in self.stimuli))
                check_submission(logs, self.stimuli)
            write(self.folder, {"submission.json": self._record(checkpoint, module)})
        except (OSError, ValueError) as error:
            return str(error)
        return None

    def _record(self, checkpoint: str | None, module: LightningModule) -> dict[str, Any]:
        return {
            "images": len(self.stimuli),
            "postprocessing": self.process.options(),
            "floor": FLOOR,
            "fit": self.fit,
            "picture": f"{self.picture}, floor(255 u + 0.5) of the min-max scaled density u",
            "checkpoint": checkpoint,
            "weights_sha256": weights_hash(module),
            "model": getattr(module, "description", None),
            "versions": versions(),
        }
