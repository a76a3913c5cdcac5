"""Weights on disk as bytes: how far they are from what was saved, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import registry, store
from ancestral.models.base import Model


def made() -> Model:
    torch.manual_seed(0)
    return registry.create("made", Event.binary((12,)), hidden=(40,)).eval()


def test_bytes_are_within_half_a_step_of_each_row(tmp_path: Path) -> None:
    model = made()
    store.save(model, tmp_path, byte=True)
    again = store.load(tmp_path)[0].state_dict()
    compared = 0
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.dim() >= 2 and value.abs().max() > 0:
            step = value.abs().amax(-1, keepdim=True) / 127
            assert bool(((again[name] - value).abs() <= 0.5 * step + 127 * step * 2.0**-11).all()), name
            assert not torch.equal(again[name], value)
            compared += 1
    assert compared >= 2


def test_what_was_stored_as_bytes_stores_as_the_same_bytes(tmp_path: Path) -> None:
    store.save(made(), tmp_path / "one", byte=True)
    store.save(store.load(tmp_path / "one")[0], tmp_path / "two", byte=True)
    one, two = (load_file(tmp_path / folder / store.WEIGHTS) for folder in ("one", "two"))
    for name in one:
        if not name.endswith(store.SCALE):
            assert torch.equal(one[name], two[name]), name


def test_rows_of_zeros_and_very_small_rows_stay_finite() -> None:
    whole, scale = store.bytes_of("w", torch.tensor([[0.0, 0.0], [1e-9, -1e-9], [3.0, 1.0]]))
    assert bool(torch.isfinite(whole * scale.float()).all())
    assert (whole * scale.float())[:2].abs().max() <= 1e-9


def test_bytes_take_a_quarter_of_the_room(tmp_path: Path) -> None:
    model = registry.create("made", Event.binary((100,)), hidden=(200,))
    store.save(model, tmp_path / "whole")
    store.save(model, tmp_path / "bytes", byte=True)
    whole, small = ((tmp_path / folder / store.WEIGHTS).stat().st_size for folder in ("whole", "bytes"))
    assert small < 0.3 * whole


def test_a_number_too_large_for_half_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="w does not fit half precision"):
        store.bytes_of("w", torch.full((1, 2), 1e9))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, name: tensors.pop(name), "there is a scale for"),
        (lambda tensors, name: tensors.update({name: tensors[name].float()}), "no bytes to scale"),
        (lambda tensors, name: tensors.update({name + store.SCALE: torch.ones(3)}), "a number for each row"),
    ],
)
def test_scales_that_fit_nothing_are_refused(change: object, message: str, tmp_path: Path) -> None:
    store.save(made(), tmp_path, byte=True)
    tensors = load_file(tmp_path / store.WEIGHTS)
    name = next(key.removesuffix(store.SCALE) for key in tensors if key.endswith(store.SCALE))
    change(tensors, name)  # type: ignore[operator]
    save_file(tensors, tmp_path / store.WEIGHTS)
    with pytest.raises(InvalidInput, match=message):
        store.load(tmp_path)
