"""Sparse attention beside dense: score entries, time and memory of two layers' attention, from 1k to 64k positions.

python -m benchmarks.attention --lengths 1024 4096     print the table of some lengths
"""

import argparse
import contextlib
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ancestral.layers.sparse_patterns import ScoreEntries, make_parts, score_entries
from benchmarks import page
from benchmarks.harness import peak_memory

LENGTHS = (1024, 4096, 16384, 65536)
HEADS, FEATURES = 4, 32
SUMMARY = 8
OPTIONS: dict[str, dict[str, Any]] = {
    "dense": {},
    "strided": {"pattern": "strided"},
    "fixed": {"pattern": "fixed", "summary": SUMMARY},
}
"""What is compared; sparse patterns have strides of sqrt(n)."""
LONG = 30.0
"""Seconds after which a timing is not repeated."""


@dataclass(frozen=True)
class Cost:
    """What two layers' attention costs, forward alone, and forward and backward.

    Args:
        seconds: median times.
        memory: largest memory beyond that of queries, keys and values, MB.
    """

    seconds: tuple[float, float]
    memory: tuple[float, float]


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the table."""
    return [table((64, 256) if tiny else LENGTHS, repeats)]


def table(lengths: Sequence[int], repeats: int) -> dict[str, Any]:
    """Return the table of some lengths; each cost is of a process of its own."""
    rows = []
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.harness", "ancestral.layers.sparse_patterns"])
    with context.Pool(1, maxtasksperchild=1) as pool:  # each measurement in a process of its own
        for n in lengths:
            for name in OPTIONS:
                cost = pool.apply(_cost, (name, n, repeats, torch.get_num_threads()))
                print(f"attention: {n} positions, {name}: {cost}", file=sys.stderr, flush=True)
                rows.append(_row(n, name, cost))
    return {
        "title": f"Two layers' attention, {HEADS} heads of {FEATURES} features, batch 1, float32",
        "header": [
            "positions n",
            "attention",
            "score entries of a head",
            "of them needed",
            "entries / n sqrt(n)",
            "forward, s",
            "and backward, s",
            "forward, MB",
            "and backward, MB",
        ],
        "rows": rows,
        "notes": [
            "Dense is PyTorch's `scaled_dot_product_attention`, twice; the others are the two parts of a pattern with a stride"
            f" of sqrt(n), fixed with {SUMMARY} summary columns. Entries are queries times keys of each product that is asked"
            " for; of a causal product a kernel may leave out up to half, in all rows. Memory is beyond that of queries, keys"
            " and values; PyTorch's dense attention holds no n x n matrix either. Times are medians of"
            f" {repeats}, or of fewer where they take longer than {LONG:.0f} s together."
        ],
    }


def _row(n: int, name: str, cost: Cost) -> list[str]:
    entries = ScoreEntries(2 * n * n, n * (n + 1)) if name == "dense" else score_entries(n, **OPTIONS[name])
    return [
        f"{n:,}",
        name,
        f"{entries.computed:,}",
        f"{entries.needed / entries.computed:.0%}",
        f"{entries.computed / n**1.5:.3g}",
        *(f"{seconds:.3g}" for seconds in cost.seconds),
        *(f"{memory:,.0f}" for memory in cost.memory),
    ]


# In the process of a measurement


def _cost(name: str, n: int, repeats: int, threads: int) -> Cost:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    _both(name, _inputs(64))  # what the first call loads is no cost of the length
    given = _inputs(n)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the largest memory so far
    start = peak_memory()

    def forward() -> None:
        with torch.no_grad():
            _attention(name, given)

    seconds, memory = [], []
    for run in (forward, lambda: _both(name, given)):
        seconds.append(_seconds(run, repeats))
        memory.append(peak_memory() - start)
    return Cost((seconds[0], seconds[1]), (memory[0], memory[1]))


def _inputs(n: int) -> list[Tensor]:
    return [torch.randn(1, HEADS, n, FEATURES, requires_grad=True) for _ in range(3)]


def _attention(name: str, given: Sequence[Tensor]) -> Tensor:
    q, k, v = given
    if name == "dense":
        return F.scaled_dot_product_attention(F.scaled_dot_product_attention(q, k, v, is_causal=True), k, v, is_causal=True)
    first, second = make_parts(n=q.shape[2], **OPTIONS[name])
    return second.attend(first.attend(q, k, v), k, v)


def _both(name: str, given: Sequence[Tensor]) -> None:
    _attention(name, given).sum().backward()


def _seconds(run: Callable[[], None], repeats: int) -> float:
    times: list[float] = []
    while len(times) < repeats and sum(times) < LONG:
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS, help="positions")
    parser.add_argument("--repeats", type=int, default=5, help="timings of each")
    given = parser.parse_args()
    facts = {"table": "attention", "machine": page.machine(), "threads": torch.get_num_threads()}
    print(page.render({**facts, "tables": [table(given.lengths, given.repeats)]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
