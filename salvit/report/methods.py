"""Which method works on which family of timm's ViTs, as a page: `python -m salvit.report.methods docs/methods.md`.

The text comes from the methods' docstrings, `methods.md` and `families.csv`. Each method checks a model of each family,
on the meta device, so no weights are needed.
"""

import inspect
import re
import sys
import textwrap
from pathlib import Path
from string import Template

import pandas as pd
import torch

from salvit.errors import InvalidValueError
from salvit.extractors import METHODS
from salvit.extractors.base import Extractor
from salvit.results.atomic import atomic_write
from salvit.vit import ViT, load_vit

FAMILIES = list(pd.read_csv(Path(__file__).with_name("families.csv")).itertuples(index=False))
"""Kinds of ViT: `what` sets one apart, the timm `architecture` that is checked, and published models, `members`."""
REFUSED = Path(__file__).with_name("refused.txt").read_text(encoding="utf-8").split()


def methods_page() -> str:
    """The page, in Markdown.

    Example:
        >>> methods_page().splitlines()[0]
        '# Methods, and the models they work on'
    """
    template = Template(Path(__file__).with_name("methods.md").read_text(encoding="utf-8"))
    return template.substitute(
        methods=_methods(),
        sources=_sources(),
        families=_families(),
        support=_support(),
        refused=_refused(),
    )


def short_reason(extractor: Extractor, error: Exception) -> str:
    """Why an extractor refuses a model: the error of its `check`, without the names of extractor and model.

    Example:
        >>> from salvit.extractors import LeGrad
        >>> short_reason(LeGrad(), ValueError("legrad needs attention maps, and this Beit has none"))
        'needs attention maps, and this model has none'
    """
    reason = str(error).removeprefix(f"{extractor} ")
    return re.sub(r"(?:this |(?<=of ))(?:VisionTransformer|Beit|Eva|NaFlexVit)\w*", "this model", reason)


def _model(architecture: str) -> ViT:
    with torch.device("meta"):
        return load_vit(architecture, pretrained=False, depth=2, num_classes=10)


def _methods() -> str:
    header = ["method", "class", "what a map is", "class-specific", "options and their defaults"]
    rows = []
    for name, method in METHODS.items():
        defaults = {one.name: repr(one.default) for one in inspect.signature(method).parameters.values()}
        options = ", ".join(f"`{option}={default}`" for option, default in defaults.items())
        specific = "yes" if method.class_specific else "no"
        text = _paragraphs(method)[0]
        rows.append(
            [f"`{name}`", f"`{method.__name__}`", text, specific, options.replace("'", '"') or "none"]
        )
    return _table(header, rows)


def _sources() -> str:
    lines = []
    for name, method in METHODS.items():
        for text in _paragraphs(method):
            if text.startswith("Source: "):
                line = f"- `{name}`: {text.removeprefix('Source: ')}"
                lines.append(textwrap.fill(line, 120, subsequent_indent="  ", break_on_hyphens=False))
    return "\n".join([*lines, ""])


def _paragraphs(method: type[Extractor]) -> list[str]:
    return [" ".join(text.split()) for text in (inspect.getdoc(method) or "").split("\n\n")]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else "A" + chr(ord("A") + index - 26)


def _families() -> str:
    rows = [
        [_letter(index), family.what, family.members, f"`{family.architecture}`"]
        for index, family in enumerate(FAMILIES)
    ]
    return _table(["", "family", "such as", "model checked"], rows)


def _support() -> str:
    notes: dict[str, int] = {}
    models = [_model(family.architecture) for family in FAMILIES]
    rows = [[f"`{name}`", *(_cell(method, vit, notes) for vit in models)] for name, method in METHODS.items()]
    table = _table(["", *(_letter(index) for index in range(len(FAMILIES)))], rows)
    reasons = [f"{number}. {note}" for note, number in notes.items()]
    return "\n".join([table, *(textwrap.fill(one, 120, subsequent_indent="   ") for one in reasons), ""])


def _cell(method: type[Extractor], vit: ViT, notes: dict[str, int]) -> str:
    """A tick, or the number of the reason why the method refuses the model."""
    extractor = method()
    try:
        extractor.check(vit)
    except ValueError as error:
        return str(notes.setdefault(short_reason(extractor, error), len(notes) + 1))
    return "✓"


def _refused() -> str:
    return _table(["model", "why"], [[f"`{name}`", _why_not(name)] for name in REFUSED])


def _why_not(architecture: str) -> str:
    try:
        load_vit(architecture, pretrained=False)
    except ValueError as error:
        return str(error).partition("not a plain ViT: ")[2].partition("; take one")[0]
    raise InvalidValueError(f"{architecture} is a plain ViT: take it out of REFUSED")


if __name__ == "__main__":
    with atomic_write(Path(sys.argv[1])) as part:
        part.write(methods_page().encode())
