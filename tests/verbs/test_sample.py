import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from ancestral.cli.main import main
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.drawing import DrawOptions
from ancestral.verbs.sample import column_names, conditions_for, draw, sample, save

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


def test_members_of_a_mixture_are_drawn_from_the_noise():
    model = create("made", BITS, hidden=(8,), masks=3, orders="agnostic")
    x = sample(model, 30, seed=1)
    assert torch.equal(sample(model, 12, seed=1, batch_size=5), x[:12])
    assert draw(model, 30, options=DrawOptions(seed=1)).steps == 3 * 6, "one batch for each member"


# Sharpened draws


def test_low_temperatures_draw_the_mode():
    model = create("fvsbn", BITS)
    with torch.no_grad():
        model.bias.copy_(torch.tensor([2.0, -2.0, 2.0, -2.0, 2.0, -2.0]).view_as(model.bias))
        model.weight.zero_()
    assert sample(model, 50, temperature=0.01).float().mean(0).tolist() == [1, 0, 1, 0, 1, 0]
    assert torch.equal(sample(model, 50, top_k=1), sample(model, 50, temperature=0.01))
    assert torch.equal(sample(model, 50, top_p=0.5), sample(model, 50, temperature=0.01))
    assert not torch.equal(sample(model, 50), sample(model, 50, temperature=0.01))


def test_a_sharpened_draw_has_the_sharpened_frequencies():
    model = create("nade", Event.integers((1,), 4))
    with torch.no_grad():
        p = torch.softmax(model(torch.zeros(1, 1, dtype=torch.uint8))[0, 0] / 0.5, 0)
    found = torch.bincount(sample(model, 4000, temperature=0.5)[:, 0].long(), minlength=4)
    assert chisquare(found.numpy(), 4000 * p.double().numpy() / float(p.double().sum())).pvalue > 1e-4


def test_draws_say_that_they_are_not_exact():
    model = create("fvsbn", BITS)
    assert draw(model, 2).changed == ""
    assert draw(model, 2, options=DrawOptions(temperature=0.8, top_p=0.9)).changed == "temperature 0.8, top-p 0.9"


def test_sharpening_is_refused_where_it_means_nothing():
    with pytest.raises(Unsupported, match="GaussianMixture has a density"):
        sample(create("rnade", Event.real((3,))), 2, temperature=0.5)
    with pytest.raises(Unsupported, match=r"temperature 0\.5: a vae draws a datum whole"):
        sample(create("vae", BITS), 2, temperature=0.5)
    with pytest.raises(Unsupported, match="method: a vae"):
        sample(create("vae", BITS), 2, method="parallel")
    with pytest.raises(InvalidInput, match="temperature is -1"):
        sample(create("fvsbn", BITS), 2, temperature=-1.0)
    with pytest.raises(InvalidInput, match="no method 'paralel'"):
        sample(create("fvsbn", BITS), 2, method="paralel")


# Parallel draws


def test_independent_entries_take_two_calls_and_a_chain_one_for_each_change():
    """Right at once, and seen to be right at the second call; copies of the entry before travel one entry a call."""
    event = Event.binary((10,))
    model = create("fvsbn", event)
    with torch.no_grad():
        model.weight.zero_()
    assert draw(model, 20, options=DrawOptions(method="parallel")).calls == 2
    with torch.no_grad():
        model.bias.fill_(-50.0).view(-1)[0] = 50.0
        model.weight.view(10, 10)[torch.arange(1, 10), torch.arange(9)] = 100.0
    drawn = draw(model, 3, options=DrawOptions(method="parallel"))
    assert drawn.x.tolist() == [[1] * 10] * 3
    assert (drawn.calls, drawn.steps) == (10, 10)


def test_finished_data_leave_the_batch():
    sizes = []
    model = create("fvsbn", Event.binary((40,)))
    with torch.no_grad():
        model.weight.normal_()
    forward = model.forward
    model.forward = lambda x, condition=None: sizes.append(len(x)) or forward(x, condition)
    drawn = draw(model, 50, options=DrawOptions(method="parallel"))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 50 > sizes[-1]
    assert len(sizes) == drawn.calls < drawn.steps


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_a_model_that_gives_nan_is_refused(method):
    model = create("nade", Event.integers((4,), 5), hidden=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(InvalidInput, match="nade gives NaN"):
        sample(model, 2, method=method)


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_watching_shows_what_is_drawn(method):
    model = create("nade", BITS, order_seed=2)
    counts = []

    def watch(x, known):
        assert not x[~known].any() or method == "parallel"
        counts.append(int(known.sum()))
        final.copy_(x)

    final = torch.zeros(5, 6, dtype=torch.uint8)
    drawn = draw(model, 5, options=DrawOptions(batch_size=3, method=method, watch=watch))
    assert len(counts) == drawn.calls
    assert counts == sorted(counts)
    assert counts[-1] == 30
    assert torch.equal(final, drawn.x)


def test_the_command_says_what_was_done(digits_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--method", "parallel", "--temperature", "0.5", "--top_k", "9", "--top_p", "0.9"]
    assert main(["sample", str(digits_run), "-n", "4", "-o", "a.npy", *options]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "not exact draws from the model: temperature 0.5, top-k 9, top-p 0.9"
    assert lines[2].endswith("network calls in place of 64")
    assert main(["sample", str(digits_run), "-n", "4", "-o", "b.npy", *options[2:]]) == 0
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert main(["sample", str(digits_run), "-n", "4", "-o", "drawing.gif"]) == 0
    with Image.open("drawing.gif") as image:
        assert image.n_frames == 64


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
