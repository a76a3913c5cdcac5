"""Write the generated parts of README.md and docs/: models from the registry, results from the figures in zoo/.

    python docs/generate.py           write them
    python docs/generate.py --check   exit with status 1 if any is not current

A generated part stands between `<!-- name -->` and `<!-- /name -->`; what is around it is written by hand.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ancestral.likelihood import NONE
from ancestral.models import registry
from ancestral.models.base import Model

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = ("autoregressive", "latent", "flow", "adversarial", "energy", "representation")
UNITS = {"nats": "nats", "bits/dim": "bits_per_dim", "bits/sample": "bits_per_dim", "bits/byte": "bits_per_byte"}
NAMES = {
    "nats": "nats per example, lower is better",
    "bits/dim": "bits per dimension, lower is better",
    "bits/sample": "bits per sample, lower is better",
    "bits/byte": "bits per byte, lower is better",
    "BLEU": "BLEU, higher is better",
}
DIGITS = {"nats": 2, "BLEU": 2}
"""Digits behind the point; 3 for other units."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Return a Markdown table; the columns of `right` are aligned to the right."""
    rule = ["---:" if i in set(right) else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


# Models


def models(link: Callable[[str], str | None]) -> str:
    """Return the table of all registered models; `link` gives the address of a model's page."""
    rows = []
    for cls in sorted(map(registry.get, registry.names()), key=lambda cls: (FAMILIES.index(cls.family), cls.name)):
        if not cls.__module__.startswith("ancestral."):
            continue  # another package's: it is on this machine, not in this project
        page = link(cls.name)
        name = f"[`{cls.name}`]({page})" if page else f"`{cls.name}`"
        takes = ", ".join(cls.takes) + (" images" if cls.images_only else "")
        rows.append((name, cls.family, cls.summary, takes, likelihood(cls), cls.reference))
    return table(("model", "family", "what it is", "takes", "likelihood", "reference"), rows)


def likelihood(cls: type[Model]) -> str:
    """Return the kind of a model's likelihood, by the kind of data where it depends on them."""
    if cls.likelihood != NONE or not cls.can("log_prob"):
        return str(cls.likelihood)
    kinds: dict[str, list[str]] = {}
    for example in cls.examples:
        of = kinds.setdefault(str(cls(**example).likelihood), [])
        of.append("discrete data" if example["event"].discrete else "real data")
    return "; ".join(f"{kind} on {' and '.join(dict.fromkeys(of))}" for kind, of in kinds.items())


# Results


@dataclass(frozen=True)
class Result:
    """What `zoo/NAME/figures.json` says of one trained model, of data of so many levels (None for real ones)."""

    name: str
    model: str
    figures: dict[str, Any]
    levels: int | None = 2

    @property
    def test(self) -> dict[str, Any]:
        """The figures on the test split, as `ancestral evaluate --json` prints them."""
        return self.figures["test"]

    @property
    def published(self) -> list[dict[str, Any]]:
        """Published figures on the same data; the first is the one that ours is compared with."""
        return self.figures.get("published", [])

    @property
    def unit(self) -> str:
        """A key of `NAMES`: the unit of the published figure, or else the usual one of such data."""
        if self.published:
            unit: str = self.published[0]["unit"]
            return unit
        if self.test.get("bits_per_byte") is not None:
            return "bits/byte"
        if self.test.get("unit") == "bits/sample":
            return "bits/sample"
        return "bits/dim" if self.levels is not None and self.levels > 2 else "nats"

    @property
    def value(self) -> float:
        """Our figure in `unit`."""
        return self.of("test")

    def of(self, split: str) -> float:
        """Our figure on a split, in `unit`."""
        found: float = self.figures["bleu"][split]["bleu"] if self.unit == "BLEU" else self.figures[split][UNITS[self.unit]]
        return found

    @property
    def standard_error(self) -> float:
        """Standard error of `value`, in `unit`."""
        if self.unit == "BLEU":
            return self.figures["bleu"]["test"]["standard_error"]
        return self.test["standard_error"] * (self.value / self.test["nats"])

    @property
    def shown(self) -> str:
        """Our figure with its standard error."""
        return f"{self.value:.{self.digits}f} ± {self.standard_error:.{self.digits}f}"

    @property
    def per_entry(self) -> str:
        """Our figure for each entry: bits, or what else such data are measured in, which is then named."""
        if self.test.get("nats_per_point") is not None:
            return f"{self.test['nats_per_point']:.4f} nats/point"
        if self.test.get("bits_per_dim") is None:
            return ""
        unit = self.test.get("unit", "bits/dim")
        return f"{self.test['bits_per_dim']:.4f}{'' if unit == 'bits/dim' else ' ' + unit}"

    @property
    def digits(self) -> int:
        """Digits behind the point of a figure in `unit`."""
        return DIGITS.get(self.unit, 3)

    @property
    def kind(self) -> str:
        """Whether the figure is a likelihood or a bound; of BLEU, how sentences were translated."""
        return str(self.figures["bleu"]["test"]["how"] if self.unit == "BLEU" else self.test["kind"])

    @property
    def gap(self) -> str:
        """How far we are from the first published figure."""
        if not self.published:
            return "none published"
        gap = self.value - self.published[0]["value"]
        word = "level" if abs(gap) <= 2 * self.standard_error else "ahead" if (gap > 0) == (self.unit == "BLEU") else "behind"
        return f"{gap:+.{self.digits}f} ({word})".replace("-", "−")


def read_results(zoo: Path) -> list[Result]:
    """Return the recorded results, by data and then best first."""
    results = []
    for path in sorted(zoo.glob("*/figures.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))
        if "test" in figures and math.isfinite(figures["test"].get("nats") or math.nan):
            config = json.loads(path.with_name("config.json").read_text(encoding="utf-8"))
            results.append(
                Result(path.parent.name, config["model"]["name"], figures, config.get("event", {}).get("levels", 2))
            )
    return sorted(results, key=lambda r: (r.test["data"], r.test["nats"]))


def cite(published: dict[str, Any]) -> str:
    """Return a published figure with its system and confidence mark."""
    return f"{published['system']} {published['value']:g} [{published['confidence']}]"


def brief(results: Sequence[Result]) -> str:
    """Return the table of README.md."""
    rows = [
        (
            r.test["data"],
            f"`{r.name}`",
            f"{r.shown} {r.unit}",
            r.kind,
            cite(r.published[0]) if r.published else "none",
            r.gap,
        )
        for r in results
    ]
    return table(("data", "zoo name", "test, ± standard error", "kind", "published", "gap"), rows, right=(2, 5))


def full(results: Sequence[Result]) -> str:
    """Return the body of docs/results.md: for each data set ours among the published, then how ours were made."""
    parts = []
    for data in dict.fromkeys(r.test["data"] for r in results):
        ours = [r for r in results if r.test["data"] == data]
        unit = ours[0].unit
        ranked = [(r.value, (f"**{r.model}**", f"**{r.shown}**", r.kind, f"`zoo/{r.name}`")) for r in ours]
        seen = set()
        for p in (p for r in ours for p in r.published if p["unit"] == unit):
            if (p["system"], p["value"]) not in seen:
                seen.add((p["system"], p["value"]))
                ranked.append((p["value"], (p["system"], f"{p['value']:g}", "", f"{p['source']} [{p['confidence']}]")))
        ranked.sort(key=lambda row: row[0], reverse=unit == "BLEU")
        counts = sorted({f"{r.test['count']:,} examples of the {r.test['split']} split" for r in ours})
        parts += [
            f"## {data}",
            f"{NAMES[unit]}; ours on {' and '.join(counts)}.",
            table(("system", unit, "kind", "source"), (row for _, row in ranked), right=(1,)),
            table(
                ("zoo name", "parameters", "nats", "bits/dim", "compared with", "gap", "goal", "validation", "training"),
                (_detail(r) for r in ours),
                right=(1, 2, 3, 5, 6, 7, 8),
            ),
            "\n".join(f"- `{r.name}`: {r.figures['note']}" for r in ours if r.figures.get("note")),
            "\n".join(
                f"- `{r.name}`: {found['count']:,} sentences translated in {found['seconds']:.0f} s; `{found['signature']}`"
                for r in ours
                for found in (r.figures.get("bleu", {}).get("test"),)
                if found
            ),
            "```sh\n" + "\n".join(r.figures["command"] for r in ours if r.figures.get("command")) + "\n```",
        ]
    return "\n\n".join(filter(None, parts))


def _detail(r: Result) -> tuple[str, ...]:
    validation = r.of("validation") if r.figures.get("validation") else None
    minutes = r.figures.get("train_minutes")
    reach = r.figures.get("reach")
    return (
        f"`{r.name}`",
        f"{r.figures['parameters']:,}" if "parameters" in r.figures else "",
        f"{r.test['nats']:.2f}",
        r.per_entry,
        cite(r.published[0]) if r.published else "none",
        r.gap,
        f"{reach:g}" if reach is not None else "",
        f"{validation:.{r.digits}f}" if validation is not None else "",
        f"{minutes:.0f} min" if minutes is not None else "",
    )


def binary_sets(zoo: Path, published: dict[str, Any]) -> str:
    """Return the table of the binary density sets: ours beside the published columns, best of each row in bold."""
    columns, bar = published["columns"], published["bar"]
    path = zoo / "binary20" / "figures.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"sets": {}}
    rows, reached, compared = [], 0, 0
    for name, row in published["sets"].items():
        # A set's figures may stand alone or, as for other data, beside those on validation.
        ours = figures["sets"].get(name, figures["sets"].get(f"binary20/{name}", {}))
        ours = ours.get("test", ours)
        values = {column: row[column] for column in columns}
        if ours:
            compared += 1
            reached += -ours["nats"] >= row[bar]
            values["ours"] = -ours["nats"]
        best = max(values.values())
        cells = {k: f"**{v:.2f}**" if v == best else f"{v:.2f}" for k, v in values.items()}
        error, count = (f"{ours['standard_error']:.2f}", f"{ours['count']:,}") if ours else ("", "")
        rows.append((name, str(row["variables"]), count, cells.get("ours", ""), error, *(cells[c] for c in columns)))
    header = ("set", "variables", "test examples", "ours", "± s.e.", *(f"{c} [{columns[c]['confidence']}]" for c in columns))
    lines = [table(header, rows, right=range(1, len(header)))]
    if compared:
        kinds = sorted({str(s.get("test", s).get("kind", "exact")) for s in figures["sets"].values()})
        lines.insert(0, f"Ours ({', '.join(kinds)}) is at or above {bar} on {reached} of {compared} sets.")
    else:
        lines.insert(0, "No figures of ours are recorded yet.")
    lines += [f"- {name}: {note}" for name, note in published["notes"].items()]
    lines += [f"- {name}: {column['source']}" for name, column in columns.items()]
    if figures.get("note"):
        lines.append(f"- {figures['note']}")
    text = "\n\n".join([*lines[:2], "\n".join(lines[2:])])
    if figures.get("command"):
        text += f"\n\n```sh\n{figures['command']}\n```"
    return text


def text_levels(zoo: Path) -> str:
    """Return a table of each text: bits per byte of every model at every level, the best of a table in bold."""
    path = zoo / "text-levels" / "figures.json"
    if not path.is_file():
        return "No figures are recorded yet."
    recorded = json.loads(path.read_text(encoding="utf-8"))
    figures = {tuple(name.split("/")): found for name, found in recorded["figures"].items()}
    minutes, threads = recorded["minutes"], recorded["threads"]
    duration = "a minute" if minutes == 1 else f"{minutes:g} minutes"
    parts = [
        f"Bits per byte of the test split, lower is better, after {duration} of training on"
        f" {'one core' if threads == 1 else f'{threads} cores'} each; exact. Each window is scored by itself, but that"
        " `lstm-lm` carries its state from window to window."
    ]
    models = list(dict.fromkeys(model for _, _, model in figures))
    for data in dict.fromkeys(data for data, _, _ in figures):
        best = min(found["bits_per_byte"] for key, found in figures.items() if key[0] == data)
        rows = []
        for level in dict.fromkeys(level for of, level, _ in figures if of == data):
            cells = [figures.get((data, level, model)) for model in models]
            values = ["" if cell is None else f"{cell['bits_per_byte']:.3f}" for cell in cells]
            sizes = sorted({cell["levels"] for cell in cells if cell is not None})
            rows.append((level, f"{sizes[0]:,}", *(f"**{v}**" if v == f"{best:.3f}" else v for v in values)))
        header = ("level", "tokens there are", *(f"`{model}`" for model in models))
        parts += [f"### {data}", table(header, rows, right=range(1, len(header)))]
    return "\n\n".join([*parts, "```sh\npython zoo/text-levels/train.py\n```"])


def mode_coverage(zoo: Path) -> str:
    """Return a table of the modes that GANs of each objective find, as they are and with a penalty on gradients."""
    path = zoo / "mode-coverage" / "figures.json"
    if not path.is_file():
        return "No figures are recorded yet."
    recorded = json.loads(path.read_text(encoding="utf-8"))
    runs: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for name, found in recorded["figures"].items():
        data, objective, regularisers, _ = name.split("/")
        runs.setdefault((objective, regularisers, data), []).append(found)
    columns = list(dict.fromkeys(data for _, _, data in runs))
    rows = []
    for objective, regularisers in dict.fromkeys(key[:2] for key in runs):
        cells = []
        for data in columns:
            found = runs.get((objective, regularisers, data), [])
            cells += [
                spread([each[key] * scale for each in found]) for key, scale in (("found", 1.0), ("high_quality", 100.0))
            ]
            cells.append(str(len(found)))
        rows.append((f"`{objective}`", "none" if regularisers == "plain" else f"`{regularisers}`", *cells))
    parts = [f"{data}: {part}" for data in columns for part in ("modes", "high quality, %", "seeds")]
    shown = table(("objective", "regulariser", *parts), rows, right=range(2, 2 + len(parts)))
    said = (
        f"Modes that 2,500 samples find, and the share of high quality, mean ± standard deviation over seeds, after"
        f" {recorded['steps']:,} steps of batches of 128; networks of two layers of 128 units, the same settings for all."
    )
    return "\n\n".join((said, shown, "```sh\npython zoo/mode-coverage/train.py\n```"))


def spread(values: Sequence[float]) -> str:
    """Return a mean, with the standard deviation where there are several values, or nothing where there is none.

    >>> spread([8.0]), spread([7.0, 8.0]), spread([])
    ('8.0', '7.5 ± 0.7', '')
    """
    if not values:
        return ""
    mean = statistics.fmean(values)
    return f"{mean:.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def tabular_flows(zoo: Path) -> str:
    """Return a table of each flow: log-likelihoods of the UCI tables' rows, beside other libraries' after the same time."""
    path = zoo / "tabular-flows" / "figures.json"
    if not path.is_file():
        return "No figures are recorded yet."
    recorded = json.loads(path.read_text(encoding="utf-8"))
    figures = {tuple(name.split("/")): found for name, found in recorded["figures"].items()}
    seconds = sorted({found["seconds"] for found in figures.values()})
    parts = [
        "Mean log-likelihood of the rows of test, nats of standardized columns, higher is better; exact. Each was trained for"
        f" {' or '.join(f'{s:g}' for s in seconds)} seconds of one core of {recorded['machine']['cpu']}, as the processor"
        " counts them, since other work shared the machine. *ahead* is by how much ours is above the better of the others,"
        " with the standard error of the difference over rows; those within two standard errors are level."
    ]
    for model in dict.fromkeys(model for _, model in figures):
        rows, standing = [], {"ahead": 0, "level": 0, "behind": 0}
        for data in sorted(data for data, of in figures if of == model):
            found = figures[data, model]
            libraries = found["libraries"]
            own, *others = libraries
            rival = max(others, key=lambda name: libraries[name]["mean"])
            ahead, error = (libraries[rival]["ahead"][key] for key in ("mean", "standard_error"))
            standing["level" if abs(ahead) <= 2.0 * error else "ahead" if ahead > 0.0 else "behind"] += 1
            best = max(entry["mean"] for entry in libraries.values())
            cells = (
                f"{'**' if entry['mean'] == best else ''}{entry['mean']:.3f}{'**' if entry['mean'] == best else ''}"
                f" ± {entry['standard_error']:.3f}"
                for entry in libraries.values()
            )
            steps = " / ".join(f"{entry['steps']:,}" for entry in libraries.values())
            size = f"{found['splits']['train']:,}"
            rows.append(
                (data, str(len(found["columns"])), size, *cells, f"{ahead:+.3f} ± {error:.3f}".replace("-", "−"), steps)
            )
        header = ("table", "columns", "rows of train", own, *others, "ahead", "steps of each")
        counts = ", ".join(f"{word} on {count}" for word, count in standing.items() if count)
        verdict = f"Ours is {counts} of {len(rows)}."
        parts += [f"### {model}", verdict, table(header, rows, right=range(1, len(header)))]
    dropped = {data: found["dropped"] for (data, _), found in figures.items()}
    lines = [f"- {data}: without {', '.join(dropped[data])}" for data in sorted(dropped) if dropped[data]]
    return "\n\n".join([*parts, "\n".join(lines), f"```sh\npython -m benchmarks.tabular --seconds {seconds[-1]:g}\n```"])


def confidence(marks: dict[str, str]) -> str:
    """Return what the confidence marks mean."""
    return "\n".join(f"- [{mark}] {meaning}" for mark, meaning in marks.items())


# Files


def insert(text: str, name: str, content: str) -> str:
    """Return `text` with `content` between the markers of `name`."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"no {start} ... {end} to put the generated part in")
    return f"{before}{start}\n{content}\n{end}{after}"


def generate(root: Path) -> dict[Path, str]:
    """Return what each file with a generated part should hold."""
    published = yaml.safe_load((root / "docs" / "published.yaml").read_text(encoding="utf-8"))
    results = read_results(root / "zoo")
    none = "No figures are recorded yet."

    def page(name: str) -> Path | None:
        path = root / "docs" / "models" / f"{name}.md"
        return path if path.is_file() else None

    parts = {
        "README.md": {
            "models": models(lambda name: f"docs/models/{name}.md" if page(name) else None),
            "results": brief(results) if results else none,
        },
        "docs/models/index.md": {"models": models(lambda name: f"{name}.md" if page(name) else None)},
        "docs/results.md": {
            "results": full(results) if results else none,
            "binary-sets": binary_sets(root / "zoo", published["binary20"]),
            "text-levels": text_levels(root / "zoo"),
            "tabular-flows": tabular_flows(root / "zoo"),
            "confidence": confidence(published["confidence"]),
        },
        "docs/adversarial.md": {"mode-coverage": mode_coverage(root / "zoo")},
    }
    files = {}
    for name, contents in parts.items():
        text = (root / name).read_text(encoding="utf-8")
        for marker, content in contents.items():
            text = insert(text, marker, content)
        files[root / name] = text
    return files


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with --check say which are not current."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with status 1 if a file is not current")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in generate(ROOT).items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not current: run `make tables`", file=sys.stderr)
        else:
            path.write_text(generate(ROOT)[path], encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
