"""The command line's parser, which says in one sentence what is wrong with what was typed."""

import difflib
import re
import sys
from importlib import import_module
from inspect import isabstract
from typing import Never

from lightning.pytorch.cli import LightningArgumentParser

_NOISE = re.compile(
    r"Does not validate against any|Subtypes: |Errors:|Given value type: |Given value: (NestedArg|Namespace)"
    r"|Expected a <class 'NoneType'>|Expected a path but "
)
_SUBTYPES = re.compile(r"Subtypes: \[(?:<class '|list\[)(\w+\.[\w.]+)")
_UNKNOWN = re.compile(r"Expected a dot import path string: (\S+)")
_OURS = ("salvit", "datamodules")


class ArgumentParser(LightningArgumentParser):
    """Lightning's parser without the page of usage above every error."""

    def error(self, message: str, ex: Exception | None = None) -> Never:
        """Print what is wrong and exit with status 2.

        Args:
            message: what jsonargparse reports.
            ex: the exception behind it.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        command = (getattr(ex, "subcommand_parser", None) or self).prog.replace(" [options]", "")
        print(
            f"salvit: error: {condensed(message)}\n(`{command} --help` lists the options.)", file=sys.stderr
        )
        raise SystemExit(2) from ex


def condensed(message: str) -> str:
    """Reduce jsonargparse's tree of everything that was tried to the branch that matters.

    Args:
        message: of several lines, one per type that a value did not fit.

    Example:
        >>> print(condensed('''Parser key "a":
        ...   Does not validate against any of the Union subtypes
        ...   Subtypes: [<class 'int'>, <class 'NoneType'>]
        ...   Errors:
        ...     - Expected a <class 'int'>
        ...     - Expected a <class 'NoneType'>
        ...   Given value type: <class 'str'>
        ...   Given value: b'''))
        Parser key "a": Expected a <class 'int'>; Given value: b
    """
    parts: list[str] = []
    known: list[str] = []
    for line in message.splitlines():
        text = line.strip().removeprefix("- ").removeprefix("Not of type Spelling: ")
        if base := _SUBTYPES.match(text):
            known = _names(base[1])
        if unknown := _UNKNOWN.match(text):
            close = difflib.get_close_matches(unknown[1], known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            text = f"there is no {unknown[1]}{hint}" + (f"; known are {', '.join(known)}" if known else "")
        if text and not _NOISE.match(text) and text not in parts:
            parts.append(text)
    return re.sub(r":; ", ": ", "; ".join(parts))


def _names(base: str) -> list[str]:
    """Names of this project's classes that may stand for a base class."""
    module, _, name = base.rpartition(".")
    pending, found = [getattr(import_module(module), name)], set()
    while pending:
        one = pending.pop()
        pending += one.__subclasses__() if one is not type else []
        if one.__module__.partition(".")[0] in _OURS and not isabstract(one):
            found.add(one.__name__)
    return sorted(found)
