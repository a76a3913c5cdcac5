"""Show the doctests of a docstring as a highlighted example, wherever in the docstring they stand."""

from typing import Any

import griffe


def fence(text: str) -> str:
    """Put a fence around each run of lines from a `>>>` to the next blank line."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if not inside and line.lstrip().startswith(">>>"):
            lines.append("```pycon")
            inside = True
        elif inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line)
    return "\n".join([*lines, "```"] if inside else lines)


class Doctests(griffe.Extension):
    """Rewrites docstrings as they are loaded; Markdown would read `>>>` as three nested quotations."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None and ">>>" in obj.docstring.value:
            obj.docstring.value = fence(obj.docstring.value)
