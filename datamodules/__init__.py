"""Lightning datamodules: ``datasets`` has one file per dataset, ``popout`` generates displays, ``base`` is shared."""

from datamodules.base import (
    CorruptFileError,
    DatasetNotFoundError,
    ExplanationDataModule,
    FilesDataModule,
    SaliencyDataModule,
    SaliencyDataset,
    collate,
)
from datamodules.datasets.cat2000 import CAT2000DataModule
from datamodules.datasets.cub200 import CUB200DataModule
from datamodules.datasets.image_folder import ClassFolderDataModule, ImageFolderDataModule
from datamodules.datasets.imagenet import ImageNetValDataModule
from datamodules.datasets.mit import MIT300DataModule, MIT1003DataModule
from datamodules.datasets.osie import OSIEDataModule
from datamodules.datasets.p3o3 import P3O3DataModule
from datamodules.datasets.salicon import SaliconDataModule
from datamodules.datasets.tiny_imagenet import TinyImageNetDataModule
from datamodules.datasets.voc2012 import VOC2012DataModule
from datamodules.popout import PopOutDataModule

__all__ = [
    "CAT2000DataModule",
    "CUB200DataModule",
    "ClassFolderDataModule",
    "CorruptFileError",
    "DatasetNotFoundError",
    "ExplanationDataModule",
    "FilesDataModule",
    "ImageFolderDataModule",
    "ImageNetValDataModule",
    "MIT300DataModule",
    "MIT1003DataModule",
    "OSIEDataModule",
    "P3O3DataModule",
    "PopOutDataModule",
    "SaliconDataModule",
    "SaliencyDataModule",
    "SaliencyDataset",
    "TinyImageNetDataModule",
    "VOC2012DataModule",
    "collate",
]
