"""`salvit explain` as a person runs it, and what it leaves."""

import csv
from pathlib import Path

import pytest

from salvit.__main__ import main


def explain(*arguments):
    main(["explain", *(str(argument) for argument in arguments)])


def failure(capsys, *arguments, status=1):
    """What a command that fails says is wrong."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        explain(*arguments)
    error = capsys.readouterr().err
    assert exit_.value.code == status
    assert error.count("salvit: error: ") == 1
    assert "Traceback" not in error
    return error.partition("salvit: error: ")[2]


def index(out="runs/explain"):
    with (Path(out) / "explain.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(out="runs/explain"):
    return sorted(
        path.relative_to(out).as_posix()
        for path in Path(out).rglob("*")
        if path.is_file() and path.name != ".lock"
    )
