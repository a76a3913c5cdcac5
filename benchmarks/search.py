"""Microseconds to find a code among a million: looked up within a Hamming ball, and by search."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ancestral.verbs.code_index import CodeIndex, faiss

BITS = (32, 64)
K = 10


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the table: ways to search, by the bits of a code."""
    count, queries = (2000, 5) if tiny else (1_000_000, 50)
    library = faiss()
    library.omp_set_num_threads(1)
    random = np.random.default_rng(0)
    rows = []
    for bits in BITS:
        codes = random.integers(0, 256, (count, bits // 8), dtype=np.uint8)
        asked = codes[random.integers(count, size=queries)].copy()
        asked[:, 0] ^= 1  # one bit from a code that is there
        index = CodeIndex(codes, bits, np.zeros(bits, np.float32), (), "random", "")
        several = library.IndexBinaryMultiHash(bits, 2, 16)
        several.nflip = 1
        several.add(codes)

        def brute(code: np.ndarray, codes: np.ndarray = codes) -> None:
            distance = np.bitwise_count(codes ^ code).sum(1, dtype=np.uint8)
            np.argpartition(distance, K)[:K]

        ways: list[tuple[str, Callable[[np.ndarray], Any], int]] = [
            ("`ancestral search --radius 1`", lambda code, index=index: index.within(code, 1), queries),
            ("`ancestral search --radius 2`", lambda code, index=index: index.within(code, 2), queries),
            ("faiss `IndexBinaryMultiHash`, 2 bits", lambda code, i=several: i.range_search(code[None], 3), queries),
            (f"faiss `IndexBinaryFlat`, {K} nearest", lambda code, i=index: i._flat.search(code[None], K), queries),
            (f"numpy, {K} nearest", brute, max(1, queries // 10)),
        ]
        for name, way, some in ways:
            way(asked[0])  # builds what is built once
            times = []
            for _ in range(repeats):
                begun = time.process_time()
                for code in asked[:some]:
                    way(code)
                times.append((time.process_time() - begun) / some * 1e6)
            rows.append((str(bits), name, f"{statistics.median(times):,.0f}", f"{min(times):,.0f} to {max(times):,.0f}"))
    note = (
        f"{count:,} codes, drawn uniformly, in memory; each query is one bit from a code that is there, one query at a time,"
        " on one core; microseconds that the processor counts, since other work shared the machine."
        f" Medians of {repeats} repeats of {queries} queries (numpy: fewer), with the least and the greatest. Codes of data"
        " are not uniform: where more of them lie in a ball, returning them takes as much longer."
    )
    return [{"title": "A million codes", "header": ("bits", "way", "µs per query", "range"), "rows": rows, "notes": [note]}]
