import json

import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.models import create
from ancestral.models.store import load as load_model
from ancestral.models.store import save
from ancestral.verbs.latents import arithmetic, interpolate, manifold, reconstruct, traverse


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vae(here):
    """A saved VAE of digits with five latents, untrained, and what it was "trained" on."""
    torch.manual_seed(0)
    model = create("vae", load("digits").event, latent=5, hidden=(8,))
    save(model, here / "vae", {"data": {"name": "digits", "record": {"options": {"limit": 50}}}})
    return load_model(here / "vae")[0]


@pytest.fixture
def data():
    return load("digits", limit=50)


def test_reconstruct_draws_data_above_what_is_left(vae, data, capsys):
    assert main(["reconstruct", "vae", "--limit", "4", "-o", "a.npy"]) == 0
    x = data.splits["test"].x[:4]
    assert np.array_equal(np.load("a.npy"), torch.stack((x, reconstruct(vae, x))).numpy())
    assert main(["reconstruct", "vae"]) == 0
    assert "wrote 10 data and their reconstructions to reconstructions.png" in capsys.readouterr().err
    with Image.open("reconstructions.png") as image:
        assert image.width > 4 * image.height


def test_reconstruct_and_interpolate_take_image_files(vae):
    for name, value in (("a", 0), ("b", 255)):
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(f"{name}.png")
    assert main(["reconstruct", "vae", "a.png", "b.png", "-o", "r.npy"]) == 0
    x = np.load("r.npy")
    assert x.shape == (2, 2, 1, 8, 8)
    assert x[0, 0].max() == 0
    assert x[0, 1].min() == 16
    assert main(["interpolate", "vae", "a.png", "b.png", "--steps", "3", "-o", "i.npy"]) == 0
    found = torch.from_numpy(np.load("i.npy"))
    assert torch.equal(found, interpolate(vae, torch.from_numpy(x[0, :1]), torch.from_numpy(x[0, 1:]), 3))


def test_interpolate_goes_between_numbers_of_a_split(vae, data, capsys):
    assert main(["interpolate", "vae", "3", "7", "--how", "spherical", "-o", "i.npy"]) == 0
    x = data.splits["test"].x
    assert np.array_equal(np.load("i.npy"), interpolate(vae, x[3], x[7], how="spherical").numpy())
    assert main(["interpolate", "vae", "3", "7", "-o", "i.gif"]) == 0
    with Image.open("i.gif") as image:
        assert image.n_frames <= 8
    assert "wrote 8 data on the way to i.gif" in capsys.readouterr().err


def test_manifold_says_what_its_axes_are(vae, data, capsys):
    assert main(["manifold", "vae", "--side", "3", "-o", "m.npy"]) == 0
    plane = manifold(vae, 3, data=data)
    assert np.array_equal(np.load("m.npy"), plane.x.numpy())
    assert capsys.readouterr().err == f"wrote the plane of {plane.axes} to m.npy\n"
    assert "principal axes" in plane.axes


def test_arithmetic_names_its_terms(vae, data, capsys):
    assert main(["arithmetic", "vae", "--plus", "3,8", "--minus", "5", "-o", "s.npy"]) == 0
    found = arithmetic(vae, [3, 8], [5], data=load("digits", limit=50, condition="label"))
    assert torch.equal(torch.from_numpy(np.load("s.npy"))[0, -1], found.x)
    counts = [group.count for group in found.groups]
    assert capsys.readouterr().err == "wrote + 3 ({} data) + 8 ({} data) - 5 ({} data) to s.npy\n".format(*counts)
    assert main(["arithmetic", "vae", "--plus", "3", "-o", "s.png"]) == 0


def test_traverse_one_latent_or_those_that_vary_most(vae, data, capsys):
    assert main(["traverse", "vae", "--latent", "3", "-o", "t.npy", "--steps", "5"]) == 0
    assert np.array_equal(np.load("t.npy"), traverse(vae, 3, data=data, steps=5).x.numpy())
    assert main(["traverse", "vae", "--count", "2"]) == 0
    found = traverse(vae, data=data, count=2)
    assert capsys.readouterr().err.splitlines()[-1] == "wrote 2 rows of latent {}, {} to traverse.png".format(*found.latents)


def test_refused(vae, digits_run, capsys):
    for argv, message in (
        (["reconstruct", str(digits_run)], "made (autoregressive) has no encode and no decode. Models that have codes: "),
        (["reconstruct", "vae", "-o", "a.doc"], "its suffix is .doc, expected one of .png"),
        (["interpolate", "vae", "1"], "got 1 data to go between, expected two"),
        (["interpolate", "vae", "1", "50"], "there is no datum 50, the split has 50"),
        (["interpolate", "vae", "1", "b.png"], "1 is no image"),
        (["manifold", "vae", "--side", "0"], "side is 0, expected at least 1"),
        (["arithmetic", "vae"], "--plus is missing"),
        (["arithmetic", "vae", "--plus", "eleven"], "there is no class 'eleven'"),
        (["arithmetic", "vae", "--plus", "3", "--by", "colour"], "has no column 'colour'"),
        (["traverse", "vae", "--latent", "5"], "there is no latent 5, expected 0 to 4"),
    ):
        assert main(argv) == 2
        line = capsys.readouterr().err
        assert message in line
        assert line.count("\n") == 1


def test_disentangle_prints_a_table_and_json(here, capsys):
    save(create("vae", load("shapes").event, latent=2, hidden=(4,)), here / "shapes-vae")
    assert main(["disentangle", "shapes-vae", "shapes", "--limit", "100", "--factors", "shape,x"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 latents, 100 data (shapes); disentanglement 0.")
    assert lines[2].split() == ["factor", "gap", "completeness", "informativeness"]
    assert [line.split()[0] for line in lines[3:]] == ["shape", "x", "mean"]
    assert main(["disentangle", "shapes-vae", "shapes", "--limit", "100", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["importance"][0]) == 5
