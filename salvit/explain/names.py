"""What a file can be called."""

LONGEST = 255
"""Bytes of a file's name, on nearly every system."""


def is_utf8(name: str) -> bool:
    r"""Whether a name can be written to a file as text; one of other bytes, which Linux allows, cannot.

    Example:
        >>> is_utf8("Größe.jpg"), is_utf8("Gr\udcf6\udcdfe.jpg")
        (True, False)
    """
    return name == printable(name)


def printable(name: str) -> str:
    r"""A name with its bytes that are no text written out.

    Example:
        >>> print(printable("Größe.jpg"), printable("Gr\udcf6\udcdfe.jpg"))
        Größe.jpg Gr\udcf6\udcdfe.jpg
    """
    return name.encode(errors="backslashreplace").decode()
