"""`ancestral partition`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import (
    add_data,
    add_subject,
    add_verb,
    arguments,
    make_parser,
    named_data,
    parse,
    print_json,
)
from ancestral.models.energy.base import EnergyModel
from ancestral.verbs.inputs import open_data, open_model
from ancestral.verbs.partition import partition, write_partition
from ancestral.zoo import find

DESCRIPTION = """Estimate log Z of an energy model by annealed importance sampling, and keep it with the weights, so that
`ancestral evaluate` gives nats.

MODEL is a run directory, a zoo name or a hub repository; DATA, what it was trained on where not given, is what chains start
from."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("partition", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    add_verb(parser, partition, skip={"model", "data"})
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject = open_model(config.model, config.get("device", "auto"))
    name, options = named_data(config)
    data = open_data(name, subject, options)
    found = partition(subject, data, **arguments(config, partition))
    if config.get("keep", True) and isinstance(subject.model, EnergyModel):
        folder = find(config.model)
        write_partition(subject.model, folder)
        print(f"kept the estimate with the weights in {folder}", file=sys.stderr)
    if config.get("json"):
        print_json(found.to_json())
    else:
        print(found)
    return 0
