"""Errors that a user can mend: the command line shows them as one sentence, without a traceback.

Each is also of the built-in kind that it specialises, so `except ValueError` catches an `InvalidValueError`.
"""


class SalvitError(Exception):
    """A mistake in what was typed, passed or stored; the message says what is wrong and what to do.

    Example:
        >>> issubclass(InvalidValueError, SalvitError), issubclass(InvalidValueError, ValueError)
        (True, True)
    """


class InvalidValueError(SalvitError, ValueError):
    """An argument, or the content of a file, has a value that does not fit."""


class InvalidTypeError(SalvitError, TypeError):
    """An argument has the wrong type."""


class InvalidIndexError(SalvitError, IndexError):
    """A block, class or image has an index that does not exist."""


class MissingFileError(SalvitError, FileNotFoundError):
    """A file or folder is not there."""


class CannotWriteError(SalvitError, OSError):
    """A file or folder cannot be written."""


class MissingExtraError(SalvitError, ModuleNotFoundError):
    """An optional package is not installed; the message names the extra to install."""


class UnavailableError(SalvitError, RuntimeError):
    """A device, a download or a folder cannot be used now."""
