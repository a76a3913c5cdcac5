"""`ancestral complete`."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ancestral.cli.parsing import (
    add_data,
    add_verb,
    arguments,
    check_output,
    make_parser,
    open_some,
    parse,
    print_json,
    print_table,
)
from ancestral.errors import InvalidInput
from ancestral.verbs.complete import Completion, complete
from ancestral.verbs.completion_files import FILES, save
from ancestral.verbs.inputs import open_model
from ancestral.verbs.observed import PARTS, SEQUENCE_PARTS

DESCRIPTION = """Draw the part of each datum that was not observed, given the part that was, and write a picture: what was
given, the completions with their log-likelihoods, and the truth where it is known.

MODEL is a run directory, a zoo name or a hub repository. What is completed is a split of DATA (of what the model was
trained on where not given), or image files and folders of them."""
LIMIT = 8
"""Data of a split that are completed where no number is given."""


def run(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = make_parser("complete", "MODEL [DATA] --observed PART [options]\nMODEL IMAGE... --observed PART", DESCRIPTION)
    parser.add_argument("model", type=str, metavar="MODEL", help="run directory, zoo name or hub repository")
    parser.add_argument(
        "sources", nargs="*", type=str, default=None, metavar="DATA", help="a data set, or images and folders of them"
    )
    parts = ", ".join(PARTS + SEQUENCE_PARTS)
    parser.add_argument(
        "--observed", type=str, metavar="PART", help=f"{parts}, or a file in which it is white: mask.png, or true: mask.npy"
    )
    parser.add_argument("-n", "--count", type=int, default=8, help="completions of each datum")
    parser.add_argument("-o", "--output", type=str, default="completions.png", help=f"file to write: {', '.join(FILES)}")
    parser.add_argument("--split", type=str, default="test", help="split of DATA")
    parser.add_argument("--limit", type=int, default=LIMIT, help="data of the split that are completed, the first ones")
    parser.add_argument("--condition", type=str, metavar="C", help="for conditional models, in place of what DATA say")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_verb(parser, complete, skip={"model", "x", "observed", "n", "condition"})
    add_data(parser, "the same as DATA")
    config = parse(parser, argv)
    if not config.get("observed"):
        raise InvalidInput(f"--observed is missing: give one of {', '.join(PARTS)}, or a file such as mask.png")
    output = check_output(config.get("output", "completions.png"), FILES)
    subject = open_model(config.model, config.get("device", "auto"))
    x, condition, names, files = open_some(config, subject, LIMIT)
    truth = None if files else x.cpu()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = complete(
            subject,
            x,
            config.observed,
            config.get("count", 8),
            config.get("condition", condition),
            **arguments(config, complete, skip={"observed", "condition"}),
        )
    for warning in caught:
        print(f"ancestral: warning: {warning.message}", file=sys.stderr)
    save(done, subject.model.event, output, truth)
    _print(done, names, as_json=bool(config.get("json")))
    print(f"wrote {done.x.shape[1]} completions of {len(names)} data ({done.kind}) to {output}", file=sys.stderr)
    return 0


def _print(done: Completion, names: list[str], *, as_json: bool) -> None:
    sizes = [None] * len(names) if done.effective_sample_size is None else done.effective_sample_size.tolist()
    figures = [[]] * len(names) if done.log_prob is None else done.log_prob.tolist()
    if as_json:
        evidence = [None] * len(names) if done.log_evidence is None else done.log_evidence.tolist()
        rows: list[dict[str, Any]] = [
            {"datum": name, "method": method, "log_prob": values, "log_evidence": z, "effective_sample_size": _finite(size)}
            for name, method, values, z, size in zip(names, done.method, figures, evidence, sizes, strict=True)
        ]
        print_json({"kind": str(done.kind), "completions": rows})
        return
    columns = ["datum", "method", "log p(completion | observed), nats", "effective sample size"]
    cells = [
        [name, method, " ".join(f"{value:.1f}" for value in values), "" if _finite(size) is None else f"{size:.1f}"]
        for name, method, values, size in zip(names, done.method, figures, sizes, strict=True)
    ]
    shown = len(columns) if done.effective_sample_size is not None else len(columns) - 1
    print_table(columns[:shown], [row[:shown] for row in cells], numbers=columns[3:])


def _finite(size: float | None) -> float | None:
    return None if size is None or size == float("inf") else size
