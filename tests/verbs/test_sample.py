import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.sample import column_names, conditions_for, sample, save

BITS = Event.binary((6,))


def test_count_type_and_seed():
    model = create("fvsbn", BITS)
    x = sample(model, 5)
    assert x.shape == (5, 6)
    assert x.dtype == torch.uint8
    assert torch.equal(x, sample(model, 5, seed=0))
    assert not torch.equal(sample(model, 50, seed=0), sample(model, 50, seed=1))
    torch.rand(3)
    assert torch.equal(x, sample(model, 5)), "the global generator has no part in it"


def test_batches_fill_the_count():
    assert sample(create("fvsbn", BITS), 7, batch_size=3).shape == (7, 6)


def test_the_model_is_left_in_its_mode():
    model = create("made", BITS, hidden=(8,), dropout=0.5).train()
    sample(model, 2)
    assert model.training


@pytest.mark.parametrize(
    ("condition", "expected"),
    [(2, [2, 2, 2, 2]), ("2", [2] * 4), ("all", [0, 1, 2, 0]), ([2, 0, 1, 1], [2, 0, 1, 1]), ("2,0,1,1", [2, 0, 1, 1])],
)
def test_conditions_by_name_number_and_list(condition, expected):
    model = create("fvsbn", BITS, Event.label(3))
    assert conditions_for(model, 4, condition).tolist() == expected


def test_conditions_decide_what_is_drawn():
    model = create("fvsbn", BITS, Event.label(2))
    with torch.no_grad():
        model.embedding.map.weight.copy_(torch.tensor([[-50.0] * 6, [50.0] * 6]))
        model.weight.zero_()
    assert sample(model, 4, "all", batch_size=3).float().mean(1).tolist() == [0, 1, 0, 1]


def test_vector_conditions():
    model = create("fvsbn", BITS, Event.real((2,)))
    assert conditions_for(model, 3, "1.5,2").tolist() == [[1.5, 2.0]] * 3
    assert conditions_for(model, 3, "all").shape == (3, 2)
    with pytest.raises(InvalidInput, match="condition has shape"):
        conditions_for(model, 3, "1,2,3")


@pytest.mark.parametrize(
    ("condition", "message"),
    [(None, "give a class from 0 to 2, or all"), (3, r"expected integers in \[0, 2\]"), (-1, "expected integers"),
     ("x", "not a number"), ([0, 1], "2 conditions for 4 data"), (1.5, "expected integers")],
)  # fmt: skip
def test_conditions_that_do_not_fit_are_refused(condition, message):
    with pytest.raises(InvalidInput, match=message):
        sample(create("fvsbn", BITS, Event.label(3)), 4, condition)


def test_superfluous_conditions_counts_and_models_without_samples_are_refused():
    with pytest.raises(InvalidInput, match="without a condition"):
        sample(create("fvsbn", BITS), 4, 1)
    with pytest.raises(InvalidInput, match="n is 0"):
        sample(create("fvsbn", BITS), 0)
    with pytest.raises(Unsupported, match="has no sample"):
        sample(create("denoising-autoencoder", BITS), 1)


def test_files(tmp_path):
    event = Event.integers((1, 2, 3), 17)
    x = torch.randint(17, (5, 1, 2, 3), dtype=torch.uint8)
    for name in ("a.npy", "a.csv", "a.parquet", "a.png"):
        save(x, event, tmp_path / name)
    assert np.array_equal(np.load(tmp_path / "a.npy"), x.numpy())
    for table in (pd.read_csv(tmp_path / "a.csv"), pd.read_parquet(tmp_path / "a.parquet")):
        assert np.array_equal(table.to_numpy(), x.flatten(1).numpy())
        assert list(table.columns) == ["c0_h0_w0", "c0_h0_w1", "c0_h0_w2", "c0_h1_w0", "c0_h1_w1", "c0_h1_w2"]
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] >= 500
    with pytest.raises(InvalidInput, match="its suffix is missing"):
        save(x, event, tmp_path / "a")
    assert len(list(tmp_path.iterdir())) == 4


def test_column_names():
    assert column_names(Event.real((3,))) == ["feature0", "feature1", "feature2"]
    assert column_names(Event.binary((2, 2)))[1] == "axis0_0_axis1_1"
