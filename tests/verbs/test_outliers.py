import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from ancestral.data import ArraySplit, Data, load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.base import Model
from ancestral.training import Run
from ancestral.verbs.background import Noised, fit_background, noised
from ancestral.verbs.inputs import open_model
from ancestral.verbs.outlier_scores import code_bits
from ancestral.verbs.outliers import draw_outliers, outliers
from ancestral.verbs.score import likelihood_of


class Gaussian(Model):
    """A density that is known: N(0, I)."""

    takes = ("real",)
    likelihood = likelihood_of(create("made", Event.real((2,)), hidden=(4,)))

    def __init__(self, event: Event, condition: Event | None = None, *, scale: float = 1.0) -> None:
        super().__init__(event, condition)
        self.scale = torch.nn.Parameter(torch.tensor(scale))

    def log_prob(self, x, condition=None, *, generator=None):
        return torch.distributions.Normal(0.0, self.scale).log_prob(x).sum(1)


@pytest.fixture
def normal():
    generator = torch.Generator().manual_seed(0)
    splits = {name: ArraySplit(torch.randn(400, 2, generator=generator)) for name in ("train", "validation", "test")}
    return Data("normal", Event.real((2,)), splits)


@pytest.fixture
def model(normal):
    return Gaussian(normal.event)


def test_likelihood_orders_by_density_with_p_values_of_held_out_data(model, normal):
    found = outliers(model, normal)
    x, held = normal.splits["test"].x, normal.splits["validation"].x
    nats, of_held = (-model.log_prob(v).detach().double() for v in (x, held))
    expected = [(1 + int((of_held >= value).sum())) / 401 for value in nats]
    table = found.table.sort_values("index")
    np.testing.assert_allclose(table["likelihood"], nats, rtol=1e-6)
    np.testing.assert_allclose(table["p_value"], expected)
    assert found.table["p_value"].is_monotonic_increasing
    assert (found.table["outlier"] == (found.table["p_value"] <= 0.05)).all()
    assert (found.calibration, found.inliers, found.kind) == ("normal, validation split", 400, "exact")
    assert abs(found.table["outlier"].mean() - 0.05) < 0.04


def test_typicality_finds_what_is_too_likely():
    event = Event.real((50,))
    generator = torch.Generator().manual_seed(0)
    model, inliers = Gaussian(event), torch.randn(200, 50, generator=generator)
    x = torch.cat((torch.zeros(1, 50), torch.randn(5, 50, generator=generator)))
    by_likelihood = outliers(model, x, calibration=inliers).table
    by_typicality = outliers(model, x, calibration=inliers, score="typicality").table
    assert by_likelihood["index"].iloc[-1] == 0
    assert by_likelihood["p_value"].iloc[-1] == 1.0
    assert by_typicality["index"].iloc[0] == 0
    assert by_typicality["p_value"].iloc[0] == pytest.approx(1 / 201)


def test_ratio_is_that_of_both_models(model, normal):
    wide = Gaussian(normal.event, scale=3.0)
    table = outliers(model, normal, score="ratio", background=wide).table.sort_values("index")
    x = normal.splits["test"].x
    np.testing.assert_allclose(table["ratio"], (wide.log_prob(x) - model.log_prob(x)).detach(), rtol=1e-4, atol=1e-5)


def test_complexity_takes_the_bits_of_a_codec_away(digits_run):
    data = load("digits", limit=100)
    subject = open_model(digits_run)
    table = outliers(digits_run, score="complexity").table.sort_values("index")
    x = data.splits["test"].x
    bits = -subject.model.log_prob(x).detach().double() / math.log(2) - code_bits(x, data.event)
    np.testing.assert_allclose(table["complexity"], bits, rtol=1e-5)


