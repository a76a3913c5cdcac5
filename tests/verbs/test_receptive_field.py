"""The receptive field of a conditional, and its picture."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import registry
from ancestral.verbs.receptive_field import figure, main, receptive_field


def test_it_is_what_the_order_allows_and_leaves_the_model_as_it_was() -> None:
    model = registry.create("made", Event.real((5,)), hidden=(64,)).train()
    for position in range(5):
        seen = receptive_field(model, (position,), torch.Generator().manual_seed(0)) > 0
        assert seen.tolist() == [i < position for i in range(5)]
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_a_conditional_model_is_measured_given_an_example() -> None:
    model = registry.create("gated-pixelcnn", Event.integers((3, 2, 2), 4), Event.label(3), channels=12, layers=2)
    field = receptive_field(model, (1, 1, 0), torch.Generator().manual_seed(0))
    assert field.shape == (3, 2, 2)
    seen = field > 0
    assert bool(seen[:, 0].all())  # the row above
    assert seen[:, 1, 0].tolist() == [True, False, False]  # R of the same pixel
    assert not bool(seen[:, 1, 1].any())


def test_what_has_no_conditionals_or_no_such_entry_is_refused() -> None:
    with pytest.raises(Unsupported, match="autoregressive"):
        receptive_field(registry.create("vae", Event.binary((4,))), (0,))
    for position in ((0,), (0, 2, 0), (0, 0, -1)):
        with pytest.raises(InvalidInput, match="expected one index for each axis"):
            receptive_field(registry.create("pixelcnn", Event.binary((1, 2, 2)), channels=4, layers=1), position)


def test_the_picture_tells_the_two_models_apart(tmp_path: Path) -> None:
    path = tmp_path / "field.png"
    main(path)
    with Image.open(path) as image:
        width, height = image.size
        half = width // 2
        blind = {color for _, color in image.convert("RGB").crop((0, 0, half, height * 3 // 4)).getcolors(1 << 20) or []}
        whole = {color for _, color in image.convert("RGB").crop((half, 0, width, height * 3 // 4)).getcolors(1 << 20) or []}
    orange = (0xE4, 0x57, 0x2E)
    assert orange in blind
    assert orange not in whole


def test_only_images_are_drawn() -> None:
    with pytest.raises(InvalidInput, match="expected one of images"):
        figure({"made": registry.create("made", Event.binary((4,)))}, (0, 0, 0))
