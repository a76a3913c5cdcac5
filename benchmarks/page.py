"""docs/benchmarks.md, and tables of other pages: their generated parts, from the measurements in benchmarks/out/."""

import datetime
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from ancestral.files import write_text
from benchmarks.harness import Measure, Table

OUT = Path(__file__).resolve().parent / "out"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
ELSEWHERE = {
    "outlier_pairs": "outliers.md",
    "outliers": "outliers.md",
    "features": "representations.md",
    "generators": "sample-quality.md",
    "retrieval": "search.md",
    "search": "search.md",
}
"""Pages of tables that stand on another one."""
UNTIMED = ("outlier_pairs", "outliers", "features", "generators", "retrieval")
"""Tables in which nothing is timed."""
PACKAGES = ("ancestral", "torch", "lightning", "zuko", "nflows", "normflows", "pythae", "transformers", "pyod", "scikit-learn")
OURS, BARE = "ancestral", "bare loop"
COMPARED = ("train", "score", "sample")
"""Measures that have a column of ratios."""
BUSY = 0.5
"""Load average above which a machine is said to have been shared."""


def machine() -> dict[str, Any]:
    """Return what a reader has to know of the machine: measured, not typed."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cpus": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": sorted(flags & {"avx512_bf16", "amx_bf16", "bf16"}),
        "python": platform.python_version(),
        "system": platform.system(),
        "load": os.getloadavg()[0],
        "versions": versions,
    }


def keep(result: dict[str, Any]) -> None:
    """Write the measurements of one table to benchmarks/out/, for the page."""
    OUT.mkdir(exist_ok=True)
    write_text(OUT / f"{result['table']}.json", json.dumps(result, indent=1) + "\n")


def kept(name: str) -> list[dict[str, Any]]:
    """Return what `keep` wrote of a measurement before: its tables, or none."""
    path = OUT / f"{name}.json"
    tables: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["tables"] if path.is_file() else []
    return tables


def keep_among(facts: dict[str, Any], table: dict[str, Any], key: str, order: Sequence[str]) -> None:
    """Write one table of a measurement to benchmarks/out/, in the place of an earlier one, with its others.

    Args:
        facts: the measurement, but for its tables.
        table: the table.
        key: its entry that tells it from the others.
        order: values of that entry, in the order of the page.
    """
    by_key = {each[key]: each for each in [*kept(facts["table"]), table]}
    keep({**facts, "tables": [by_key[value] for value in order if value in by_key]})


def write(out: Path) -> None:
    """Write the generated parts of the pages anew, from the tables that were measured."""
    for path in sorted(out.glob("[!.]*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        place = page_of(result["table"])
        write_text(place, insert(place.read_text(encoding="utf-8"), result["table"], render(result)))


def page_of(name: str) -> Path:
    """Return the page that a table stands on."""
    return PAGE.with_name(ELSEWHERE.get(name, PAGE.name))


def insert(text: str, name: str, content: str) -> str:
    """Return `text` with `content` between the marks of `name`."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = text.split(start)
    return f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"


def render(result: dict[str, Any]) -> str:
    """Return one table's part of the page."""
    parts = [_machine(result)]
    if "microseconds" in result:
        rows = [(name, f"{value:.0f}") for name, value in result["microseconds"].items()]
        parts.append(_markdown(("loop", "µs per step"), rows))
        return "\n\n".join(parts)
    if "tables" in result:
        for table in result["tables"]:
            parts += [f"### {table['title']}", _markdown(table["header"], table["rows"]), *table["notes"]]
        return "\n\n".join(parts)
    table = importlib.import_module(f"benchmarks.{result['table']}").TABLE
    names = [group["group"] for group in next(iter(result["groups"].values()))]
    for name in names:
        parts.append(f"### {name[0].upper()}{name[1:]}")
        for precision, groups in result["groups"].items():
            contenders = next(group["contenders"] for group in groups if group["group"] == name)
            parts.append(_group(table, precision, contenders))
            if precision == "float32":
                parts.append(_goals(contenders))
    return "\n\n".join(parts)


def _machine(result: dict[str, Any]) -> str:
    m = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items() if version != "absent")
    text = (
        f"{m['date']}; {m['cpu']}, {m['cpus']} CPUs ({m['instructions']}), {result['threads']} "
        f"thread{'s' if result['threads'] > 1 else ''}; {m['system']}, Python {m['python']}; {versions}."
    )
    if "tables" not in result:  # those say for themselves what their figures are
        text += f" Median of {result['repeats']} interleaved repeats, with the least and the greatest."
    if m["load"] > BUSY and result["table"] not in UNTIMED:
        text += (
            f" **The machine was shared**: its load average was {m['load']:.1f} before the first process of this run started."
            " Ratios, taken repeat by repeat, say more than absolute figures."
        )
    if result.get("processor"):
        text += " Seconds are those that the processor counts for a contender, so that what others take of it is left out."
    if not m["bfloat16"] and "bfloat16" in result.get("groups", {}):
        text += " This CPU has no bfloat16 instructions, so that bfloat16 is emulated: no gain can be expected of it here."
    return text


def _group(table: Table, precision: str, contenders: list[dict[str, Any]]) -> str:
    measured = {m: spec for m, spec in table.measures.items() if any(m in c.get("seconds", {}) for c in contenders)}
    header = [f"{precision}", "parameters"]
    for key, spec in measured.items():
        header.append(spec.title)
        if key in COMPARED:
            header.append("ancestral is")
    header.append("training memory, MB")
    rows, skipped = [], []
    for c in contenders:
        if "skipped" in c:
            skipped.append(f"{c['name']} was skipped: {c['skipped']}.")
            continue
        row = [c["name"], f"{c['parameters'] / 1e6:.2f} M"]
        for key, spec in measured.items():
            seconds = c["seconds"].get(key)
            row.append(_shown(spec, seconds) if seconds else "")
            if key in COMPARED:
                row.append("" if c["name"] == OURS or not seconds else f"{ratio(contenders, c, key):.2f}x")
        rows.append((*row, f"{c['memory']:.0f}" if "memory" in c else ""))
    return "\n\n".join([_markdown(header, rows), *skipped])


def _shown(spec: Measure, seconds: Sequence[float]) -> str:
    values = [1.0 / s if spec.rate else s * spec.scale * spec.unit for s in seconds]
    median, least, greatest = statistics.median(values), min(values), max(values)
    return f"{_number(median)} ({_number(least)} to {_number(greatest)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(contenders: list[dict[str, Any]], other: dict[str, Any], measure: str) -> float:
    """Return how many times as fast as `other` this project's training loop is: the median of the ratios of the repeats."""
    first = next(c for c in contenders if c["name"] == OURS)
    pairs = zip(other["seconds"][measure], first["seconds"][measure], strict=True)
    return statistics.median(theirs / own for theirs, own in pairs)


def _goals(contenders: list[dict[str, Any]]) -> str:
    lines = []
    for c in contenders:
        if c["name"] == OURS or "skipped" in c:
            continue
        value = ratio(contenders, c, "train")
        if c["name"] == f"{OURS}, {BARE}":
            goal, least = "within 10% of the bare loop over the same module", 0.9
        elif BARE in c["name"] and not c["name"].startswith(OURS):
            goal, least = "within 10% of plain torch", 0.9
        elif c["name"].startswith(OURS):
            continue
        else:
            goal, least = f"at least equal to {c['name']}", 1.0
        lines.append(f"- training {goal}: {'reached' if value >= least else '**not reached**'} ({value:.2f}x)")
    return "\n".join(lines)


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))
