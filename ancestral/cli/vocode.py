"""`ancestral vocode`."""

import sys
from collections.abc import Sequence

from ancestral.cli.parsing import add_data, add_subject, add_verb, arguments, check_output, make_parser, open_subject, parse
from ancestral.verbs.sample import FILES, save
from ancestral.verbs.vocode import vocode

DESCRIPTION = """Draw sounds from the log-mel spectra of recordings, and print how far their spectra are from the recordings'.

MODEL is a run directory, a zoo name or a hub repository, trained with --data.condition mel; DATA is what it was trained on
where not given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("vocode", "MODEL [DATA] [options]", DESCRIPTION)
    add_subject(parser)
    parser.add_argument("-o", "--output", type=str, help=f"file to write the sounds to, {', '.join(FILES)}")
    add_verb(parser, vocode, skip={"model", "data"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    if config.get("output"):
        check_output(config["output"], FILES)
    subject, data = open_subject(config)
    done = vocode(subject, data, **arguments(config, vocode))
    if config.get("output"):
        save(done.drawn, done.event, config["output"])
        print(f"wrote {len(done.drawn)} sounds to {config['output']}", file=sys.stderr)
    print(done)
    return 0
