"""Each benchmark runs at its smallest size and prints its measurements; the page's parts are made from them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed

from ancestral.layers.kernels import COMPILED  # noqa: E402
from benchmarks import page  # noqa: E402
from benchmarks.__main__ import OTHERS, TABLES  # noqa: E402

ARGUMENTS = ("--tiny", "--json", "--seconds", "0", "--repeats", "2", "--threads", "1", "--precision", "float32")


def run(table: str, *arguments: str) -> dict[str, Any]:
    # Of the groups of a table one is enough: they differ in sizes.
    command = (sys.executable, "-m", "benchmarks", table, *ARGUMENTS, *arguments)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


GROUPS = {
    "made": "D=43",
    "gated_pixelcnn": "8 layers",
    "realnvp": "",
    "maf": "",
    "spline_flow": "",
    "vae": "",
    "dcgan": "dcgan,",
    "rbm": "batches of 100",
}


@pytest.mark.parametrize("table", TABLES)
def test_script_prints_measurements(table):
    result = run(table, "--group", GROUPS[table])
    (group,) = result["groups"]["float32"]
    by_name = {c["name"]: c for c in group["contenders"]}
    for name in ("ancestral", "ancestral, bare loop"):
        assert by_name[name]["parameters"] > 0
        assert by_name[name]["memory"] > 0
        assert len(by_name[name]["seconds"]["train"]) == 2
        assert all(seconds > 0 for seconds in by_name[name]["seconds"]["train"])
        if table != "dcgan":  # a GAN has no likelihood to score with
            assert all(seconds > 0 for seconds in by_name[name]["seconds"]["score"])
    for contender in group["contenders"]:
        assert "skipped" not in contender or contender["skipped"]  # a peer that is absent says why
    text = page.render(result)
    assert "| ancestral, bare loop |" in text
    assert "reached" in text


def test_loop_overhead_prints_measurements():
    result = run("loop_overhead")
    assert result["microseconds"]["ancestral"] > 0
    assert "| loop | µs per step |" in page.render(result)


def test_sampling_prints_measurements():
    result = run("sampling")
    by_batch, by_size = result["tables"]
    ways = ["one by one", "a row in one call"] if COMPILED else ["one by one"]
    kinds = [("1", "float32"), ("16", "float32"), ("16", "bfloat16"), ("64", "float32"), ("64", "bfloat16")]
    assert [(row[0], row[2], row[3]) for row in by_batch["rows"]] == [(*kind, way) for kind in kinds for way in ways]
    assert len(by_size["rows"]) == 2
    assert "| batch | threads |" in page.render(result)


def test_decoding_prints_measurements():
    table, prompts = run("decoding")["tables"]
    kinds = ["weights of half precision", "weights of eight bits", "step by step"]
    for each, others in ((table, kinds), (prompts, ["token by token"])):
        names = ["ancestral", *(f"ancestral, {other}" for other in others)]
        ours = [row for row in each["rows"] if row[2].startswith("ancestral")]
        assert [row[:3] for row in ours] == [[b, t, name] for b in ("1", "16") for t in "12" for name in names]
        assert all(float(row[3].replace(",", "")) > 0 for row in ours)
        assert len(ours) < len(each["rows"]) or "was skipped" in each["notes"][0]


def test_attention_prints_measurements():
    (table,) = run("attention")["tables"]
    assert [row[:2] for row in table["rows"]] == [[n, name] for n in ("64", "256") for name in ("dense", "strided", "fixed")]
    assert [row[2] for row in table["rows"][:2]] == ["8,192", "1,472"]  # 2 n^2; 960 of a window of 8 and 512 of columns
    assert all(float(row[5]) > 0 and float(row[6]) > 0 for row in table["rows"])


def test_codecs_print_measurements(real_data):
    tables = run("codecs")["tables"]
    assert tables, "no model of the zoo that compresses is trained"
    for table in tables:
        assert table["rows"][-1][0] == "**ancestral**"
        assert all(float(row[1]) > 0 for row in table["rows"])


def test_sparse_coding_prints_measurements(real_data):
    (table,) = run("sparse_coding")["tables"]
    assert [row[0] for row in table["rows"]] == ["scikit-learn, cd", "scikit-learn, lars"]
    assert all(float(row[2]) > 0 and float(row[3]) > 0 for row in table["rows"])
    assert float(table["rows"][0][6]) <= float(table["rows"][0][3])  # at least as good as what it is compared with


def test_features_print_measurements(real_data):
    (table,) = run("features")["tables"]
    learned = ["sparse codes", "PSD", "denoising stack", "RBM", "VAE"]
    assert [row[0] for row in table["rows"]] == ["raw", "32 principal components", *learned]
    assert set(table["curves"]) == {row[0] for row in table["rows"]}
    assert all(0.0 <= point[1] <= 1.0 for points in table["curves"].values() for point in points)


def test_generators_print_figures_and_bounds():
    samples, decoders = run("generators")["tables"]
    (row,) = samples["rows"]
    assert row[0] == "`gan`"
    assert float(row[3]) > 0.0
    assert all(0.0 <= float(share.split(" ± ")[0]) <= 1.0 for share in row[-2:])
    (row,) = decoders["rows"]
    assert float(row[2]) <= float(row[3]), "a lower and an upper bound"


def test_outliers_print_measurements():
    (table,) = run("outliers")["tables"]
    by_name = {row[0]: row for row in table["rows"]}
    areas = table["columns"]["wine"]["areas"]
    mean = sum(areas["ancestral MADE, likelihood"]) / 2
    assert by_name["ancestral MADE, likelihood"][1].strip("*").startswith(f"{mean:.3f}")
    assert "PyOD ECOD" in by_name or "PyOD ECOD was skipped" in table["notes"][1]


def test_outlier_pairs_print_measurements(real_data):
    (table,) = run("outlier_pairs")["tables"]
    assert [row[0] for row in table["rows"]] == ["likelihood", "typicality", "ratio", "complexity", "all"]
    assert all(0.0 <= float(row[1].split(" ± ")[0]) <= 1.0 for row in table["rows"])


def test_tables_are_recorded_once(real_data, tmp_path):
    output = tmp_path / "figures.json"
    arguments = ("--tables", "yacht", "--models", "maf", "--seconds", "0.01", "--output", str(output))
    command = (sys.executable, "-m", "benchmarks.tabular", *arguments)
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert not done.stdout  # what is recorded is passed over
    found = json.loads(output.read_text())["figures"]["yacht/maf"]
    ours = found["libraries"]["ancestral"]
    assert ours["steps"] >= 1
    assert ours["standard_error"] > 0
    assert ours["ahead"]["mean"] == 0.0
    assert found["dropped"]["x0"] == "5 values"


def test_ratio_is_the_median_over_repeats():
    ours = {"name": "ancestral", "seconds": {"train": [1.0, 1.0, 2.0]}}
    peer = {"name": "peer", "seconds": {"train": [2.0, 3.0, 2.0]}}
    assert page.ratio([ours, peer], peer, "train") == 2.0


def test_generated_part_is_replaced_between_its_marks():
    assert page.insert("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"


def test_page_has_a_place_for_each_table():
    for name in (*TABLES, *OTHERS):
        text = page.page_of(name).read_text(encoding="utf-8")
        assert f"<!-- {name} -->" in text
        assert f"<!-- /{name} -->" in text


def test_search_prints_microseconds():
    pytest.importorskip("faiss")
    (table,) = run("search")["tables"]
    assert [row[0] for row in table["rows"]] == ["32"] * 5 + ["64"] * 5
    assert all(float(row[2].replace(",", "")) > 0 for row in table["rows"])


def test_retrieval_prints_precision_beside_that_of_bits_of_components():
    result = run("retrieval")
    (table,) = result["tables"]
    assert [row[0] for row in table["rows"]] == ["`semantic-hashing`, straight-through", "data", "PCA, real", "PCA, bits"]
    assert [row[1] for row in table["rows"]] == ["32", "512", "1,024", "32"]
    assert "queries of the test split of digits" in page.render(result)
