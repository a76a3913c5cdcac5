"""`ancestral demo`."""

from collections.abc import Sequence


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    return 0
