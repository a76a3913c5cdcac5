"""PixelCNN: causality, its blind spot, and steps that equal the forward pass."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.pixelcnn import PixelCNN
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
    channels=st.integers(6, 12),
    layers=st.integers(1, 3),
    positions=st.booleans(),
    double=st.booleans(),
)
def test_steps_equal_forward(
    shape: tuple[int, int, int],
    head: str,
    condition: Event | None,
    kernel: int,
    channels: int,
    layers: int,
    positions: bool,
    double: bool,
) -> None:
    event, head = event_and_head(shape, head)
    model = PixelCNN(
        event,
        condition,
        channels=channels,
        layers=layers,
        kernel=kernel,
        head_channels=5,
        head=head,
        components=2,
        positions=positions,
    )
    dtype, tolerance = (torch.float64, 1e-10) if double else (torch.float32, 1e-5)
    assert largest_difference(perturbed(model, dtype)) < tolerance


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 3, 4), (2, 1, 4), (2, 4, 1)])
def test_small_images_have_no_blind_spot(shape: tuple[int, int, int]) -> None:
    """The first kernel alone reads three columns to the right in the rows above."""
    model = perturbed(PixelCNN(Event.integers(shape, 4), channels=24, layers=3))
    n = model.event.numel
    assert torch.equal(dependence(model), torch.ones(n, n).tril(-1).bool())


def test_large_images_have_a_blind_spot_to_the_upper_right() -> None:
    size, position = 19, (0, 9, 9)
    model = PixelCNN(Event.binary((1, size, size)), channels=32, layers=16, positions=False).double()
    seen = (receptive_field(model, position, torch.Generator().manual_seed(0)) > 0)[0]
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    up, right = position[1] - rows, columns - position[2]
    earlier = (up > 0) | ((up == 0) & (right < 0))
    # To go right, a path must go up: by three columns in the first kernel's row above, by one a row in the others.
    expected = earlier & (right <= up + 2)
    assert torch.equal(seen, expected)
    assert int((earlier & ~seen).sum()) == 21


def test_channels_of_a_pixel_come_one_after_another() -> None:
    model = PixelCNN(Event.integers((3, 2, 2), 4), channels=6, layers=1)
    assert model.order.tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


@pytest.mark.parametrize(
    ("event", "options"),
    [
        (Event.binary((1, 2, 4)), {}),
        (Event.integers((3, 1, 2), 3), {"kernel": 5}),
        (Event.integers((1, 2, 2), 5), {"head": "logistic-mixture", "components": 2}),
    ],
)
def test_probabilities_sum_to_one(event: Event, options: dict[str, object]) -> None:
    model = perturbed(PixelCNN(event, channels=8, layers=2, **options))
    assert total_probability(model) == pytest.approx(1.0, abs=1e-9)


def test_each_class_has_a_distribution_of_its_own() -> None:
    model = perturbed(PixelCNN(Event.binary((1, 2, 3)), Event.label(3), channels=16, layers=2))
    x = torch.tensor([0, 1, 1, 0, 1, 0]).view(1, 1, 2, 3)
    figures = model.log_prob(x.repeat(3, 1, 1, 1), torch.arange(3)).tolist()
    assert len({round(f, 6) for f in figures}) == 3
    assert total_probability(model, torch.tensor([1])) == pytest.approx(1.0, abs=1e-9)


def test_dropout_is_off_in_evaluation_and_on_in_training() -> None:
    model = perturbed(PixelCNN(Event.binary((1, 4, 4)), channels=16, layers=2, dropout=0.5))
    x = torch.randint(0, 2, (3, 1, 4, 4))
    with torch.no_grad():
        assert torch.equal(model.log_prob(x), model.log_prob(x))
        model.train()
        assert not torch.equal(model.log_prob(x), model.log_prob(x))


def test_a_step_of_adam_at_the_default_rate_lowers_the_loss() -> None:
    model = PixelCNN(Event.binary((1, 8, 8)), channels=32, layers=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
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
    with pytest.raises(InvalidInput, match="pixelcnn takes images"):
        PixelCNN(Event.binary((6,)))


@pytest.mark.parametrize(
    "options",
    [{"channels": 5}, {"layers": 0}, {"kernel": 1}, {"head_channels": 0}, {"dropout": -0.1}, {"head": "gaussian-mixture"}],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        PixelCNN(Event.integers((3, 4, 4), 4), **options)
