"""Lightning datamodules, one per dataset."""

from datamodules.base import SaliencyDataModule
from datamodules.class_folder import ClassFolderDataModule
from datamodules.collate import collate
from datamodules.dataset import SaliencyDataset
from datamodules.errors import CorruptFileError, DatasetNotFoundError
from datamodules.files import FilesDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.osie import OSIEDataModule
from datamodules.popout import PopOutDataModule
from datamodules.salicon import SaliconDataModule

__all__ = [
    "ClassFolderDataModule",
    "CorruptFileError",
    "DatasetNotFoundError",
    "FilesDataModule",
    "ImageFolderDataModule",
    "OSIEDataModule",
    "PopOutDataModule",
    "SaliconDataModule",
    "SaliencyDataModule",
    "SaliencyDataset",
    "collate",
]
