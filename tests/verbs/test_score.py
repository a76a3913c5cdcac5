import numpy as np
import pandas as pd
import pytest
import torch

from ancestral.errors import InvalidInput, Unsupported
from ancestral.models import create
from ancestral.verbs.score import save_table, score
from tests.verbs.test_evaluate import binary_data


@pytest.fixture
def data():
    return binary_data()


def test_each_datum_in_the_order_of_the_split(data):
    model = create("fvsbn", data.event)
    table = score(model, data, batch_size=7)
    np.testing.assert_allclose(table["log_prob"], model.log_prob(data.splits["test"].x).detach(), rtol=1e-6)
    assert table["index"].tolist() == list(range(50))
    np.testing.assert_allclose(table["bits_per_dim"], -table["log_prob"] / (6 * np.log(2)))
    assert table.attrs["kind"] == "exact"


def test_models_without_likelihood_are_refused(data):
    with pytest.raises(Unsupported, match=r"gan .* has no log_prob. Models that have: .*made"):
        score(create("gan", data.event), data)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_files_hold_what_was_scored(tmp_path, suffix):
    table = pd.DataFrame({"index": [0, 1], "log_prob": [-1.25, -0.1], "bits_per_dim": [0.5, 0.25]})
    path = tmp_path / "deep" / f"scores{suffix}"
    save_table(table, path)
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".npy": lambda p: pd.DataFrame(np.load(p))}[suffix]
    pd.testing.assert_frame_equal(read(path), table)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"its suffix is \.xls, expected one of \.csv"):
        save_table(pd.DataFrame({"a": [1]}), tmp_path / "a.xls")
    assert not list(tmp_path.iterdir())


def test_a_bound_is_drawn_from_the_seed_alone(data):
    model = create("vae", data.event, latent=2, hidden=(4,))
    first = score(model, data, seed=1)
    torch.rand(5)
    assert first.equals(score(model, data, seed=1))
    assert not first.equals(score(model, data, seed=2))
