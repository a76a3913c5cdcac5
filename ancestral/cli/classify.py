"""`ancestral classify`."""

from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_subject, add_verb, arguments, make_parser, named_data, parse, print_json
from ancestral.verbs.classify import classify, reading
from ancestral.verbs.inputs import open_data, open_model

DESCRIPTION = """Say how many data of a split a model puts into their class. The classes of a model that has seen no labels
are matched with them one to one, by the labels of another split.

MODEL is a run directory, a zoo name or a hub repository, of a model that tells classes."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("classify", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_verb(parser, classify, skip={"model", "data"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject = open_model(config.model, config.get("device", "auto"))
    name, options = named_data(config)
    data = open_data(name, subject, {**reading(subject, config.get("by", "label")), **options})
    found = classify(subject, data, **arguments(config, classify))
    if config.get("json"):
        print_json(found.to_json())
        return 0
    how = "" if found.matched is None else f", classes matched one to one on {found.matched}"
    print(
        f"{found.errors} errors of {found.count} data ({found.data}, {found.split} split{how}): accuracy"
        f" {found.accuracy:.2%} ± {found.standard_error:.2%}"
    )
    return 0
