"""The generated tables: what they say of recorded figures, and that a page which is not current is refused."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    path = ROOT / "docs" / name
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


generate = load("generate.py")


def figures(nats: float, published: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    test = {
        "model": "zoo-name",
        "data": "binarized-mnist",
        "split": "test",
        "nats": nats,
        "bits_per_dim": nats / (784 * 0.6931471805599453),
        "standard_error": 0.25,
        "kind": "exact",
        "count": 10_000,
    }
    return {"test": test, "published": published or [], "command": "ancestral fit x", **more}


def bar(value: float, unit: str = "nats", system: str = "NADE") -> dict[str, Any]:
    return {"system": system, "value": value, "unit": unit, "source": "a paper", "confidence": "B"}


def result(nats: float, published: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    return generate.Result("binarized-mnist-nade", "nade", figures(nats, published, **more))


@pytest.mark.parametrize(
    ("nats", "gap"),
    [(88.33, "+0.00 (level)"), (88.80, "+0.47 (level)"), (90.33, "+2.00 (behind)"), (80.33, "−8.00 (ahead)")],
)
def test_the_gap_is_named_against_the_first_published_figure(nats: float, gap: str) -> None:
    assert result(nats, [bar(88.33), bar(70.0)]).gap == gap


def test_standard_errors_follow_the_unit() -> None:
    in_bits = result(784 * 0.6931471805599453, [bar(1.1, "bits/dim")])
    assert in_bits.value == pytest.approx(1.0)
    assert in_bits.standard_error == pytest.approx(0.25 / (784 * 0.6931471805599453))
    assert in_bits.shown == "1.000 ± 0.000"


def test_translations_are_ranked_by_bleu_the_higher_the_better() -> None:
    found = {"bleu": 38.5, "standard_error": 0.8, "how": "beam 5", "count": 1000, "seconds": 61.2, "signature": "tok:13a"}
    ours = result(30.0, [bar(41.02, "BLEU", "tiny")], bleu={"test": found})
    assert ours.shown == "38.50 ± 0.80"
    assert ours.gap == "−2.52 (behind)"
    assert result(30.0, [bar(30.0, "BLEU")], bleu={"test": found}).gap == "+8.50 (ahead)"
    text = generate.full([ours])
    assert text.index("| tiny | 41.02 |") < text.index("| **nade** | **38.50 ± 0.80** | beam 5 |")
    assert "higher is better" in text
    assert "1,000 sentences translated in 61 s; `tok:13a`" in text


@pytest.mark.parametrize(
    ("more", "shown"),
    [({}, "0.1472"), ({"unit": "bits/sample"}, "0.1472 bits/sample"), ({"nats_per_point": 7.17016}, "7.1702 nats/point")],
)
def test_an_entry_is_called_what_it_is(more: dict[str, Any], shown: str) -> None:
    ours = result(80.0)
    ours.test.update(more)
    assert ours.per_entry == shown


def test_ours_stand_among_the_published_in_order() -> None:
    text = generate.full(
        [result(88.0, [bar(88.33), bar(80.0, system="better")], reach=88.4, train_minutes=7.2, note="a note")]
    )
    assert text.index("| better | 80 |") < text.index("| **nade** | **88.00 ± 0.25** |") < text.index("| NADE | 88.33 |")
    assert "10,000 examples of the test split" in text
    assert "| 88.4 |" in text
    assert "7 min" in text
    assert "a note" in text
    assert "```sh\nancestral fit x\n```" in text


def test_binary_sets_say_how_often_the_bar_is_reached(tmp_path: Path) -> None:
    published = {
        "columns": {"LearnSPN": {"source": "s", "confidence": "U"}, "EiNet": {"source": "e", "confidence": "U"}},
        "bar": "EiNet",
        "notes": {"kdd": "a caution"},
        "sets": {
            "nltcs": {"variables": 16, "LearnSPN": -6.11, "EiNet": -6.03},
            "kdd": {"variables": 64, "LearnSPN": -2.18, "EiNet": -2.183},
        },
    }
    assert "No figures of ours" in generate.binary_sets(tmp_path, published)
    (tmp_path / "binary20").mkdir()
    sets = {name: {**figures(nats)["test"], "count": 3236} for name, nats in {"nltcs": 6.0, "kdd": 2.19}.items()}
    (tmp_path / "binary20" / "figures.json").write_text(json.dumps({"sets": sets}))
    text = generate.binary_sets(tmp_path, published)
    assert "at or above EiNet on 1 of 2 sets" in text
    assert "| nltcs | 16 | 3,236 | **-6.00** | 0.25 | -6.11 | -6.03 |" in text
    assert "kdd: a caution" in text


def test_results_are_read_best_first(tmp_path: Path) -> None:
    for name, nats in {"worse": 90.0, "better": 80.0}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "figures.json").write_text(json.dumps(figures(nats)))
        (tmp_path / name / "config.json").write_text(json.dumps({"model": {"name": "nade"}}))
    (tmp_path / "untrained").mkdir()
    assert [r.name for r in generate.read_results(tmp_path)] == ["better", "worse"]


def test_a_page_that_is_not_current_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("*.png", "__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    generate.main([])
    assert generate.main(["--check"]) == 0
    readme = tmp_path / "README.md"
    current = readme.read_text()
    readme.write_text(current.replace("`fvsbn`", "`fvsbm`"))
    assert generate.main(["--check"]) == 1
    assert "README.md is not current" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert readme.read_text() == current


def test_a_missing_marker_is_an_error() -> None:
    with pytest.raises(SystemExit, match="<!-- results -->"):
        generate.insert("no markers", "results", "table")


def test_doctests_are_fenced_and_the_rest_is_kept() -> None:
    fence = load("hooks/doctests.py").fence
    assert fence("Add.\n\n>>> 1 + 1\n2\n\nMore.") == "Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."
    assert fence("No example.") == "No example."
