"""GSN: the chain's steps by hand, walkback, and that its chains end near the data wherever they start."""

import pytest
import torch
import torch.nn.functional as F

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.energy.gsn import GSN
from ancestral.verbs.complete import complete
from tests.models.learning import generator, learn

PATTERNS = torch.tensor([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=torch.uint8)


def test_layers_follow_from_those_beside_them() -> None:
    torch.manual_seed(0)
    model = GSN(Event.binary((5,)), hidden=(4, 3, 2), walkback=3, corruption=0.0, noise=0.0).double().eval()
    v = torch.randint(2, (6, 5), generator=generator()).double()
    layers = model._around(v)
    logits = model._step(layers, generator())
    w, b = list(model.weights), list(model.biases)
    h1 = torch.tanh(v @ w[0].T + b[1])
    h3 = torch.tanh(b[3]).expand(6, -1)
    h2 = torch.tanh(h1 @ w[1].T + h3 @ w[2] + b[2])
    for found, expected in zip(layers[1:], (h1, h2, h3), strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(logits, h1 @ w[0] + b[0])
    # A second step: odd layers see the even one of the first.
    model._step(layers, generator())
    torch.testing.assert_close(layers[1], torch.tanh(v @ w[0].T + h2 @ w[1] + b[1]))


def test_walkback_asks_for_the_datum_at_every_step() -> None:
    torch.manual_seed(0)
    model = GSN(Event.binary((6,)), hidden=(5, 4), walkback=4).eval()
    found = model._walk(PATTERNS, generator(1))
    assert len(found) == 4
    loss = model.loss(PATTERNS, generator=generator(1))
    torch.testing.assert_close(loss["loss"], torch.stack(found).mean())
    torch.testing.assert_close(loss["last"], found[-1].mean())
    noise, layers = generator(1), model._around(PATTERNS.float())
    first = F.binary_cross_entropy_with_logits(model._step(layers, noise), PATTERNS.float(), reduction="none").sum(1)
    torch.testing.assert_close(found[0], first)


def test_corruption_makes_fair_coins_of_a_share() -> None:
    model = GSN(Event.binary((2,)), hidden=(3,), walkback=1, corruption=0.4)
    ones = model._corrupted(torch.ones(20_000, 2), generator())
    zeros = model._corrupted(torch.zeros(20_000, 2), generator())
    assert float(1.0 - ones.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(zeros.mean()) == pytest.approx(0.2, abs=0.01)


def test_the_running_mean_of_the_data_gives_the_log_odds_of_the_visible_layer() -> None:
    torch.manual_seed(0)
    model = GSN(Event.binary((6,)), hidden=(5,), walkback=1, corruption=0.0).double()
    with torch.no_grad():
        model.weights[0].zero_()
    for _ in range(2000):
        model.loss(PATTERNS, generator=generator())
    mean = PATTERNS.double().mean(0).clamp(1e-3, 1.0 - 1e-3)
    logits = model.eval()._step(model._around(PATTERNS.double()), generator())
    torch.testing.assert_close(logits, (mean / (1.0 - mean)).log().expand(3, -1), atol=1e-6, rtol=0.0)
    before = model.mean.clone()
    model.measures(PATTERNS[:1], generator=generator())
    assert torch.equal(model.mean, before)


@pytest.mark.parametrize("hidden", [(30,), (30, 30)])
def test_chains_from_anywhere_come_to_the_data_and_go_round_them_but_not_to_complements(hidden: tuple[int, ...]) -> None:
    # As in pictures of digits, most entries are 0 in all data, so that complements are far from all data.
    patterns = torch.zeros(2, 24, dtype=torch.uint8)
    patterns[0, :4], patterns[1, 4:8] = 1, 1
    share = torch.tensor([0.6, 0.4])
    x = patterns[torch.multinomial(share, 2000, replacement=True, generator=generator())]
    torch.manual_seed(0)
    model = GSN(Event.binary((24,)), hidden=hidden, noise=1.0, chain_length=50)
    learn(model, x, steps=600, rate=3e-3)
    drawn = model.sample(1000, generator=generator(1))
    complements = model._data(
        model.chain_steps(torch.cat(model._around(1.0 - x[:1000].float()), dim=1), 50, generator=generator(2))
    )
    for found in (drawn, complements):
        away = (found[:, None] != patterns).sum(2)  # entries that differ from each pattern, (1000, 2)
        assert float(away.amin(1).float().mean()) < 2.0  # of coins, 11
        assert float((away.amin(1) > 12).float().mean()) == 0.0  # nearer to a complement
        torch.testing.assert_close(torch.bincount(away.argmin(1), minlength=2) / 1000, share, atol=0.15, rtol=0.0)
    # One chain goes from each to the other.
    state, visits, noise = model.chain_start(1, generator(3)), set(), generator(4)
    for _ in range(40):
        state = model.chain_steps(state, 10, noise)
        visits.add(int((model._data(state) != patterns).sum(1).argmin()))
    assert visits == {0, 1}
    # With the first pattern's ones held, the chain finds the rest of it.
    done = complete(model, patterns[:1], torch.tensor([True] * 4 + [False] * 20), n=200).x[0]
    assert float((done != patterns[0]).float().sum(1).mean()) < 2.0


def test_there_is_no_likelihood_and_bad_options_are_refused() -> None:
    model = GSN(Event.binary((4,)), hidden=(3,), walkback=1)
    with pytest.raises(Unsupported, match=r"gsn .* has no log_prob"):
        model.log_prob(torch.zeros(1, 4))
    for options, message in (
        ({"hidden": ()}, "hidden is empty"),
        ({"hidden": (3, 3, 3), "walkback": 2}, "walkback is 2, expected at least 3"),
        ({"corruption": 1.0}, "corruption is 1.0"),
        ({"noise": -0.1}, "noise is -0.1"),
    ):
        with pytest.raises(InvalidInput, match=message):
            GSN(Event.binary((4,)), **options)
    with pytest.raises(InvalidInput, match="make them binary"):
        GSN(Event.integers((4,), 3))
