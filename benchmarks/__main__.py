"""Run benchmarks and write docs/benchmarks.md, and tables of other pages, from what they measured.

python -m benchmarks                          all tables, then the page
python -m benchmarks made vae --repeats 3     some tables, then the page
python -m benchmarks made --json              print one table's measurements; write nothing
python -m benchmarks --render                 the page alone, from benchmarks/out/
"""

import argparse
import importlib
import json
import sys

import torch

from benchmarks import page
from benchmarks.harness import Settings, run

TABLES = ("made", "gated_pixelcnn", "realnvp", "maf", "spline_flow", "vae", "dcgan", "rbm")
"""Tables of contenders that train and score."""
OTHERS = (
    "sampling",
    "decoding",
    "wavenet",
    "attention",
    "codecs",
    "loop_overhead",
    "sparse_coding",
    "features",
    "generators",
    "outlier_pairs",
    "outliers",
    "retrieval",
    "search",
)
"""Tables that measure something else."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"any of {', '.join((*TABLES, *OTHERS))}; default: all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--seconds", type=float, default=1.0, help="least length of one timing")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each contender")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--group", default="", help="only groups whose name contains this")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, to see that a script runs; writes nothing")
    parser.add_argument("--processor", action="store_true", help="seconds of the processor, of one thread, not of the wall")
    parser.add_argument("--json", action="store_true", help="print the measurements and write nothing")
    parser.add_argument("--render", action="store_true", help="write the page from earlier measurements")
    given = parser.parse_args(arguments)
    if given.processor and given.threads != 1:
        parser.error("--processor is for one thread: pass --threads 1")
    names = given.tables or [*TABLES, *OTHERS]
    for name in names:
        if name not in (*TABLES, *OTHERS):
            parser.error(f"there is no table {name!r}: choose from {', '.join((*TABLES, *OTHERS))}")
    for name in [] if given.render else names:
        result = measure(name, given)
        if given.json or given.tiny:
            print(json.dumps(result) if given.json else page.render(result))
        else:
            page.keep(result)
    if not (given.json or given.tiny):
        page.write(page.OUT)
    return 0


def measure(name: str, given: argparse.Namespace) -> dict[str, object]:
    """Return the measurements of one table, with the machine they were made on."""
    facts = {"table": name, "machine": page.machine(), "repeats": given.repeats, "threads": given.threads}
    if name == "loop_overhead":
        from benchmarks import loop_overhead

        steps = 200 if given.tiny else 2000
        return {**facts, "threads": 1, "steps": steps, "microseconds": loop_overhead.measure(steps, given.repeats)}
    module = importlib.import_module(f"benchmarks.{name}")
    if name in OTHERS:
        return {**facts, "tables": module.measure(given.tiny, given.repeats)}
    table = module.TABLE
    groups = {}
    for precision in given.precision:
        settings = Settings(precision, given.threads, given.seconds, given.repeats, given.tiny, given.processor)
        groups[precision] = run(table, settings, given.group)
    return {**facts, "seconds": given.seconds, "processor": given.processor, "groups": groups}


if __name__ == "__main__":
    sys.exit(main())
