"""Lightning datamodules, one per dataset."""

from datamodules.base import SaliencyDataModule
from datamodules.cat2000 import CAT2000DataModule
from datamodules.class_folder import ClassFolderDataModule
from datamodules.collate import collate
from datamodules.cub200 import CUB200DataModule
from datamodules.dataset import SaliencyDataset
from datamodules.errors import CorruptFileError, DatasetNotFoundError
from datamodules.explanation import ExplanationDataModule
from datamodules.files import FilesDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.imagenet_val import ImageNetValDataModule
from datamodules.mit300 import MIT300DataModule
from datamodules.mit1003 import MIT1003DataModule
from datamodules.osie import OSIEDataModule
from datamodules.p3o3 import P3O3DataModule
from datamodules.popout import PopOutDataModule
from datamodules.salicon import SaliconDataModule
from datamodules.voc2012 import VOC2012DataModule

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
    "VOC2012DataModule",
    "collate",
]
