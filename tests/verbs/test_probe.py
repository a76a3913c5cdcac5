import json

import numpy as np
import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import ArraySplit, Data, load
from ancestral.data.labels import spread
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.store import save
from ancestral.verbs.probe import probe, probe_plot
from tests.verbs.test_latents import Itself


class Hidden(Itself):
    """Codes that take two entries out of many that are noise."""

    def encode(self, x, condition=None):
        return x[:, :2] * self.weight


@pytest.fixture(scope="module")
def blobs():
    """Three classes that two entries tell, among forty that are louder and tell nothing."""
    generator = torch.Generator().manual_seed(0)
    splits = {}
    for name, n in (("train", 600), ("test", 400)):
        y = torch.randint(3, (n,), generator=generator)
        angle = y * 2 * torch.pi / 3
        x = torch.randn(n, 42, generator=generator) * 3
        x[:, :2] = 0.3 * torch.randn(n, 2, generator=generator) + torch.stack((angle.cos(), angle.sin()), dim=1)
        splits[name] = ArraySplit(x, y)
    return Data("blobs", Event.real((42,)), splits, Event.label(3))


def test_codes_that_tell_the_class_need_few_labels(blobs):
    found = probe(Hidden(blobs.event), blobs, (6, 60, 600))
    rows = found.table.set_index(["features", "labels"])["accuracy"]
    assert rows["Hidden", 6] > 0.9
    assert rows["data", 6] < 0.7 < rows["data", 600]
    assert rows["PCA", 600] < 0.5  # the loudest components tell nothing
    assert (found.count, found.repeats) == (400, 3)
    assert set(found.table["features"]) == {"data", "PCA", "Hidden"}
    json.dumps(found.to_json())


def test_several_models_and_splits_in_one_table(blobs):
    halves = {"train": (0, 300), "more": (300, 600)}
    train = blobs.split("train")
    splits = {name: ArraySplit(train.x[a:b], train.condition[a:b]) for name, (a, b) in halves.items()}
    data = Data("halves", blobs.event, {**splits, "test": blobs.split("test")}, blobs.condition)
    found = probe(Hidden(data.event), data, (30, 600), beside=[Itself(data.event)], labelled=("train", "more"), components=2)
    rows = found.table.set_index(["features", "labels"])
    assert found.table["features"].unique().tolist() == ["data", "PCA", "Hidden", "Itself"]
    for n in (30, 600):  # the same draws serve all features
        assert rows.loc[("Itself", n), "accuracy"] == rows.loc[("data", n), "accuracy"]
    alone = probe(Hidden(data.event), blobs, (30, 600)).table.set_index(["features", "labels"])
    assert rows.loc[("Hidden", 600), "accuracy"] == alone.loc[("Hidden", 600), "accuracy"], "the same 600 labels"
    assert not rows.loc[("data", 30)].isna()["standard_error"]
    assert rows.loc[("data", 600)].isna()["standard_error"], "all labels are drawn once"
    assert probe_plot(found).axes[0].get_xscale() == "log"


def test_labels_are_drawn_evenly_over_the_classes():
    y = np.array([0] * 90 + [1] * 8 + [2] * 2)
    chosen = spread(y, 12, np.random.default_rng(0))
    assert len(np.unique(chosen)) == 12
    assert np.bincount(y[chosen]).tolist() == [5, 5, 2]
    assert not np.array_equal(chosen, spread(y, 12, np.random.default_rng(1)))


def test_constant_columns_and_one_class_among_the_labelled():
    x = torch.ones(30, 4)
    data = Data(
        "ones", Event.real((4,)), {k: ArraySplit(x, torch.zeros(30).long()) for k in ("train", "test")}, Event.label(2)
    )
    assert (probe(Itself(data.event), data, [5], repeats=1).table["accuracy"] == 1.0).all()


def test_refused(blobs):
    bare = Data("bare", blobs.event, {"train": ArraySplit(torch.zeros(3, 42)), "test": ArraySplit(torch.zeros(3, 42))})
    model = Hidden(blobs.event)
    for message, call in {
        r"labels are \[1\], expected numbers from 2 to 600": lambda: probe(model, blobs, [1]),
        r"labels are \[601\]": lambda: probe(model, blobs, [601]),
        r"bare has none: name a column": lambda: probe(model, bare),
        r"name each model once": lambda: probe(model, blobs, beside=[Hidden(blobs.event)]),
        r"Itself is a model of 7 real data, blobs is 42 real": lambda: probe(model, blobs, beside=[Itself(Event.real((7,)))]),
        r"expected splits other than 'test'": lambda: probe(model, blobs, labelled=("train", "test")),
        r"components is 0": lambda: probe(model, blobs, components=0),
        r"take a model without a condition": lambda: probe(Hidden(blobs.event, blobs.condition), blobs),
    }.items():
        with pytest.raises(InvalidInput, match=message):
            call()
    with pytest.raises(Unsupported, match=r"made .* has no encode. Models that have: "):
        probe(create("made", blobs.event, hidden=(4,)), blobs)


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(create("vae", load("digits").event, latent=4, hidden=(8,)), tmp_path / "vae")
    arguments = ["probe", "vae", "digits", "--labels", "10,50", "--limit", "200"]
    assert main([*arguments, "-o", "probe.png"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[2].split() == ["features", "labels", "accuracy"]
    assert len(out.splitlines()) == 9
    assert err == "wrote the plot to probe.png\n"
    assert main([*arguments, "--json", "--repeats", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["probe"][0]["standard_error"] is None
    assert main(["probe", "vae", "digits", "-o", "a.csv"]) == 2
    save(create("denoising-autoencoder", load("digits").event, hidden=(8,)), tmp_path / "dae")
    capsys.readouterr()
    assert main([*arguments, "--json", "--beside", "dae", "--labelled", "train,validation", "--components", "3"]) == 0
    told = {row["features"] for row in json.loads(capsys.readouterr().out)["probe"]}
    assert told == {"data", "PCA", "vae", "dae"}
