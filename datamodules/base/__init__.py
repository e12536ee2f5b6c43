"""The parts that all datasets share."""

from datamodules.base.annotations import (
    Objects,
    as_points,
    read_mat,
    read_mat_map,
    read_objects,
    read_picture_map,
    read_table,
)
from datamodules.base.datamodule import PREDICT_ONLY, TEST_IS_VAL, SaliencyDataModule, Split, Splits
from datamodules.base.dataset import (
    Batch,
    CorruptFileError,
    DatasetNotFoundError,
    SaliencyDataset,
    Sample,
    Size,
    collate,
    track,
)
from datamodules.base.files import ExplanationDataModule, FilesDataModule
from datamodules.base.fixations import fixation_counts, fixation_density, inside
from datamodules.base.folders import divided, drawn, list_images, printable, unique_names
from datamodules.base.images import (
    as_rgb,
    read_bright,
    read_density,
    read_image,
    read_mask,
    read_size,
    to_tensor,
)
from datamodules.base.stimuli import MaskReader, Stimulus, StimulusDataset
from datamodules.base.view import (
    Annotation,
    AnnotationReader,
    center_crop,
    mirrored,
    see_boxes,
    squash,
    warn_boxes,
)
