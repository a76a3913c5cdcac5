"""`ancestral data`."""

from collections.abc import Sequence

from ancestral.cli.parsing import add_data, make_parser, named_data, parse, print_json, print_table
from ancestral.data import known, load
from ancestral.data.files import names_below_root, root

DESCRIPTION = """List the data that have a name, or show how DATA is read: its event, its splits and its record.

Any path to a file or a folder, and any data set of the Hugging Face hub, is data too."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("data", "[DATA] [options]", DESCRIPTION)
    parser.add_argument("source", nargs="?", type=str, metavar="DATA", help="a data name or path")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    name, options = named_data(config)
    if name is None:
        return _list(bool(config.get("json")))
    data = load(name, **options)
    facts = {
        "name": data.name,
        "about": data.about,
        "event": str(data.event),
        "condition": None if data.condition is None else str(data.condition),
        "splits": {**{k: len(split) for k, split in data.splits.items()}, **dict.fromkeys(data.streams, "streamed")},
        "record": data.record,
    }
    if config.get("json"):
        print_json(facts)
        return 0
    print_table(("", ""), [(key, str(value)) for key, value in facts.items() if key != "record"])
    return 0


def _list(as_json: bool) -> int:
    entries = known()
    if as_json:
        print_json([entry._asdict() for entry in entries])
        return 0
    rows = [(e.name, "yes" if e.available else "no", e.event, e.about) for e in entries]
    print_table(("name", "here", "event", "what it is"), rows)
    listed = {entry.name for entry in entries}
    others = [name for name in names_below_root() if name not in listed]
    print(f"\ndata folder: {root()} (set ANCESTRAL_DATA to change it)")
    if others:
        print(f"also there: {', '.join(others)}")
    print("also data: the path of a file or folder (CSV, Parquet, NumPy, images), and any data set of the Hugging Face hub")
    return 0
