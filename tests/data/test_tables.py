import numpy as np
import pandas as pd
import pytest
import torch

from ancestral.data import load
from ancestral.errors import InvalidInput
from ancestral.event import Event

from .conftest import contents, equal_splits


def frame(n=40):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "width": rng.normal(5, 2, n),
            "height": rng.normal(size=n),
            "kind": rng.choice(["tall", "short"], n),
            "count": rng.integers(0, 9, n),
        }
    )


@pytest.fixture
def table(folder):
    path = folder / "plants.csv"
    frame().to_csv(path, index=False)
    return path


def test_a_csv_file_is_a_table(table):
    data = load(table, columns=["width", "height"])
    assert data.event.shape == (2,)
    assert data.event.levels is None
    assert data.record["columns"] == ["width", "height"]
    assert sum(len(split) for split in data.splits.values()) == 40
    assert equal_splits(data, load(data.name, **data.record["options"]))


def test_a_data_frame_is_the_same_table(table):
    read, given = load(table, condition="kind"), load(frame(), condition="kind")
    assert equal_splits(read, given)
    assert read.record["classes"] == ["short", "tall"]
    assert read.event.shape == (3,)


def test_data_frames_by_split():
    data = load({"train": frame(30), "test": frame(5)}, columns=["width"], validation=3)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 27, "validation": 3, "test": 5}
    with pytest.raises(InvalidInput, match=r"differ in columns: test has width; expected one set"):
        load({"train": frame(), "test": frame()[["width"]]})


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_separators_and_headers(folder, separator, header):
    path = folder / "table.csv"
    values = frame()[["width", "height"]]
    values.to_csv(path, index=False, sep=separator, header=header)
    data = load(path, validation=0, test=0)
    assert data.record["columns"] == (["width", "height"] if header else ["0", "1"])
    assert np.allclose(contents(data, "train")[0].numpy(), values.to_numpy(), rtol=1e-6)


def test_a_condition_of_numbers_is_a_standardized_vector(table):
    data = load(table, condition=["width", "height"], columns=["count"])
    assert data.event == Event.integers((1,), 9)
    assert data.condition.shape == (2,)
    train = contents(data, "train")[1]
    assert np.allclose(data.condition.loc, train.double().mean(0), rtol=1e-5)
    assert data.record["options"] == {"condition": ["width", "height"], "columns": ["count"]}


def test_truth_values_are_binary():
    data = load(pd.DataFrame({"a": [True, False] * 10, "b": [0, 1] * 10}))
    assert data.event == Event.binary((2,))
    assert load(pd.DataFrame({"a": [True, False] * 10, "b": [0, 2] * 10})).event == Event.integers((2,), 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_names_the_column_and_the_row(bad):
    table = frame()
    table.loc[[17, 20], "height"] = bad
    with pytest.raises(
        InvalidInput, match=r"column 'height' of the data frame is empty, NaN or infinite in row 17 of train .*2 such"
    ):
        load(table, condition="kind")


def test_an_empty_cell_of_a_condition_names_the_row():
    table = frame()
    table.loc[3, "kind"] = None
    with pytest.raises(InvalidInput, match=r"column 'kind' of the data frame is empty or NaN in row 3 of train"):
        load(table, condition="kind")


def test_text_names_the_column_the_row_and_the_way_out(table):
    with pytest.raises(
        InvalidInput, match=r"column 'kind' of .* holds '(tall|short)' in row 0 .*choose columns=.*condition=kind"
    ):
        load(table)


@pytest.mark.parametrize("options", [{"columns": ["widht"]}, {"condition": "widht"}])
def test_a_missing_column_gives_near_matches(table, options):
    with pytest.raises(InvalidInput, match=r"no column 'widht'. Did you mean width.* It has: width, height, kind, count"):
        load(table, **options)


def test_a_condition_of_one_class_is_refused():
    table = frame().assign(kind="tall")
    with pytest.raises(InvalidInput, match=r"has the one class tall, expected two or more"):
        load(table, condition="kind")


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(InvalidInput, match=r"has two columns called 'a': give each a name"):
        load(pd.DataFrame([[0.5, 1.0]] * 9, columns=["a", "a"]))


def test_no_column_left_is_refused():
    with pytest.raises(InvalidInput, match=r"no column left to model"):
        load(frame()[["kind"]], condition="kind")


@pytest.mark.parametrize("content", [b"a,b\n1,2\n3,4,5,6\n", b"\xff\xfe\x00a,b\n1,2\n", b"\n"])
def test_what_is_no_table_is_refused(folder, content):
    path = folder / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"broken.csv is not a table of separated values"):
        load(path)


