import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.cli.main import main
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.maps import draw_score_maps, entry_maps, image_maps, score_map


def test_the_bits_of_a_pixel_are_those_of_its_conditional():
    """Independent coins with P(1) = 1/8, 1/2 and 1/4: 3, 1 and log2(4/3) bits for 1, 0, 0."""
    model = create("fvsbn", Event.binary((3,)))
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.logit(torch.tensor([1 / 8, 1 / 2, 1 / 4])).view_as(model.bias))
    torch.testing.assert_close(
        score_map(model, torch.tensor([[1, 0, 0]])), torch.tensor([[3.0, 1.0, 0.4150375]], dtype=torch.float64)
    )


def test_the_bits_of_a_mixture_are_weighted_by_what_came_before():
    """Of two members of one order, by hand: P(x_t | x_<t) = sum_k p_k(x_<=t) / sum_k p_k(x_<t)."""
    model = create("made", Event.binary((4,)), hidden=(6,), masks=2, orders="natural").double()
    x = torch.tensor([[1, 0, 1, 1]])
    with torch.no_grad():
        each = torch.stack([model.entry_log_prob(model.member_forward(k, x), x)[0] for k in range(2)])
    joint = each.cumsum(1).exp().mean(0)
    expected = -torch.log2(joint / torch.cat((torch.ones(1), joint[:-1])))
    torch.testing.assert_close(score_map(model, x)[0], expected)


@pytest.mark.parametrize("event", [Event.binary((1, 4, 4)), Event.integers((3, 4, 5), 256), Event.real((2, 4, 4))], ids=str)
def test_pictures_of_images(event: Event, tmp_path):
    x = torch.zeros(3, *event.shape, dtype=event.dtype)
    bits = torch.rand(3, *event.shape, dtype=torch.float64)
    figure = image_maps(event, x, bits)
    picture, colours = figure.axes
    assert colours.get_ylabel().startswith("bits of a pixel")
    assert colours.get_ylim()[1] == pytest.approx(float(bits.sum(1).max()))
    assert picture.images[0].get_array().shape[2] == 3


def test_pictures_of_other_data():
    figure = entry_maps(torch.rand(3, 5) - 0.5)
    assert figure.axes[0].get_xlabel() == "entry"
    assert figure.axes[0].images[0].get_array().shape == (3, 5)


def test_maps_of_a_split(digits_run, tmp_path):
    bits = draw_score_maps(digits_run, tmp_path / "maps.png", limit=3)
    assert bits.shape == (3, 1, 8, 8)
    with Image.open(tmp_path / "maps.png") as image:
        assert len(np.unique(np.asarray(image))) > 10
    with pytest.raises(InvalidInput, match="limit is 0"):
        draw_score_maps(digits_run, tmp_path / "none.png", limit=0)
    assert not (tmp_path / "none.png").exists()


def test_the_command(digits_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["score", str(digits_run), "--map", "maps.png"]) == 0
    out, err = capsys.readouterr()
    assert (out, "drew the bits of 16 data" in err) == ("", True)
    assert main(["score", str(digits_run), "--map", "maps.svg", "--limit", "2", "-o", "scores.csv"]) == 0
    err = capsys.readouterr().err
    assert "drew the bits of 2 data" in err
    assert "wrote 2 scores" in err
    assert main(["score", str(digits_run), "--map", "maps.txt"]) == 2
    assert "expected one of .png" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps.png", "maps.svg", "scores.csv"]
