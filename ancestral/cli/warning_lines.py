"""Warnings as lines, for commands."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning as one line, at once: before the text that it is about."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *rest: print(f"ancestral: warning: {message}", file=sys.stderr)
        yield
