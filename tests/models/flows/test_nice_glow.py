"""NICE and Glow: volumes, inverses over all layouts, and what is refused."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.flows.glow import Glow
from ancestral.models.flows.nice import NICE
from tests.models.learning import check_change_of_variables, generator, learn, moved


@torch.no_grad()
def test_nice_changes_volumes_by_its_scaling_alone() -> None:
    model = moved(NICE(Event.real((5,)), couplings=4, hidden=(16,)), by=0.3)
    scaling = model.stages[0].layers[-1]
    u = torch.randn(10, 5, dtype=torch.float64, generator=generator())
    _, log_det = model.transform(u)
    expected = (scaling.log_scale_0 + scaling.log_scale_1).sum()
    torch.testing.assert_close(log_det, expected.expand(10), rtol=1e-12, atol=1e-12)


def test_nice_standardizes_the_first_batch() -> None:
    model = NICE(Event.real((3,)), couplings=2, hidden=(8,)).train()
    x = 5.0 * torch.randn(500, 3, generator=generator()) + 2.0
    model.loss(x)
    z = model.encode(x).detach()
    torch.testing.assert_close(z.mean(0), torch.zeros(3), rtol=0.0, atol=1e-4)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), rtol=0.0, atol=1e-4)


LAYOUTS = {
    "one scale": (Event.real((1, 2, 4)), {"scales": 1}),
    "down to one pixel": (Event.real((1, 4, 4)), {"scales": 5}),
    "half odd": (Event.real((2, 4, 6)), {"scales": 3}),
    "colour": (Event.real((3, 4, 4)), {"scales": 2}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inverse_and_log_determinant_of_glow(layout: str) -> None:
    event, options = LAYOUTS[layout]
    model = moved(Glow(event, Event.label(3), flow_steps=2, channels=4, **options), by=0.1)
    check_change_of_variables(model, torch.tensor([2, 0]))


def test_sides_are_halved_as_often_as_they_can_be() -> None:
    stages = [len(Glow(Event.real((1, 8, 12)), scales=n, flow_steps=1, channels=4).stages) for n in (1, 2, 3)]
    assert stages == [1, 2, 2]  # 12 / 4 is odd


@torch.no_grad()
@pytest.mark.parametrize("levels", [2, 256])
def test_codes_of_discrete_images_decode_to_them_in_single_precision(levels: int) -> None:
    event = Event.integers((1, 8, 8), levels)
    model = moved(Glow(event, flow_steps=3, channels=8), by=0.02).float()
    x = torch.randint(0, levels, (50, 1, 8, 8), generator=generator()).to(event.dtype)
    x[0], x[1] = 0, levels - 1
    assert torch.equal(model.decode(model.encode(x)), x)


def test_glow_learns_digits_of_three_patterns() -> None:
    torch.manual_seed(0)
    event = Event.integers((1, 2, 2), 4)
    patterns = torch.tensor([[0, 1, 2, 3], [3, 3, 0, 0], [1, 2, 1, 2]], dtype=torch.uint8).view(3, 1, 2, 2)
    label = torch.randint(0, 3, (500,), generator=generator())
    model = Glow(event, Event.label(3), flow_steps=3, channels=8)
    learn(model, patterns[label], label, steps=200, rate=1e-2)
    with torch.no_grad():
        x = model.sample(300, torch.arange(300) % 3, generator=generator())
    assert float((x == patterns[torch.arange(300) % 3]).float().mean()) > 0.9


def test_bad_options_and_images_are_refused() -> None:
    image = Event.real((1, 4, 4))
    for event, options, match in (
        (Event.real((1, 3, 4)), {}, "even height and width.*1x3x4"),
        (Event.real((16,)), {}, "glow takes images"),
        (image, {"scales": 0}, "scales needs"),
        (image, {"flow_steps": 0}, "flow_steps needs"),
        (image, {"channels": 0}, "a convolutional network needs"),
        (image, {"alpha": 0.5}, "alpha is 0.5"),
        (image, {"amplitude": -1.0}, "amplitude is -1.0"),
    ):
        with pytest.raises(InvalidInput, match=match):
            Glow(event, **options)
    for options, match in (({"couplings": 0}, "couplings needs"), ({"activation": "rely"}, "no activation 'rely'")):
        with pytest.raises(InvalidInput, match=match):
            NICE(Event.real((4,)), **options)
