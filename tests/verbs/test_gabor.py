"""Gabor fits: parameters that are known, noise that must not fit, and what cannot be fitted."""

import json
import math

import pytest
import torch

from ancestral.cli.main import main
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.registry import create
from ancestral.models.store import save
from ancestral.verbs.gabor import fit_gabors, gabors
from tests.models.learning import generator


def wave(x: float, y: float, degrees: float, frequency: float, length: float, width: float, phase: float) -> torch.Tensor:
    down, across = torch.meshgrid(torch.arange(14.0) - y, torch.arange(14.0) - x, indexing="ij")
    angle = math.radians(degrees)
    u, v = across * math.cos(angle) + down * math.sin(angle), down * math.cos(angle) - across * math.sin(angle)
    return torch.exp(-0.5 * (u / length) ** 2 - 0.5 * (v / width) ** 2) * torch.cos(
        2 * math.pi * frequency * u + math.radians(phase)
    )


@pytest.mark.parametrize(
    "told",
    [(6.0, 7.0, 30.0, 0.2, 2.0, 3.0, 40.0), (4.0, 9.0, 120.0, 0.12, 2.5, 1.8, 0.0), (7.0, 6.0, 90.0, 0.3, 3.0, 3.0, 200.0)],
)
def test_known_functions_are_found(told: tuple[float, ...]) -> None:
    (found,) = fit_gabors(2.5 * wave(*told)[None]).table.to_dict("records")
    assert found["r_squared"] > 0.999
    x, y, degrees, frequency, length, width, phase = told
    assert (found["x"], found["y"]) == pytest.approx((x, y), abs=0.05)
    assert math.cos(2.0 * math.radians(found["orientation"] - degrees)) > 0.999
    assert found["frequency"] == pytest.approx(frequency, abs=0.005)
    assert (found["length"], found["width"]) == pytest.approx((length, width), rel=0.05)
    assert found["amplitude"] == pytest.approx(2.5, rel=0.05)
    # Turned by 180 degrees, the same wave has the phase with the other sign.
    assert max(math.cos(math.radians(found["phase"] - sign * phase)) for sign in (1, -1)) > 0.99


def test_white_noise_fits_badly_and_counts_are_by_the_bound() -> None:
    filters = torch.cat((torch.randn(10, 14, 14, generator=generator()), wave(6, 7, 30, 0.2, 2, 3, 40)[None]))
    filters[-1] += 0.05 * torch.randn(14, 14, generator=generator(1))
    found = fit_gabors(filters, 0.8)
    assert found.count == 1
    assert float(found.table["r_squared"][:10].max()) < 0.5
    assert fit_gabors(filters, 0.01).count == 11
    assert found.to_json()["fitted"] == 1


def test_a_filter_of_zeros_fits_nothing() -> None:
    found = fit_gabors(torch.zeros(1, 6, 6))
    assert found.count == 0
    assert math.isnan(found.table["frequency"][0])


def test_the_command_counts(tmp_path, capsys) -> None:
    model = create("sparse-coding", Event.real((1, 14, 14)), atoms=2)
    with torch.no_grad():
        model.atoms[0] = wave(6, 7, 30, 0.2, 2, 3, 40).flatten()
    save(model, tmp_path / "model")
    assert main(["gabor", str(tmp_path / "model"), "--bound", "0.9"]) == 0
    assert "1 of 2 filters" in capsys.readouterr().out
    assert main(["gabor", str(tmp_path / "model"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fitted"] == 1
    assert found["gabors"][0]["frequency"] == pytest.approx(0.2, abs=0.01)


def test_what_cannot_be_fitted_is_a_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"gray filters .* got shape \(2, 3, 3\)"):
        fit_gabors(torch.ones(2, 3, 3))
    with pytest.raises(InvalidInput, match=r"bound is 1.0"):
        fit_gabors(torch.ones(2, 6, 6), 1.0)
    with pytest.raises(InvalidInput, match=r"NaN or infinite"):
        fit_gabors(torch.full((1, 6, 6), torch.nan))
    with pytest.raises(Unsupported, match=r"which has no filters"):
        gabors(create("fvsbn", Event.binary((1, 4, 4))))
    with pytest.raises(InvalidInput, match=r"expected gray images"):
        gabors(create("sparse-coding", Event.real((3, 6, 6)), atoms=3))
