"""What all datasets share: a file for each question, from the pixels up to the datamodule."""

from datamodules.base.annotations import (
    Objects,
    as_points,
    points_of,
    read_mat,
    read_mat_map,
    read_objects,
    read_picture_map,
)
from datamodules.base.collate import Batch, collate, collate_none
from datamodules.base.datamodule import PREDICT_ONLY, TEST_IS_VAL, SaliencyDataModule, Split, Splits
from datamodules.base.dataset import (
    CorruptFileError,
    DatasetNotFoundError,
    SaliencyDataset,
    Sample,
    Size,
    track,
)
from datamodules.base.files import ExplanationDataModule, FilesDataModule, Skipped
from datamodules.base.fixations import fixation_counts, fixation_density, inside, mean_density
from datamodules.base.folders import divided, drawn, list_images, picture_suffixes, unique_names
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
    View,
    center_crop,
    mirrored,
    see_boxes,
    squash,
    warn_boxes,
)
