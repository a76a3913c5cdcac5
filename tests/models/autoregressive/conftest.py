"""What the tests of several autoregressive models need: all states, stepping through data, who sees whom."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.ensemble import Ensemble


@pytest.fixture
def all_states() -> Callable[[Event], Tensor]:
    """Every datum of a small discrete event, (levels ** numel, *shape)."""

    def build(event: Event) -> Tensor:
        values = itertools.product(range(event.levels or 0), repeat=event.numel)
        return torch.tensor(list(values), dtype=event.dtype).view(-1, *event.shape)

    return build


@pytest.fixture
def stepped() -> Callable[..., Tensor]:
    """Raw parameters got by stepping through data, (batch, numel, parameters), in the order of the entries."""

    @torch.no_grad()
    def run(model: AutoregressiveModel, x: Tensor, condition: Tensor | None = None, **options: object) -> Tensor:
        state = model.init_state(len(x), condition, **options)  # type: ignore[arg-type]
        flat = x.flatten(1)
        raw: list[Tensor] = [torch.empty(0)] * model.event.numel
        previous = None
        for t in range(model.event.numel):
            entry = int(state.order[t])
            raw[entry] = model.step(state, previous)
            previous = flat[:, entry]
        return torch.stack(raw, dim=1)

    return run


@pytest.fixture
def dependence() -> Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]:
    """J[i, j]: whether any parameter of entry i changes with entry j, for a function of x, (batch, *shape)."""

    def measure(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        raw = function(x)
        rows = raw.reshape(len(x), x[0].numel(), -1)
        out = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.bool)
        for i in range(rows.shape[1]):
            for p in range(rows.shape[2]):
                (gradient,) = torch.autograd.grad(rows[:, i, p].sum(), x, retain_graph=True, allow_unused=True)
                if gradient is not None:
                    out[i] |= (gradient.flatten(1) != 0).any(0)
        return out

    return measure


@pytest.fixture
def chi_square() -> Callable[[Tensor, Tensor], float]:
    """P-value of Pearson's test that counts, (states,), came from probabilities, (states,)."""

    def test(counts: Tensor, probabilities: Tensor) -> float:
        expected = probabilities.double() * counts.sum()
        # States expected fewer than five times are pooled, as the test's approximation asks.
        rare = expected < 5
        c = torch.cat((counts[~rare].double(), counts[rare].sum()[None].double()))
        e = torch.cat((expected[~rare], expected[rare].sum()[None]))
        c, e = c[e > 0], e[e > 0]
        statistic = ((c - e) ** 2 / e).sum()
        half = torch.tensor((len(e) - 1) / 2, dtype=torch.double)
        return float(torch.special.gammaincc(half, statistic / 2))

    return test


@pytest.fixture
def spread() -> Callable[[AutoregressiveModel], AutoregressiveModel]:
    """Make a model's parameters large enough that its conditionals are far from uniform, in double precision."""

    def change(model: AutoregressiveModel) -> AutoregressiveModel:
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
        return model.double().eval()

    return change


CONDITIONS = {
    None: None,
    Event.label(3): torch.tensor(2),
    Event.real((2,)): torch.tensor([0.3, -1.0]),
}


@pytest.fixture(params=CONDITIONS, ids=str)
def condition(request: pytest.FixtureRequest) -> Event | None:
    """No condition, a label, a vector."""
    return request.param


@pytest.fixture
def check_distribution(
    all_states: Callable[[Event], Tensor], stepped: Callable[..., Tensor]
) -> Callable[[AutoregressiveModel], None]:
    """Fail unless the probabilities of all states sum to one, and `step` gives what `forward` does, for every member."""

    def check(model: AutoregressiveModel) -> None:
        x = all_states(model.event)
        given = CONDITIONS[model.condition]
        c = None if given is None else given.expand(len(x), *given.shape)
        assert model.log_prob(x, c).exp().sum().item() == pytest.approx(1.0, abs=1e-10)
        members = [{"member": k} for k in range(model.members)] if isinstance(model, Ensemble) else [{}]
        for member in members:
            with torch.no_grad():
                raw = model.member_forward(x=x, condition=c, **member) if member else model(x, c)
            torch.testing.assert_close(stepped(model, x, c, **member), raw.flatten(1, -2), rtol=0, atol=1e-10)

    return check