def test_a_parquet_table(folder):
    frame().to_parquet(folder / "plants.parquet")
    data = load(folder / "plants.parquet", condition="kind", columns=["width", "height"])
    assert equal_splits(data, load(frame(), condition="kind", columns=["width", "height"]))
    with pytest.raises(InvalidInput, match=r"has no column 'widht' for columns= or condition=. Did you mean width"):
        load(folder / "plants.parquet", columns=["widht"])
    with pytest.raises(InvalidInput, match=r"takes no gray"):
        load(folder / "plants.parquet", columns=["width"], gray=True)


def test_a_regression_table_keeps_its_test_split(folder):
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    test = np.array([3, 1, 40])
    np.savez(folder / "t.npz", data=values, feature_columns=[0, 1], target_columns=[2], test_index_split0=test)
    data = load(folder / "t.npz", validation=5)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 42, "validation": 5, "test": 3}
    assert np.array_equal(contents(data, "test")[0].numpy(), values[np.sort(test)])
    assert data.record["columns"] == ["x0", "x1", "y0", "other3"]
    given = load(folder / "t.npz", condition="features")
    assert given.event.shape == (1,)
    assert given.condition.shape == (2,)
    x, condition = contents(given, "test")
    assert torch.equal(torch.cat([condition, x], 1), torch.from_numpy(values[np.sort(test)][:, :3]))
    assert equal_splits(given, load(given.name, **given.record["options"]))


def test_columns_that_have_a_density_are_kept_and_their_rounding_undone(folder):
    source = np.random.default_rng(0)
    n = 400
    exact = source.normal(size=n)
    rounded = source.normal(size=n).round(1) * 2.0
    table = pd.DataFrame(
        {
            "exact": exact,
            "constant": np.ones(n),
            "few": source.integers(0, 9, size=n),
            "spike": np.where(source.uniform(size=n) < 0.5, 0.0, source.normal(size=n)),
            "twin": 3.0 * exact + 0.01 * source.normal(size=n),
            "rounded": rounded,
        }
    )
    data = load({"train": table, "test": table[:20]}, continuous=True, validation=0)
    assert data.record["columns"] == ["exact", "rounded"]
    assert data.record["dropped"]["few"] == "9 values"
    assert data.record["dropped"]["constant"] == "1 values"
    assert data.record["dropped"]["spike"].endswith("% of the rows hold one value")
    assert data.record["dropped"]["twin"] == "correlated with exact"
    assert any("noise is added once" in step for step in data.record["preprocessing"])
    x = contents(data, "train")[0].numpy()
    assert np.array_equal(x[:, 0], exact.astype(np.float32))
    noise = x[:, 1] - rounded
    assert noise.min() >= -1e-5
    assert 0.15 < noise.max() < 0.2 + 1e-5  # values are 0.2 apart
    assert len(np.unique(x[:, 1])) > 0.95 * n
    other = load({"train": table, "test": table[:20]}, continuous=True, validation=0, seed=1)
    assert not np.array_equal(contents(other, "train")[0].numpy(), x)


def test_a_table_without_a_continuous_column_is_refused():
    table = pd.DataFrame({"a": np.arange(40) % 3, "b": np.ones(40)})
    with pytest.raises(InvalidInput, match="no column of the data frame is continuous, got 3 values, 1 values"):
        load(table, continuous=True)
