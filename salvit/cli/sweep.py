"""The command `salvit sweep`: the rows of a W&B sweep definition one after the other, without W&B's server."""

import importlib
import itertools
import shlex
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from salvit.__main__ import main as salvit
from salvit.cli.experiments import PREFIX, find_experiment
from salvit.cli.interrupt import importing
from salvit.cli.quiet import is_quiet
from salvit.errors import InvalidValueError, MissingFileError, SalvitError

_HELP = """usage: salvit sweep FILE [--PARAMETER VALUE]... [options]

sweep: fit and test every row of a sweep. FILE is a sweep definition of W&B with method: grid, and a row is a
combination of its parameters' values. What an agent of W&B would run is run here, row by row, and then tested.
salvit:sweeps/k.yaml comes with salvit: the numbers of salient locations of Table 3.

options:
  --PARAMETER VALUE     of a parameter of FILE, such as --config or --model.extractor: takes the place of its values;
                        typed twice, it has two values
  --OPTION VALUE        any other option of `salvit fit` and `salvit test`, for all rows
  --dry_run             print the command lines, and exit
  -h, --help            this page

Rows share what they can: the packages are imported once, and with cache_maps: true a map that a row has extracted is
extracted for no other row. A row has a process of its own, so its scores are those that it has alone.

examples:
  salvit sweep salvit:sweeps/k.yaml
  salvit sweep salvit:sweeps/k.yaml --config salvit:osie.yaml --data.root PATH --wandb false
  salvit sweep salvit:sweeps/k.yaml --model.extractor salient_attention:k=8
"""


def main(arguments: Sequence[str]) -> None:
    """Run a command line.

    Args:
        arguments: what was typed after `salvit sweep`.

    Raises:
        SystemExit: with status 2 if the command line or the file is wrong, or with the status of the first row that
            fails.
    """
    if not arguments or {"-h", "--help"} & set(arguments):
        print(_HELP, end="")
        raise SystemExit(0 if arguments else 2)
    options = list(arguments[1:])
    try:
        lines = list(commands(read_sweep(arguments[0]), options))
    except SalvitError as error:
        print(f"salvit: error: {error}\n(`salvit sweep --help` lists the options.)", file=sys.stderr)
        raise SystemExit(2) from error
    if "--dry_run" in options:
        print(*(shlex.join(["salvit", *line]) for line in lines), sep="\n")
        return
    with importing():
        importlib.import_module("salvit.cli.command")  # once, for all processes to come
    for line in lines:
        print(shlex.join(["salvit", *line]), file=sys.stderr, flush=True)
        _run(line)


def read_sweep(name: str) -> dict[str, Any]:
    """Read a sweep definition.

    Args:
        name: path of a file, or "salvit:sweeps/k.yaml", one that comes with salvit.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no grid of parameters over `salvit fit`.

    Example:
        >>> read_sweep("salvit:sweeps/k.yaml")["method"]
        'grid'
    """
    path = find_experiment(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else Path(name)
    if not path.is_file():
        raise MissingFileError(f"no file {path}; {PREFIX}sweeps/k.yaml comes with salvit")
    try:
        sweep = yaml.safe_load(path.read_text(encoding="utf-8"))
        grid = sweep["method"] == "grid" and all(map(_values, sweep["parameters"].values()))
        if not grid or sweep["command"].index("fit") < 0:
            raise ValueError
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidValueError(
            f"{path} is no W&B sweep with method: grid, parameters with value or values, and a command with fit"
        ) from error
    return dict(sweep)


def commands(sweep: dict[str, Any], options: Sequence[str]) -> Iterator[list[str]]:
    """The command lines of a sweep after the word `salvit`: fit and test of each row.

    Args:
        sweep: as `read_sweep` returns it.
        options: typed after the file.

    Example:
        >>> sweep = {"parameters": {"model.lr": {"values": [0.1, 0.2]}}, "command": ["salvit", "fit", "${args}"]}
        >>> for line in commands(sweep, ["--model.lr", "0.5", "--wandb", "false"]):
        ...     print(*line)
        fit --model.lr=0.5 --wandb false
        test --model.lr=0.5 --wandb false --ckpt_path last
    """
    typed, others = _taken(sweep["parameters"], options)
    values = {name: typed.get(name) or _values(about) for name, about in sweep["parameters"].items()}
    words = sweep["command"][sweep["command"].index("fit") + 1 :]
    for row in itertools.product(*values.values()):
        drawn = [f"--{name}={value}" for name, value in zip(values, row, strict=True)]
        common = [part for word in words for part in (drawn if word == "${args}" else [word])]
        line = [*common, *others, *["-q"] * is_quiet()]
        yield ["fit", *line]
        yield ["test", *line, "--ckpt_path", "last"]


def _values(parameter: dict[str, Any]) -> list[Any]:
    return list(parameter["values"]) if "values" in parameter else [parameter["value"]]


def _taken(parameters: dict[str, Any], options: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The typed values of parameters, and the other words."""
    typed: dict[str, list[str]] = {}
    others: list[str] = []
    words = iter([word for word in options if word != "--dry_run"])
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in parameters:
            value = value if equals else next(words, "")
            if not value:
                raise InvalidValueError(f"--{name} has no value")
            typed.setdefault(name, []).append(value)
        else:
            others.append(word)
    return typed, others


def _run(line: list[str]) -> None:
    """Run a command in a process of its own that has salvit's packages already; exit with its status unless it is 0."""
    # Only Linux forks safely where libraries such as torch have been loaded; elsewhere each process imports them.
    make = get_context("fork").Process if sys.platform == "linux" else get_context("spawn").Process
    sys.stdout.flush()
    process = make(target=salvit, args=(line,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode if process.exitcode > 0 else 1)
