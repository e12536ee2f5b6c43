"""Annotations in Pascal VOC's XML, which ImageNet uses as well."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from datamodules.dataset import Size
from datamodules.errors import CorruptFileError

Objects = tuple[NDArray[np.float64], NDArray[np.int64], Size | None]


def read_objects(path: Path, classes: Mapping[str, int], first: int) -> Objects:
    """Read the objects of an image: ``object/{name, bndbox/{xmin, ymin, xmax, ymax}}`` and ``size``.

    Coordinates may be fractional; what else an object has (parts with boxes of their own, an empty
    ``difficult``) is not looked at.

    Args:
        path: of the XML file.
        classes: index of each class by name.
        first: 1 if pixels are counted from 1 and a box includes its last one, as in Pascal VOC: the left and
            upper edge are then one less; 0 if the file has edges.

    Returns:
        Boxes float64 [n, 4] of edges (x0, y0, x1, y1), the indices of their classes int64 [n], and the
        (height, width) that the file gives, None if it gives none.

    Raises:
        CorruptFileError: if the file is missing, is not XML of this form, declares a document type (whose
            entities could swell to any size), or names an unknown class; names its path.
    """
    root = _parse(path)
    try:
        objects = root.findall("object")
        boxes = [
            [_number(item, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")] for item in objects
        ]
        labels = [classes[_text(item, "name")] for item in objects]
        size = (int(_number(root, "size/height", 0)), int(_number(root, "size/width", 0)))
    except KeyError as error:
        raise CorruptFileError(
            f"{path}: unknown class {error}; expected one of {len(classes)} names."
        ) from error
    except (ValueError, OverflowError) as error:
        raise CorruptFileError(f"{path}: {error}.") from error
    edges = np.array(boxes, np.float64).reshape(-1, 4) - np.array([first, first, 0, 0])
    return edges, np.array(labels, np.int64), size if min(size) > 0 else None


def _parse(path: Path) -> Element:
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(path.read_bytes(), True)
    # An encoding that Python does not know or expat cannot use is a LookupError or a ValueError.
    except (expat.ExpatError, ValueError, LookupError, OSError) as error:
        raise CorruptFileError(
            f"{path}: cannot read the annotation ({type(error).__name__}: {error}); "
            "replace the file, or leave such images out with on_error='skip'."
        ) from error
    root: Element = builder.close()
    return root


def _refuse(*_: object) -> None:
    raise ValueError("a document type is declared, which annotations have no use for")


def _text(element: Element, name: str) -> str:
    text = (element.findtext(name) or "").strip()
    if not text:
        raise ValueError(f"<{element.tag}> has no <{name.replace('/', '><')}>")
    return text


def _number(element: Element, name: str, default: float | None = None) -> float:
    if default is not None and not (element.findtext(name) or "").strip():
        return default
    return float(_text(element, name))
