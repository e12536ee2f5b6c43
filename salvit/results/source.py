"""The code that made results, so that cached results of other code are not used."""

import hashlib
import inspect
import secrets
from functools import cache
from pathlib import Path

import datamodules
import salvit

_PACKAGES = (salvit, datamodules)


@cache
def package_hash() -> str:
    """Return the SHA-256 of salvit's source files, names and contents, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for folder in package.__path__:
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package.__name__} {file.relative_to(folder)}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def code_of(thing: object) -> str:
    """Name the class of an object, with the code of the class and its base classes.

    The result is `module.Class`. For a class from outside salvit, the SHA-256 of the files of its classes follows; the
    code of salvit is in `package_hash`. Code that cannot be read, such as a class typed into a prompt, gets a new hash
    each time.

    Example:
        >>> from salvit.extractors import Rollout
        >>> code_of(Rollout())
        'salvit.extractors.rollout.Rollout'
    """
    kind = type(thing)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if _is_shipped(kind):
        return name
    digest = hashlib.sha256()
    for each in kind.__mro__:
        if not _is_shipped(each):
            digest.update(_source(each))
    return f"{name} {digest.hexdigest()}"


def _is_shipped(kind: type) -> bool:
    packages = {package.__name__ for package in _PACKAGES} | {"abc", "builtins"}
    return kind.__module__.partition(".")[0] in packages


def _source(kind: type) -> bytes:
    try:
        return Path(inspect.getsourcefile(kind) or "").read_bytes()
    except (TypeError, OSError):
        return secrets.token_bytes()
