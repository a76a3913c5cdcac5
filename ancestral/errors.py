"""Errors that a person can act on: what was got, what was expected, what to do.

The command line shows these as one line and exits with status 2. Any other
exception is a defect of the library and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class InvalidInput(ValueError):
    """A value, a file or a name that cannot be used."""


class Unsupported(TypeError):
    """A verb that this model, or an event that this kind of model, cannot serve."""


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return a clause naming the known names most like `name`, or an empty string.

    >>> near_matches("maed", ["made", "nade"])
    ' Did you mean made or nade?'
    """
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""
