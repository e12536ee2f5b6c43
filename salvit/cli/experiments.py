"""Configs that come with salvit: `--config salvit:osie.yaml` names `experiments/osie.yaml`, from any folder."""

import difflib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from salvit.errors import MissingFileError

PREFIX = "salvit:"
_OPTIONS = ("--config", "-c")


def experiments_folder() -> Path:
    """The folder of the experiments: in the package, where the wheel has them, or beside it in a checkout.

    Example:
        >>> (experiments_folder() / "osie.yaml").is_file()
        True
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "experiments"
    return installed if installed.is_dir() else package.with_name("experiments")


def find_experiment(name: str) -> Path:
    """The file of an experiment.

    Args:
        name: path below the folder of experiments, "osie.yaml" or "agcam/voc.yaml".

    Raises:
        MissingFileError: if there is none of that name; the message lists the names.

    Example:
        >>> find_experiment("agcam/voc.yaml").name
        'voc.yaml'
    """
    folder = experiments_folder()
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))
    if name in names:
        return folder / name
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {PREFIX}{close[0]}?" if close else "."
    raise MissingFileError(f"no experiment {PREFIX}{name}{hint} Known are\n{_listed(names)}")


def with_experiments(arguments: Sequence[str]) -> list[str]:
    """Put the path of its file in the place of each experiment that `--config` names.

    Args:
        arguments: command and options.

    Raises:
        MissingFileError: if there is no such experiment.

    Example:
        >>> [Path(word).name for word in with_experiments(["fit", "--config", "salvit:osie.yaml"])]
        ['fit', '--config', 'osie.yaml']
    """
    found = list(arguments)
    for index, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if equals and option in _OPTIONS and value.startswith(PREFIX):
            found[index] = f"{option}={find_experiment(value.removeprefix(PREFIX))}"
        elif index and arguments[index - 1] in _OPTIONS and word.startswith(PREFIX):
            found[index] = str(find_experiment(word.removeprefix(PREFIX)))
    return found


def _listed(names: Sequence[str]) -> str:
    """One line for each folder."""
    by_folder = sorted(names, key=lambda name: Path(name).parent.as_posix())
    groups = groupby(by_folder, key=lambda name: Path(name).parent.as_posix())
    return "\n".join(f"  {PREFIX}{', '.join(group)}" for _, group in groups)
