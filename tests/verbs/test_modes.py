import json
import math

import numpy as np
import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.data.mixtures import GRID, MIXTURES, RING
from ancestral.errors import InvalidInput, Unsupported
from ancestral.models import create
from ancestral.verbs.inputs import Subject
from ancestral.verbs.modes import kl_to_uniform, mixture_modes, modes, stacked_modes


@pytest.mark.parametrize("name", MIXTURES)
def test_data_have_all_their_modes_and_the_share_of_high_quality_that_is_told(name):
    x, _ = load(name).split("test").batch(torch.arange(2500))
    found = mixture_modes(x, name)
    assert found.found == found.modes == len(MIXTURES[name].means)
    assert found.expected == pytest.approx(1 - math.exp(-4.5))  # a chi-squared variable of two degrees below 9
    assert abs(found.high_quality - found.expected) < 4 * math.sqrt(found.expected * (1 - found.expected) / 2500)
    # 2 n KL is nearly chi-squared, of as many degrees as there are modes but one.
    assert 2 * 2500 * found.kl < 2 * found.modes


def test_points_by_hand():
    inside, outside = 0.0299, 0.0301
    x = torch.tensor([[1 + inside, 0.0], [1 + outside, 0.0], [0.0, 1.0], [0.0, 1.0], [9.0, 9.0]], dtype=torch.float64)
    found = mixture_modes(x, "ring", "points")
    assert (found.found, found.count) == (2, 5)
    assert found.high_quality == pytest.approx(3 / 5)
    assert found.standard_error == pytest.approx(math.sqrt(3 / 5 * 2 / 5 / 5))
    assert found.shares == pytest.approx((1 / 3, 0, 2 / 3, 0, 0, 0, 0, 0))
    assert found.kl == pytest.approx(1 / 3 * math.log(8 / 3) + 2 / 3 * math.log(16 / 3))
    assert "points on ring (5 samples): 2 of 8 modes, KL to uniform" in str(found)


def test_samples_far_from_all_modes():
    found = mixture_modes(torch.full((4, 2), 100.0), "grid")
    assert (found.found, found.high_quality, found.kl) == (0, 0.0, None)
    assert "no sample of a mode" in str(found)


def test_divergence_from_uniform_by_hand():
    assert kl_to_uniform(torch.full((1000,), 26)) == pytest.approx(0.0, abs=1e-12)
    assert kl_to_uniform(torch.tensor([3, 1, 0, 0])) == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))
    assert kl_to_uniform(torch.zeros(3)) is None


def collapsed(mean):
    """A GAN whose generator gives one point alone."""
    model = create("gan", load("ring").event, latent=2, hidden=(4,))
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.zero_()
        last = [module for module in model.generator.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.bias.copy_(model.event.to_network(torch.tensor([mean]))[0])
    return model


def test_a_collapsed_generator_has_one_mode():
    found = modes(Subject(collapsed(RING.means[3]), "collapsed", "ring"), n=100)
    assert (found.found, found.modes, found.count, found.high_quality) == (1, 8, 100, 1.0)
    assert found.kl == pytest.approx(math.log(8))
    assert found.model == "collapsed"


def test_other_data_are_refused():
    with pytest.raises(Unsupported, match=r"the modes of digits are not known: name data of ring, grid, stacked-mnist"):
        modes(create("vae", load("digits").event), "digits")
    with pytest.raises(InvalidInput, match=r"vae is a model of 1x8x8 17 levels data, grid is 2 real"):
        modes(create("vae", load("digits").event), "grid")


def test_command(tmp_path, capsys):
    folder = tmp_path / "run"
    argv = ["fit", "gan", "grid", "--model.hidden", "8", "--model.latent", "2", "--train.steps", "2", "-o", str(folder)]
    assert main([*argv, "--train.samples", "0", "--data.limit", "200", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["modes", str(folder), "-n", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"], found["modes"], found["count"], len(found["shares"])) == ("grid", 25, 50, len(GRID.means))
    assert main(["modes", str(folder)]) == 0
    assert "(2,500 samples)" in capsys.readouterr().out


@pytest.mark.slow
def test_stacked_digits_have_nearly_all_modes(real_data):
    if not (real_data / "mnist").is_dir():
        pytest.skip("mnist is not in the data folder")
    data = load("stacked-mnist", condition="label")
    x, labels = data.split("train").batch(torch.arange(26_000))
    found = stacked_modes(x)
    assert found.accuracy > 0.985
    assert found.found == 1000
    shares = np.array(found.shares)
    truth = np.bincount(labels.numpy(), minlength=1000) / len(labels)
    assert np.abs(shares - truth).sum() / 2 < 0.06  # each of three digits is told wrong once in a hundred times
    assert found.kl < 0.06
    one = stacked_modes(x[:1].expand(100, 3, 28, 28))
    assert (one.found, one.kl) == (1, pytest.approx(math.log(1000)))


def test_pictures_of_another_shape_are_refused():
    with pytest.raises(InvalidInput, match=r"stacked digits are of shape \(3, 28, 28\), got \(1, 28, 28\)"):
        stacked_modes(torch.zeros(2, 1, 28, 28))
