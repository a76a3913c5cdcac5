import math

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def model(seed=0, **options):
    torch.manual_seed(seed)
    return create("infogan", Event.real((4,)), **{"latent": 3, "hidden": (8,), "head": 8, **options})


def reading(found, answer):
    """Let the head say what `answer` makes of data on the network's scale."""
    found.features = lambda y, condition=None: y
    found.head = answer
    return found


class Answer(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, h: Tensor) -> Tensor:
        return self.call(h)


def test_noise_has_codes_of_the_stated_kinds_first():
    z = model(categorical=(3, 2), continuous=2).noise(4000, generator())
    assert z.shape == (4000, 3 + 2 + 2 + 3)
    for part, classes in ((z[:, :3], 3), (z[:, 3:5], 2)):
        assert part.unique().tolist() == [0.0, 1.0]
        assert part.sum(1).unique().tolist() == [1.0]
        torch.testing.assert_close(part.mean(0), torch.full((classes,), 1 / classes), atol=0.04, rtol=0.0)
    uniform = z[:, 5:7]
    assert float(uniform.abs().max()) <= 1.0
    torch.testing.assert_close(uniform.var(0), torch.full((2,), 1 / 3), atol=0.02, rtol=0.0)
    torch.testing.assert_close(z[:, 7:].var(0), torch.ones(3), atol=0.1, rtol=0.0)


def test_the_bound_is_the_entropy_where_q_is_certain_and_0_where_it_knows_nothing():
    z = torch.eye(4)  # four classes, each once
    z = torch.cat((z, torch.zeros(4, 3)), dim=1)
    found = model(categorical=(4,), continuous=0)
    certain, _ = reading(found, Answer(lambda y: 1e3 * y)).information(torch.eye(4), z)
    assert certain.item() == pytest.approx(math.log(4.0))
    nothing, _ = reading(found, Answer(lambda y: 0.0 * y)).information(torch.eye(4), z)
    assert nothing.item() == pytest.approx(0.0, abs=1e-6)


def test_the_bound_lies_under_the_information_of_a_noisy_channel_and_meets_it():
    """Samples show their class of 4 with probability 0.7, else another one: I = log 4 + 0.7 log 0.7 + 0.3 log 0.1."""
    joint = torch.full((4, 4), 0.1).fill_diagonal_(0.7)
    pairs = [(c, x) for c in range(4) for x in range(4) for _ in range(round(10 * joint[c, x].item()))]
    code, shown = (torch.eye(4)[list(part)] for part in zip(*pairs, strict=True))
    z = torch.cat((code, torch.zeros(len(code), 3)), dim=1)
    true = math.log(4.0) + 0.7 * math.log(0.7) + 0.3 * math.log(0.1)
    found = model(categorical=(4,), continuous=0)
    best, _ = reading(found, Answer(lambda y: (y @ joint).log())).information(shown, z)
    assert best.item() == pytest.approx(true, abs=1e-6)
    for sharpness in (0.2, 5.0):
        other, _ = reading(found, Answer(lambda y, k=sharpness: k * y)).information(shown, z)
        assert other.item() < true - 0.01


def test_the_bound_of_continuous_codes_by_hand():
    found = model(categorical=(), continuous=1)
    z = torch.tensor([[0.5, 9.0, 9.0, 9.0], [-0.5, 9.0, 9.0, 9.0]])
    mean = torch.tensor([[0.3], [-0.5]])
    spread = 0.4  # exp(raw) + 0.1
    answer = Answer(lambda y: torch.cat((mean, torch.full((2, 1), math.log(0.3))), dim=1))
    _, continuous = reading(found, answer).information(torch.zeros(2, 4), z)
    logs = [-0.5 * (error / spread) ** 2 - math.log(spread) - 0.5 * math.log(2 * math.pi) for error in (0.2, 0.0)]
    assert continuous.item() == pytest.approx(sum(logs) / 2 + math.log(2.0), abs=1e-6)


def test_losses_are_those_of_the_game_less_the_weighted_bounds():
    found = model(categorical=(3,), continuous=1, categorical_weight=2.0, continuous_weight=0.5).eval()
    x, z = torch.randn(6, 4, generator=generator(1)), found.noise(6, generator(2))
    y = found.generate(z)
    categorical, continuous = found.information(y, z)
    v_real, v_fake = found.criticize(x), found.criticize(y)
    softplus = torch.nn.functional.softplus
    game = {
        "critic": softplus(-v_real).mean() + softplus(v_fake).mean(),
        "generator": softplus(-v_fake).mean(),
    }
    for group, loss in (
        ("critic", found.critic_loss(x, z, None, generator())),
        ("generator", found.generator_loss(x, z, None, generator())),
    ):
        torch.testing.assert_close(loss["loss"], game[group] - 2.0 * categorical - 0.5 * continuous)
        torch.testing.assert_close(loss["information"], (categorical + continuous).detach())


def test_q_lies_with_the_generator_and_its_features_with_the_critic():
    found = model()
    groups = {name: {id(p) for p in parameters} for name, parameters in found.parameter_groups().items()}
    assert {id(p) for p in found.head.parameters()} <= groups["generator"]
    assert {id(p) for p in found.critic.parameters()} == groups["critic"]
    x = torch.randn(8, 4, generator=generator())
    for group, moved, still in (("critic", "critic", "generator"), ("generator", "generator", "critic")):
        found.zero_grad(set_to_none=True)
        found.loss(x, group=group, generator=generator())["loss"].backward()
        by_group = found.parameter_groups()
        assert all(p.grad is not None for p in by_group[moved]), group
        assert all(p.grad is None for p in by_group[still]), group


def test_a_code_is_encoded_and_decoded_with_the_noise_at_0():
    found = model(categorical=(3,), continuous=2).eval()
    x = found.sample(5, generator=generator())
    code = found.encode(x)
    torch.testing.assert_close(code[:, :3].sum(1), torch.ones(5))
    torch.testing.assert_close(found.classify(x).exp(), code[:, :3])
    torch.testing.assert_close(found.decode(code), found.decode(torch.cat((code, torch.zeros(5, 3)), dim=1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categorical": (1,)}, r"codes are categorical, of 2 classes or more.*got categorical=\(1,\) and continuous=2"),
        ({"categorical": (), "continuous": 0}, r"and at least one"),
        ({"continuous": -1}, r"continuous=-1"),
        ({"categorical_weight": 0.0}, r"categorical_weight and continuous_weight are positive numbers, got 0.0 and 0.1"),
        ({"head": 0}, r"head needs whole numbers of at least 1"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        model(**options)


def test_classes_need_a_categorical_code_and_no_condition():
    with pytest.raises(InvalidInput, match=r"has no categorical code, or is given a condition"):
        model(categorical=()).eval().classify(torch.zeros(2, 4))