def test_all_scores_with_one_p_value_and_their_auroc(digits_run):
    data = load("digits", limit=100)
    noise = torch.randint(17, (60, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = outliers(digits_run, score="all", background=digits_run, against=noise, contamination=0.1)
    assert found.scores == ("likelihood", "typicality", "ratio", "complexity")
    each = found.table[[f"{name}_p" for name in found.scores]].to_numpy()
    np.testing.assert_allclose(found.table["p_value"], np.minimum(1.0, 4 * each.min(1)))
    assert set(found.auroc) == {*found.scores, "all"}
    assert found.auroc["ratio"] == (0.5, 0.0)  # the background is the model itself
    model = open_model(digits_run).model
    nats = [-model.log_prob(x).detach().double() for x in (data.splits["test"].x, noise)]
    expected = roc_auc_score([0] * 100 + [1] * 60, torch.cat(nats).numpy())
    assert found.auroc["likelihood"][0] == pytest.approx(expected, abs=1e-3)
    assert found.against == "the outliers"
    json.dumps(found.to_json(), allow_nan=False)


def test_all_leaves_out_what_is_not_there(model, normal):
    assert outliers(model, normal, score="all").scores == ("likelihood", "typicality")


def test_what_is_impossible_comes_first_and_is_null_in_json(model):
    x = torch.tensor([[0.0, 0.0], [3e38, 0.0]])
    found = outliers(model, x, calibration=torch.randn(50, 2), score="all", background=Gaussian(model.event, scale=2.0))
    assert found.table["index"].tolist() == [1, 0]
    assert found.table["ratio"].iloc[0] == math.inf
    first = found.to_json()["outliers"][0]
    assert first["likelihood"] is None
    assert first["p_value"] == pytest.approx(3 / 51)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_file_without_splits_is_scored_whole(tmp_path, model):
    run = Gaussian(Event.real((2,)))
    path = tmp_path / "new.npy"
    np.save(path, np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32))
    found = outliers(run, str(path), calibration=torch.randn(50, 2))
    assert sorted(found.table["index"]) == list(range(30))
    x = torch.from_numpy(np.load(path))
    np.testing.assert_allclose(found.table.sort_values("index")["likelihood"], -run.log_prob(x).detach(), rtol=1e-5)
    assert len(outliers(run, str(path), "test", calibration=torch.randn(50, 2)).table) == 3
    assert outliers(run, torch.zeros(1, 2), calibration=str(path)).inliers == 30


def test_fewer_inliers_are_drawn_from_all(model, normal):
    one, other = (outliers(model, normal, calibration_limit=60, seed=seed) for seed in (0, 1))
    assert one.inliers == 60
    assert not one.table["p_value"].equals(other.table["p_value"])


def test_constant_columns_duplicate_rows_and_one_datum(digits_run):
    blank = torch.zeros(1, 1, 8, 8)
    one = outliers(digits_run, blank).table
    assert len(one) == 1
    many = outliers(digits_run, blank.expand(5, -1, -1, -1)).table
    assert many["p_value"].nunique() == 1
    assert many["p_value"].iloc[0] == one["p_value"].iloc[0]
    assert many["index"].tolist() == [0, 1, 2, 3, 4]


def test_refused(model, normal, digits_run, conditional_run):
    few = Data("few", normal.event, {"validation": ArraySplit(torch.zeros(10, 2)), "test": ArraySplit(torch.zeros(3, 2))})
    bare = Data("bare", normal.event, {"test": ArraySplit(torch.zeros(3, 2))})
    for message, call in {
        r"10 inliers \(few, validation split\) give no p-value below 1/11, .*at least 19": lambda: outliers(model, few),
        r"bare has no split 'validation' to calibrate with": lambda: outliers(model, bare),
        r"data and inliers are both normal, validation split": lambda: outliers(model, normal, "validation"),
        r"holds 1 NaN or infinite": lambda: outliers(model, torch.tensor([[0.0, torch.inf]])),
        r"contamination is 1.5, expected a share": lambda: outliers(model, normal, contamination=1.5),
        r"there is no score 'density'": lambda: outliers(model, normal, score="density"),
        r"ratio needs background=": lambda: outliers(model, normal, score="ratio"),
        r"3 names for 400 data|got 3 names": lambda: outliers(model, normal, names=["a", "b", "c"]),
        r"is a model of 2 real data, digits is": lambda: outliers(digits_run, score="ratio", background=model),
        r"needs a condition": lambda: outliers(conditional_run, torch.zeros(3, 1, 8, 8)),
    }.items():
        with pytest.raises(InvalidInput, match=message):
            call()
    with pytest.raises(Unsupported, match=r"gan .* has no log_prob"):
        outliers(create("gan", normal.event), normal)
    with pytest.raises(Unsupported, match=r"of whole numbers"):
        outliers(model, normal, score="complexity")


def test_a_bound_and_an_exact_figure_have_no_ratio(digits_run):
    vae = create("vae", load("digits").event, latent=2, hidden=(4,))
    with pytest.raises(InvalidInput, match="kind exact, of vae of kind lower bound"):
        outliers(digits_run, score="ratio", background=vae)


def test_pictures_of_images_that_are_not_square(tmp_path):
    event = Event.binary((1, 6, 11))
    x = torch.randint(2, (40, *event.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = Data("wide", event, {"validation": ArraySplit(x[:20]), "test": ArraySplit(x[20:])})
    found = outliers(create("fvsbn", event), data)
    draw_outliers(found, data, tmp_path / "outliers.png")
    with Image.open(tmp_path / "outliers.png") as image:
        assert image.width > 400
    alone = outliers(create("fvsbn", event), data, limit=1)
    draw_outliers(alone, data, tmp_path / "alone.png")
    assert (tmp_path / "alone.png").exists()


def test_no_pictures_of_tables(tmp_path, model, normal):
    with pytest.raises(InvalidInput, match="a picture is of images, normal are 2 real"):
        draw_outliers(outliers(model, normal), normal, tmp_path / "a.png")


# Background models


@pytest.mark.parametrize(
    "event", [Event.binary((200,)), Event.integers((200,), 5), Event.real((200,), (9.0,) * 200, (0.1,) * 200)]
)
def test_noise_draws_so_many_entries_anew(event):
    x = event.from_network(torch.zeros(50, 200)).to(event.dtype)
    y = noised(x, event, 0.3, torch.Generator().manual_seed(0))
    event.check(y)
    assert y.dtype == x.dtype
    changed = float((y != x).double().mean())
    expected = 0.3 * (1 if event.levels is None else 1 - 1 / event.levels)
    assert abs(changed - expected) < 0.02
    if event.levels is None:
        fresh = y[y != x]
        assert float(fresh.mean()) == pytest.approx(9.0, abs=0.01)
        assert float(fresh.std()) == pytest.approx(0.1, abs=0.01)


def test_a_noised_split_follows_its_generator():
    split = Noised(ArraySplit(torch.zeros(9, 30), torch.arange(9)), Event.binary((30,)), 0.5)
    one, other, again = (split.batch(torch.arange(9), torch.Generator().manual_seed(seed))[0] for seed in (0, 1, 0))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert split.batch(torch.tensor([3]))[1].tolist() == [3]
    assert len(split) == 9


def test_a_background_model_is_trained_like_the_model(digits_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = fit_background(digits_run, epochs=2, progress=False)
    assert run.path.name == "digits-made-background-1"
    own = Run(digits_run).config
    assert run.config["model"] == own["model"]
    assert run.config["training"]["epochs"] == 2
    assert run.config["training"]["learning_rate"] == own["training"]["learning_rate"]
    assert "drawn anew with probability 0.2" in run.config["data"]["record"]["preprocessing"][-1]
    small = fit_background(digits_run, model_options={"hidden": (4,)}, epochs=1, progress=False, output="small")
    assert small.config["model"]["options"] == {**own["model"]["options"], "hidden": [4]}
    with pytest.raises(InvalidInput, match=r"noise is 0.0, expected"):
        fit_background(digits_run, noise=0.0)
    with pytest.raises(InvalidInput, match="in data of one length"):
        noised(torch.zeros(1, 4), Event.sentences(4, 3), 0.2)
    found = outliers(digits_run, score="ratio", background="noise")
    assert found.background == "runs/digits-made-background-2"
    assert found.table.equals(outliers(digits_run, score="ratio", background=found.background).table)


def test_an_energy_ranks_as_its_likelihood_does(monkeypatch):
    """Ranks and p-values by free energy are those by the likelihood, which is a constant away."""
    generator = torch.Generator().manual_seed(0)
    splits = {
        name: ArraySplit(torch.randint(2, (60, 8), generator=generator).byte()) for name in ("train", "validation", "test")
    }
    data = Data("coins", Event.binary((8,)), splits)

    def machine() -> Model:
        torch.manual_seed(0)
        model = create("rbm", data.event, hidden=5)
        with torch.no_grad():
            model.weight.normal_()
        return model

    known = outliers(machine(), data, calibration=data)
    monkeypatch.setattr("ancestral.models.energy.rbm.MAX_ENUMERATED", 4)
    unknown = outliers(machine(), data, calibration=data)
    assert known.kind == "exact"
    assert unknown.kind == "none (log p up to a constant)"
    assert unknown.table["index"].tolist() == known.table["index"].tolist()
    assert unknown.table["p_value"].tolist() == known.table["p_value"].tolist()
    shift = unknown.table["likelihood"] - known.table["likelihood"]
    assert float(shift.std()) < 1e-5 < abs(float(shift.mean()))
