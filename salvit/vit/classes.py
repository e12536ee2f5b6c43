"""Names of a model's classes: what a person types for one, and what a class is called in a picture."""

import difflib
import re
import warnings
from collections.abc import Sequence
from functools import cached_property

from timm.data import ImageNetInfo, infer_imagenet_subset

from salvit.errors import InvalidValueError
from salvit.vit import ViT, num_classes

_FEW = 20  # classes that a message lists
_WNID = re.compile(r"n\d{8}")


class Classes:
    """The classes of a classifier head.

    Args:
        count: number of classes; 0 for a model without a head.
        labels: unique label of each class, such as its WordNet ID; empty if unknown.
        names: of each class, synonyms separated by ", "; the labels by default.
        definitions: a sentence on each class, to tell those of one name apart.

    Example:
        >>> shapes = Classes(2, ["disc", "ring"])
        >>> shapes.find("Ring"), shapes.find("0"), shapes.describe(1)
        (1, 0, 'ring (1)')
    """

    def __init__(
        self,
        count: int,
        labels: Sequence[str] = (),
        names: Sequence[str] | None = None,
        definitions: Sequence[str] = (),
    ) -> None:
        self.count = count
        self.labels = list(labels)
        self.names = self.labels if names is None else list(names)
        self.definitions = list(definitions)

    def name(self, index: int) -> str:
        """The first of a class's names, or "" if they are unknown."""
        return self.names[index].split(", ")[0] if self.names else ""

    def describe(self, index: int) -> str:
        """A class as shown: its name and index."""
        return f"{self.name(index)} ({index})" if self.names else f"class {index}"

    def find(self, text: str) -> int:
        """Return the index of the class that a person means.

        Args:
            text: an index, a label (WordNet ID), or any of a class's names in any case.

        Raises:
            ValueError: if there is no such class, or more than one; the message lists those that come close.
        """
        if not self.count:
            raise InvalidValueError(
                f'target "{text}": the model has no classifier head, so it knows no classes; '
                "leave --target out, or load weights that have a head"
            )
        if re.fullmatch(r"-?\d+", text):
            if 0 <= int(text) < self.count:
                return int(text)
            raise InvalidValueError(f"target class {text} is outside 0 … {self.count - 1}")
        if not self.names:
            raise InvalidValueError(
                f'target "{text}": the names of this model\'s {self.count} classes are unknown; '
                f"give an index, 0 … {self.count - 1}, or name them in the JSON file beside the weights, "
                'as "label_names"'
            )
        known = self._known
        found = sorted(known.get(_plain(text), ()))
        if len(found) > 1:
            about = self.definitions or self.labels
            listed = "; ".join(f"{index} ({about[index]})" for index in found)
            raise InvalidValueError(f'target "{text}" names {len(found)} classes, give an index: {listed}')
        if not found:
            close = _closest(_plain(text), list(known))
            hint = ", ".join(f'"{name}" ({min(known[name])})' for name in close)
            listed = f"; classes: {'; '.join(self.names)}" if self.count <= _FEW else ""
            raise InvalidValueError(f'no class "{text}"' + (f"; did you mean {hint}?" if hint else listed))
        return found[0]

    @cached_property
    def _known(self) -> dict[str, set[int]]:
        known: dict[str, set[int]] = {}
        for index, (label, names) in enumerate(zip(self.labels, self.names, strict=True)):
            for name in (label, *names.split(", ")):
                known.setdefault(_plain(name), set()).add(index)
        return known


def classes_of(vit: ViT) -> Classes:
    """Return what is known of a model's classes.

    Names come with the weights (`label_names` in timm's configuration, or in the JSON file beside a weights
    file), else from timm's lists if the head has as many classes as one of the ImageNets.

    Example:
        >>> from salvit.vit import load_vit
        >>> classes = classes_of(load_vit("vit_tiny_patch16_224", pretrained=False, depth=1))
        >>> classes.find("Bull Mastiff"), classes.find("n02108422"), classes.describe(281)
        (243, 243, 'tabby (281)')
    """
    count = num_classes(vit)
    config = getattr(vit, "pretrained_cfg", None) or {}
    labels = list(config.get("label_names") or ())
    subset = infer_imagenet_subset({"num_classes": count})
    if count and labels and len(labels) != count:
        warnings.warn(
            f"label_names that come with the weights name {len(labels)} classes, and the model has {count}: they are "
            "left out",
            stacklevel=2,
        )
    if count and len(labels) == count:
        descriptions = config.get("label_descriptions") or {}
        return Classes(count, labels, [descriptions.get(label, label) for label in labels])
    if subset is None:
        return Classes(count)
    info = ImageNetInfo(subset)
    detailed = info.label_descriptions(detailed=True)
    return Classes(count, info.label_names(), info.label_descriptions(), detailed)


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", name).casefold().split())


def _closest(text: str, known: Sequence[str], number: int = 4) -> list[str]:
    """Names spelled alike, then those with all the words typed, or with the words closest to them."""
    names = [name for name in known if not _WNID.fullmatch(name)]
    vocabulary = sorted({word for name in names for word in name.split()})
    closest = [difflib.get_close_matches(word, vocabulary, 1, 0.75) for word in text.split()]
    words = {word for [word] in closest} if all(closest) else None
    containing = [name for name in names if words and words <= set(name.split())]
    alike = difflib.get_close_matches(text, names, number, 0.75)
    return list(dict.fromkeys([*alike, *containing]))[:number]
