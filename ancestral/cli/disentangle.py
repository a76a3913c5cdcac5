"""`ancestral disentangle`."""

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
    print_table,
)
from ancestral.data.shapes import FACTORS
from ancestral.verbs.codes import open_coder
from ancestral.verbs.disentangle import disentangle
from ancestral.verbs.inputs import open_data, open_model

DESCRIPTION = """Measure whether each latent stands for one factor of the data: the mutual information gap, and
disentanglement, completeness and informativeness (DCI). Each is 1 at best.

MODEL is a run directory, a zoo name or a hub repository, of a model without a condition; DATA have known factors, as the data
set `shapes` has."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("disentangle", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_verb(parser, disentangle, skip={"model", "data"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    subject = open_coder(open_model(config.model, config.get("device", "auto")))
    name, options = named_data(config)
    chosen = arguments(config, disentangle)
    factors = list(chosen.get("factors", FACTORS))
    data = open_data(name, subject, {"condition": factors if len(factors) != 1 else factors[0], **options})
    found = disentangle(subject, data, **chosen)
    if config.get("json"):
        print_json(found.to_json())
        return 0
    mean = {"gap": found.gap, "completeness": found.completeness, "informativeness": found.informativeness}
    rows = [(name, *(f"{value:.3f}" for value in row.values())) for name, row in {**found.by_factor, "mean": mean}.items()]
    print(f"{found.latents} latents, {found.count} data ({found.data}); disentanglement {found.disentanglement:.3f}\n")
    print_table(("factor", *mean), rows, tuple(mean))
    return 0
