"""Drawing images at random, the same ones everywhere."""

from collections.abc import Iterable
from hashlib import sha256


def drawn(names: Iterable[str], seed: int) -> list[str]:
    """Put names into the order of a hash of seed and name.

    Unlike a shuffle it is the same with every version of every library, and whatever order the names come in.

    Example:
        >>> drawn(["cat", "dog", "owl"], seed=0) == drawn(["owl", "cat", "dog"], seed=0)
        True
    """
    return sorted(names, key=lambda name: sha256(f"{seed}:{name}".encode()).digest())


def divided(names: Iterable[str], seed: int, share: float) -> tuple[list[str], list[str]]:
    """Divide images into train and val by the order of a hash of seed and name.

    Args:
        names: of the images.
        seed: another one gives another split.
        share: of the images that are in train.

    Returns:
        The names of train and of val, each sorted.

    Example:
        >>> divided(["ant", "bee", "cat", "dog", "owl"], seed=0, share=0.8)
        (['ant', 'bee', 'dog', 'owl'], ['cat'])
    """
    ranked = drawn(names, seed)
    train = round(share * len(ranked))
    return sorted(ranked[:train]), sorted(ranked[train:])
