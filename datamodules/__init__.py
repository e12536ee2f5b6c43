"""Lightning datamodules, one per dataset."""

from datamodules.base import SaliencyDataModule
from datamodules.class_folder import ClassFolderDataModule
from datamodules.collate import collate
from datamodules.cub200 import CUB200DataModule
from datamodules.dataset import SaliencyDataset
from datamodules.errors import CorruptFileError, DatasetNotFoundError
from datamodules.explanation import ExplanationDataModule
from datamodules.files import FilesDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.imagenet_val import ImageNetValDataModule
from datamodules.osie import OSIEDataModule
from datamodules.popout import PopOutDataModule
from datamodules.salicon import SaliconDataModule
from datamodules.voc2012 import VOC2012DataModule

__all__ = [
    "CUB200DataModule",
    "ClassFolderDataModule",
    "CorruptFileError",
    "DatasetNotFoundError",
    "ExplanationDataModule",
    "FilesDataModule",
    "ImageFolderDataModule",
    "ImageNetValDataModule",
    "OSIEDataModule",
    "PopOutDataModule",
    "SaliconDataModule",
    "SaliencyDataModule",
    "SaliencyDataset",
    "VOC2012DataModule",
    "collate",
]
