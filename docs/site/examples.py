"""Extension of griffe: "Example:" in a docstring is a section of examples, as "Examples:" is."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Shows what follows >>> as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section before the docstring is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")
