"""The handwriting network: its points have Graves' density, the pen ends drawings, and text matters where it should."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

import ancestral
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.handwriting_rnn import HandwritingRNN


def moved(model: HandwritingRNN, seed: int = 0) -> HandwritingRNN:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    return model.double().eval()


def drawings(event: Event, n: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    x = torch.randn(n, *event.shape, dtype=torch.float64)
    x[..., 2] = torch.randint(3, x.shape[:-1]).double()
    return event.closed(x)


@torch.no_grad()
def test_a_point_has_the_density_of_the_bivariate_mixture() -> None:
    """Its two conditionals, of dx and of dy given dx, multiply to the paper's equation 23, here of torch.distributions."""
    event = Event.drawing(4, (1.0, -2.0), (3.0, 0.5))
    model, x = moved(HandwritingRNN(event, hidden=5, components=3)), drawings(event, 6)
    y = model._predicted(x, None, 4)
    weights, mean_x, mean_y, log_x, log_y, tied, _ = y.split(model.sizes, dim=-1)
    rho = 0.9999 * torch.tanh(tied)
    sx, sy = log_x.exp(), log_y.exp()
    covariance = torch.stack((torch.stack((sx**2, rho * sx * sy), -1), torch.stack((rho * sx * sy, sy**2), -1)), -2)
    mixture = MixtureSameFamily(
        Categorical(logits=weights), MultivariateNormal(torch.stack((mean_x, mean_y), -1), covariance_matrix=covariance)
    )
    offsets = (x[..., :2] - torch.tensor([1.0, -2.0])) / torch.tensor([3.0, 0.5])
    expected = mixture.log_prob(offsets.double()) - torch.tensor([3.0, 0.5], dtype=torch.float64).log().sum()
    live = torch.arange(4) < (event.counted(x) // 3)[:, None]
    found = model.entry_log_prob(model(x), x)[..., :2].sum(-1)
    torch.testing.assert_close(found[live], expected[live], rtol=1e-9, atol=1e-9)
    assert not found[~live].any()


@torch.no_grad()
def test_log_prob_is_the_sum_of_the_entries() -> None:
    event = Event.drawing(5)
    model, x = moved(HandwritingRNN(event, hidden=5, components=2)), drawings(event, 9)
    torch.testing.assert_close(model.log_prob(x), model.entry_log_prob(model(x), x).sum((1, 2)), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_the_pen_sees_what_came_before_its_point_and_nothing_of_it() -> None:
    event = Event.drawing(3)
    model = moved(HandwritingRNN(event, hidden=5, components=2))
    x = drawings(event, 1)
    x[..., 2] = 0.0
    for entry in range(9):
        other = x.clone()
        other.view(-1)[entry] += 1.0
        changed = (model(x) - model(other)).abs().amax(-1)[0] > 1e-12  # (3, 3)
        point, column = divmod(entry, 3)
        for p in range(3):
            assert changed[p].tolist() == ([p > point, p > point or (p == point and column == 0), p > point])


@torch.no_grad()
def test_the_bound_on_points_does_not_count() -> None:
    short, long = Event.drawing(4), Event.drawing(9)
    model, other = moved(HandwritingRNN(short, hidden=5)), moved(HandwritingRNN(long, hidden=5))
    other.load_state_dict(model.state_dict())
    x = drawings(short, 7)
    x[:, 3, 2] = 2.0  # drawings that end before the bound does
    padded = torch.cat((x, long.ended(x).view(9, 3)[:5].expand(7, -1, -1)), dim=1)
    torch.testing.assert_close(model.log_prob(x), other.log_prob(padded), rtol=1e-10, atol=1e-10)


def test_drawing_stops_when_all_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    model = HandwritingRNN(Event.drawing(50), hidden=4, components=2).eval()
    with torch.no_grad():
        model.output.bias[-1] = 3.0
    steps = []
    step = AutoregressiveModel.step
    monkeypatch.setattr(AutoregressiveModel, "step", lambda *args: steps.append(1) or step(*args))
    x = model.sample(5, generator=torch.Generator().manual_seed(0))
    model.event.check(x)
    assert len(steps) == int(model.event.counted(x).max()) < 150


def test_drawings_are_completed_as_they_began() -> None:
    event = Event.drawing(4)
    model, x = moved(HandwritingRNN(event, hidden=5, components=2)), drawings(event, 5).float()
    x[0, 0, 2] = 2.0
    x = event.closed(x)
    begun = torch.zeros(4, 3, dtype=torch.bool)
    begun[0] = True
    found = ancestral.complete(model, x, begun, n=3).x  # (5, 3, 4, 3)
    event.check(found.flatten(0, 1))
    assert torch.equal(found[:, :, 0], x[:, None, 0].expand(-1, 3, -1))
    assert torch.equal(found[0], x[:1].expand(3, -1, -1))
    assert len({tuple(row) for row in found[1].flatten(1).tolist()}) == 3 or bool(x[1, 0, 2] == 2.0)
    bad = torch.tensor([[[1.0, 1.0, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    with pytest.raises(InvalidInput, match="go on after they are over"):
        ancestral.complete(model, bad, torch.ones(4, 3, dtype=torch.bool).tril(0) | begun)


def written(text: Tensor, seed: int) -> Tensor:
    """Return drawings that write each symbol with two points: 0 goes right, 1 goes up."""
    noise = 0.1 * torch.randn(len(text), 2 * text.shape[1], 2, generator=torch.Generator().manual_seed(seed))
    symbols = text.repeat_interleave(2, dim=1).float()
    x = torch.zeros(len(text), 2 * text.shape[1], 3)
    x[..., :2] = torch.stack((1.0 - symbols, symbols), dim=-1) + noise
    x[:, -1, 2] = 2.0
    return x


def test_text_decides_what_is_written() -> None:
    """Once trained, the right text is likelier than another, and what is drawn spells it."""
    symbols = 4
    event, source = Event.drawing(2 * symbols), Event.sentences(symbols, 2)
    torch.manual_seed(0)
    model = HandwritingRNN(event, source, hidden=24, components=2, window=2).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(250):
        text = torch.randint(2, (32, symbols), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model.loss(written(text, step), text)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    model.eval()
    text = torch.randint(2, (64, symbols), generator=torch.Generator().manual_seed(999))
    with torch.no_grad():
        right, wrong = (model.log_prob(written(text, 1), t).mean() for t in (text, 1 - text))
    assert float(right - wrong) > 20.0
    drawn = model.sample(64, text, generator=torch.Generator().manual_seed(0))
    read = (drawn[:, ::2, 1] > drawn[:, ::2, 0]).long()
    assert float((read == text).float().mean()) > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": Event.real((4, 3))}, "mixed data"),
        ({"hidden": 0}, "at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\)"),
        ({"condition": Event.sentences(3, 2), "layers": 1}, "2 layers or more"),
        ({"components": 0}, "at least 1 component"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        HandwritingRNN(**{"event": Event.drawing(4), **options})  # type: ignore[arg-type]


def test_strokes_with_nan_or_after_the_end_are_refused() -> None:
    model = HandwritingRNN(Event.drawing(2), hidden=4).eval()
    with pytest.raises(InvalidInput, match="1 NaN or infinite"):
        model.log_prob(torch.tensor([[[0.0, float("nan"), 0.0], [1.0, 1.0, 2.0]]]))
    with pytest.raises(InvalidInput, match="go on after they are over"):
        model.log_prob(torch.tensor([[[0.0, 0.0, 2.0], [1.0, 1.0, 2.0]]]))
    with pytest.raises(InvalidInput, match="the pen is down"):
        model.log_prob(torch.tensor([[[0.0, 0.0, 0.5], [1.0, 1.0, 2.0]]]))
