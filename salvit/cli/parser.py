"""The parser of the command line: one sentence for each typing error."""

import difflib
import re
import sys
from importlib import import_module
from inspect import isabstract
from typing import Never

import jsonargparse
from lightning.pytorch.cli import LightningArgumentParser

_NOISE = re.compile(
    r"Does not validate against any|Subtypes: |Errors:|Given value type: |Given value: (NestedArg|Namespace)"
    r"|Expected a <class 'NoneType'>|Expected a path but "
)
_SUBTYPES = re.compile(r"Subtypes: \[(?:<class '|list\[)(\w+\.[\w.]+)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_NO_METHOD = re.compile(r"Not of type Spelling: (.*)")
_KEY = re.compile(r'Parser key "([^"]+)": ')
_OF_CLASS = re.compile(r"Problem with given class_path '([\w.]+)':\s*")
_NO_OPTION = re.compile(r"Option '([\w.]+)' is not accepted")
_REQUIRED = re.compile(r"the following arguments are required: (.*)")
_NO_ARGUMENT = re.compile(r"unrecognized arguments: --([\w.]+)")
_CHOICES = re.compile(r"Expected a typing\.Literal\[(.*?)\]")
_OURS = ("salvit", "datamodules")


class ArgumentParser(LightningArgumentParser):
    """Lightning's parser without the page of usage above every error."""

    def error(self, message: str, ex: Exception | None = None) -> Never:
        """Print what is wrong, and exit with status 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        text = condensed(message)
        if argument := _NO_ARGUMENT.search(text):
            text = f"no option --{argument[1]}{_hint(argument[1], list(parser.get_defaults().keys()), '--')}"
        if required := _REQUIRED.search(text):
            names = ", ".join(f"--{name.partition('.')[2]}" for name in required[1].split(", "))
            text = f"{names} missing: name it, a --config that does, or the --ckpt_path FILE of a fit"
        command = parser.prog.replace(" [options]", "")
        print(f"salvit: error: {text}\n(`{command} --help` lists the options.)", file=sys.stderr)
        raise SystemExit(2) from ex


def condensed(message: str) -> str:
    """Reduce jsonargparse's message, with a line for each type that a value did not fit, to what helps.

    Example:
        >>> print(condensed('''Parser key "a":
        ...   Does not validate against any of the Union subtypes
        ...   Subtypes: [<class 'int'>, <class 'NoneType'>]
        ...   Errors:
        ...     - Expected a <class 'int'>
        ...     - Expected a <class 'NoneType'>
        ...   Given value type: <class 'str'>
        ...   Given value: b'''))
        --a: expected int; got b
        >>> condensed('''Parser key "a": Expected a typing.Literal['x', 'y']. Got value: b''')
        '--a: expected one of x, y; got b'
    """
    keys = list(dict.fromkeys(_KEY.findall(message.replace(":\n", ": \n"))))
    where = f"--{'.'.join(keys)}: " if keys else ""
    if (method := _NO_METHOD.search(message)) and _NO_CLASS.search(message):
        return where + method[1]
    parts: list[str] = []
    known: list[str] = []
    owner = ""
    for line in message.splitlines():
        text = _KEY.sub("", line.strip().removeprefix("- ") + " ").strip()
        if base := _SUBTYPES.match(text):
            known = _names(base[1])
        if unknown := _NO_CLASS.match(text):
            parts = [f"there is no {unknown[1]}{_hint(unknown[1], known)}"]
            break
        owner = next(reversed(_OF_CLASS.findall(text)), owner)
        text = _OF_CLASS.sub("", text)
        if owner and (option := _NO_OPTION.match(text)):
            parts = [f"{_name(owner)} has no option {option[1]}{_hint(option[1], _options(owner))}"]
            break
        if text and not _NOISE.match(text):
            parts.append(_plain(text))
    return where + "; ".join(dict.fromkeys(parts))


def _plain(text: str) -> str:
    """What was expected and what came, without names of Python's typing module."""
    text = _CHOICES.sub(lambda found: f"expected one of {found[1].replace(chr(39), '')}", text)
    text = re.sub(r"Expected an? <class '(\w+)'>", r"expected \1", text)
    return re.sub(
        r"(?:\. Got|^Given) value: ", lambda found: "; got " if found[0][0] == "." else "got ", text
    )


def _hint(typed: str, known: list[str], dashes: str = "") -> str:
    """The closest known name, and all of them if they are few."""
    close = difflib.get_close_matches(typed, known, n=1)
    hint = f"; did you mean {dashes}{close[0]}?" if close else ""
    return hint + (f"; known are {', '.join(known)}" if known and len(known) < 30 else "")


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _options(path: str) -> list[str]:
    """Names of a class's options."""
    module, _, name = path.rpartition(".")
    parser = jsonargparse.ArgumentParser()
    return list(parser.add_class_arguments(getattr(import_module(module), name), fail_untyped=False))


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
