"""What can be wrong with a dataset on disk."""


class DatasetNotFoundError(FileNotFoundError):
    """The dataset, or a part of it, is not where it was looked for.

    The message names the file looked for, the layout expected and where the dataset is obtained.
    """


class CorruptFileError(ValueError):
    """A file of the dataset is there but cannot be used; the message begins with its path."""
