"""`ancestral zoo`."""

from collections.abc import Sequence

from ancestral.cli.parsing import make_parser, parse, print_json, print_table
from ancestral.zoo import entries, folders

DESCRIPTION = "List the trained models: names that evaluate, sample, score and compare take."


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("zoo", "[--json]", DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="print JSON")
    config = parse(parser, argv)
    found = entries()
    if config.get("json"):
        print_json([{**vars(entry), "path": str(entry.path)} for entry in found])
        return 0
    if not found:
        places = ", ".join(str(place) for place in folders()) or "no folder"
        print(f"the zoo is empty (looked in {places}): `ancestral fit` trains a model, `ancestral demo` shows how")
        return 0
    rows = [(e.name, e.model or "", e.data or "", e.figure, "weights" if e.trained else "recipe only") for e in found]
    print_table(("name", "model", "data", "test figure", "has"), rows)
    return 0
