"""Gated PixelCNN: causality, the receptive field, and steps that equal the forward pass."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.gated_pixelcnn import GatedPixelCNN
from ancestral.verbs.receptive_field import receptive_field
from tests.models.autoregressive.images import (
    CONDITIONS,
    HEADS,
    SHAPES,
    dependence,
    event_and_head,
    largest_difference,
    perturbed,
    total_probability,
)


@given(
    shape=SHAPES,
    head=HEADS,
    condition=CONDITIONS,
    kernel=st.sampled_from((3, 5)),
    separable=st.booleans(),
    channels=st.integers(3, 8),
    layers=st.integers(1, 3),
    skip=st.booleans(),
    vertical_residual=st.booleans(),
    positions=st.booleans(),
    double=st.booleans(),
)
def test_steps_equal_forward(
    shape: tuple[int, int, int],
    head: str,
    condition: Event | None,
    kernel: int,
    separable: bool,
    channels: int,
    layers: int,
    skip: bool,
    vertical_residual: bool,
    positions: bool,
    double: bool,
) -> None:
    event, head = event_and_head(shape, head)
    model = GatedPixelCNN(
        event,
        condition,
        channels=channels,
        layers=layers,
        kernel=kernel,
        horizontal_kernel=3 if separable else None,
        separable=separable,
        head_channels=5,
        head=head,
        components=2,
        skip=skip,
        vertical_residual=vertical_residual,
        positions=positions,
    )
    dtype, tolerance = (torch.float64, 1e-10) if double else (torch.float32, 1e-5)
    assert largest_difference(perturbed(model, dtype)) < tolerance


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 4), (2, 1, 4), (2, 4, 1)])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("vertical_residual", [True, False])
def test_every_entry_depends_on_all_before_it_and_none_after(
    shape: tuple[int, int, int], skip: bool, vertical_residual: bool
) -> None:
    event = Event.integers(shape, 4)
    model = perturbed(GatedPixelCNN(event, channels=24, layers=3, skip=skip, vertical_residual=vertical_residual))
    n = model.event.numel
    assert torch.equal(dependence(model), torch.ones(n, n).tril(-1).bool())


@pytest.mark.parametrize("position", [(0, 9, 9), (0, 0, 0), (0, 0, 18), (0, 9, 0), (0, 9, 18), (0, 10, 1)])
def test_the_receptive_field_covers_all_previous_pixels(position: tuple[int, int, int]) -> None:
    model = GatedPixelCNN(Event.binary((1, 19, 19)), channels=16, layers=16, positions=False).double()
    seen = receptive_field(model, position, torch.Generator().manual_seed(0)) > 0
    earlier = torch.arange(19 * 19) < position[1] * 19 + position[2]
    assert torch.equal(seen.flatten(), earlier)


def test_channels_of_a_pixel_come_one_after_another() -> None:
    model = GatedPixelCNN(Event.integers((3, 2, 2), 4), channels=6, layers=1)
    assert model.order.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


@pytest.mark.parametrize(
    ("event", "options"),
    [
        (Event.binary((1, 2, 4)), {}),
        (Event.integers((3, 1, 2), 3), {"skip": True}),
        (Event.integers((1, 2, 2), 5), {"head": "logistic-mixture", "components": 2}),
    ],
)
def test_probabilities_sum_to_one(event: Event, options: dict[str, object]) -> None:
    model = perturbed(GatedPixelCNN(event, channels=6, layers=2, **options))
    assert total_probability(model) == pytest.approx(1.0, abs=1e-9)


def test_each_class_has_a_distribution_of_its_own() -> None:
    model = perturbed(GatedPixelCNN(Event.binary((1, 2, 3)), Event.label(3), channels=6, layers=2))
    x = torch.tensor([0, 1, 1, 0, 1, 0]).view(1, 1, 2, 3)
    figures = model.log_prob(x.repeat(3, 1, 1, 1), torch.arange(3)).tolist()
    assert len({round(f, 6) for f in figures}) == 3
    assert total_probability(model, torch.tensor([1])) == pytest.approx(1.0, abs=1e-9)


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    model = perturbed(GatedPixelCNN(Event.binary((1, 4, 4)), channels=8, layers=2, dropout=0.5))
    x = torch.randint(0, 2, (3, 1, 4, 4))
    with torch.no_grad():
        assert torch.equal(model.log_prob(x), model.log_prob(x))
        model.train()
        assert not torch.equal(model.log_prob(x), model.log_prob(x))


def test_samples_follow_the_probabilities() -> None:
    model = perturbed(GatedPixelCNN(Event.binary((1, 2, 2)), channels=6, layers=2), torch.float32)
    n = 4000
    x = model.sample(n, generator=torch.Generator().manual_seed(0))
    states = torch.tensor([[(s >> k) & 1 for k in range(4)] for s in range(16)]).view(16, 1, 2, 2)
    with torch.no_grad():
        expected = model.log_prob(states).exp()
    counts = (x.flatten(1)[:, None] == states.flatten(1)).all(-1).float().mean(0)
    assert float((counts - expected).abs().max()) < 4.0 * (0.25 / n) ** 0.5


def test_a_step_of_adam_at_the_default_rate_lowers_the_loss() -> None:
    model = GatedPixelCNN(Event.binary((1, 8, 8)), channels=16, layers=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    x = (torch.rand(32, 1, 8, 1) < 0.3).int().expand(-1, -1, -1, 8)  # rows are constant: one bit each
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(x)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[0] == pytest.approx(64 * 0.693, rel=0.15)
    assert losses[-1] < 10.0


def test_a_table_is_refused() -> None:
    with pytest.raises(InvalidInput, match="gated-pixelcnn takes images"):
        GatedPixelCNN(Event.binary((6,)))


@pytest.mark.parametrize(
    "options",
    [
        {"channels": 0},
        {"layers": 0},
        {"kernel": 4},
        {"head_channels": 0},
        {"dropout": 1.0},
        {"head": "bernoulli"},
        {"channels": 2},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        GatedPixelCNN(Event.integers((3, 4, 4), 4), **options)


@torch.no_grad()
def test_a_condition_of_each_pixel_is_added_at_that_pixel() -> None:
    """What is said of a pixel reaches its own conditionals, and by the vertical stack those of its row and of later ones."""
    event = Event.integers((2, 3, 4), 3)
    model = GatedPixelCNN(event, Event.real((5, 3, 4)), channels=8, layers=2, kernel=3).double().eval()
    x, condition = torch.randint(0, 3, (1, 2, 3, 4)), torch.randn(1, 5, 3, 4, dtype=torch.float64)
    before = model(x, condition)
    for place in range(12):
        other = condition.clone()
        other.view(5, 12)[:, place] += 1.0
        changed = (model(x, other) - before).abs().amax((0, 1, 4)).flatten() > 0  # (pixels,)
        assert bool(changed[place])
        assert not bool(changed[: place // 4 * 4].any())
    assert float((model(x, condition + 1.0) - before).abs().amin()) > 0


def test_a_condition_of_another_size_is_one_of_the_image() -> None:
    model = GatedPixelCNN(Event.binary((1, 3, 4)), Event.real((1, 4, 3)), channels=4, layers=1)
    assert model.map is None
    assert model.embedding is not None
