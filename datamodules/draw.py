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
