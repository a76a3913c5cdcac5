"""Semantic hashing: its losses by hand, what makes codes binary, and layers pretrained as Boltzmann machines."""

import itertools
import math

import pytest
import torch

from ancestral.data.base import ArraySplit, Data
from ancestral.encoding import BagOfWords
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.representation.semantic_hashing import SemanticHashing, pack
from ancestral.training import TrainConfig, create_model, fit, resume
from tests.models.learning import generator, learn, moved

WORDS = Event.documents(BagOfWords(("bee", "rose", "thorn", "wasp")))


def test_error_of_documents_is_the_nats_of_a_word() -> None:
    model = moved(SemanticHashing(WORDS, hidden=(5,), bits=3))
    x = torch.tensor([[2, 1, 0, 1], [0, 0, 0, 0]], dtype=torch.uint8)
    bits = (model.encode(x) >= 0.5).double()
    log_p = torch.log_softmax(model._reconstruction(bits), dim=1)[0]
    expected = -(0.5 * log_p[0] + 0.25 * log_p[1] + 0.25 * log_p[3])
    torch.testing.assert_close(model.measures(x)["reconstruction"], torch.stack((expected, torch.zeros_like(expected))))


def test_draws_have_the_probability_and_its_gradient() -> None:
    model = SemanticHashing(Event.binary((2,)), hidden=(), bits=1).double()
    logits = torch.full((20_000, 1), -0.7, dtype=torch.float64, requires_grad=True)
    code = model._binary(logits, generator())
    assert set(code.detach().round(decimals=9).unique().tolist()) == {0.0, 1.0}
    p = torch.sigmoid(logits[0, 0]).detach()
    assert float(code.detach().mean()) == pytest.approx(float(p), abs=0.01)
    code.sum().backward()
    torch.testing.assert_close(logits.grad, (p * (1 - p)).expand_as(logits))


def test_noise_is_added_before_the_sigmoid() -> None:
    model = SemanticHashing(Event.binary((2,)), hidden=(), bits=1, binarize="noise", sigma=2.0)
    before = torch.logit(model._binary(torch.full((20_000, 1), 0.5), generator()).double())
    assert float(before.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(before.std()) == pytest.approx(2.0, abs=0.05)


def test_bits_are_packed_first_one_highest() -> None:
    model = SemanticHashing(Event.binary((3,)), hidden=(), bits=10)
    x = torch.cartesian_prod(*[torch.arange(2)] * 3)
    expected = torch.tensor(
        [
            [int("".join(str(int(bit)) for bit in (row >= 0.5).int()).ljust(16, "0")[8 * i : 8 * i + 8], 2) for i in (0, 1)]
            for row in model.encode(x)
        ],
        dtype=torch.uint8,
    )
    assert torch.equal(model.bits(x), expected)
    assert pack(torch.ones(2, 8, dtype=torch.bool)).tolist() == [[255], [255]]


def test_codes_can_be_returned_as_bits() -> None:
    torch.manual_seed(0)
    model = SemanticHashing(Event.binary((3,)), hidden=(4,), bits=5, code="bits")
    x = torch.eye(3, dtype=torch.uint8)
    assert set(model.encode(x).unique().tolist()) <= {0.0, 1.0}
    probabilities = SemanticHashing(Event.binary((3,)), hidden=(4,), bits=5)
    probabilities.load_state_dict(model.state_dict())
    assert torch.equal((probabilities.encode(x) >= 0.5).float(), model.encode(x))


@pytest.mark.parametrize("binarize", ["straight-through", "noise"])
def test_topics_of_documents_become_codes(binarize: str) -> None:
    """Documents of eight topics with words of their own: codes of one topic are near each other."""
    event = Event.documents(BagOfWords(tuple(f"word{i}" for i in range(24))))
    topics = torch.arange(400) % 8
    chance = torch.full((400, 24), 0.02)
    for i in range(3):
        chance[torch.arange(400), 3 * topics + i] = 1.0
    x = torch.poisson(6.0 * chance, generator=generator()).to(torch.uint8)
    torch.manual_seed(0)
    model = SemanticHashing(event, hidden=(32,), bits=8, binarize=binarize)
    learn(model, x, steps=600, rate=1e-2)
    bits = (model.encode(x) >= 0.5).float()
    distance = torch.cdist(bits, bits, p=0)
    same = topics[:, None] == topics
    assert float(distance[same].mean()) < 0.25 * float(distance[~same].mean())


def enumerated_gradient(model: SemanticHashing, x: torch.Tensor) -> torch.Tensor:
    """Gradient in W of the mean free energy of data less that of the model's own states, weighted by their probability."""
    up, down = model._machine(0)
    states = torch.cartesian_prod(*[torch.arange(2)] * model.event.numel).to(x.dtype)

    def free_energy(v: torch.Tensor) -> torch.Tensor:
        return -(v * down.bias).sum(1) - torch.nn.functional.softplus(up(v)).sum(1)

    p = torch.softmax(-free_energy(states), 0).detach()
    return torch.autograd.grad(free_energy(x).mean() - (p * free_energy(states)).sum(), up.weight)[0]


def test_pretraining_follows_the_gradient_of_a_boltzmann_machine() -> None:
    """With many Gibbs steps the negative sample is the model's own, and the gradient that of log p."""
    torch.manual_seed(0)
    model = SemanticHashing(Event.binary((3,)), hidden=(), bits=2, activation="sigmoid", pretrain_steps=1, cd_steps=30)
    moved(model, 0.5)
    model.after_step("layer0")
    x = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 1]]).repeat(20_000, 1)
    loss = model._contrast(x.double(), 0, generator())["loss"]
    found = torch.autograd.grad(loss, model._machine(0)[0].weight)[0]
    torch.testing.assert_close(found, enumerated_gradient(model, x.double()), atol=0.01, rtol=0.0)


def test_counts_drawn_in_pretraining_have_the_length_of_the_document() -> None:
    """One hidden unit that is always off: rates are N softmax(a), and F is linear in the counts."""
    model = SemanticHashing(WORDS, hidden=(), bits=1, activation="sigmoid", pretrain_steps=1).double()
    up, down = model._machine(0)
    with torch.no_grad():
        up.weight.zero_()
        up.bias.fill_(-50.0)
        down.bias.copy_(torch.tensor([0.0, 1.0, 2.0, -1.0]))
    x = torch.tensor([[5.0, 3.0, 0.0, 12.0]], dtype=torch.float64).repeat(40_000, 1)
    found = torch.autograd.grad(model._contrast(x, 0, generator())["loss"], down.bias)[0]
    expected = 20.0 * torch.softmax(down.bias, 0) - x[0]
    torch.testing.assert_close(found, expected.detach(), atol=0.1, rtol=0.0)


def test_layers_are_pretrained_in_turn_and_mirrored_until_all_are_trained() -> None:
    model = SemanticHashing(WORDS, hidden=(5, 4), bits=3, activation="sigmoid", pretrain_steps=4)
    assert [model.groups_at(step) for step in (0, 3, 4, 8, 11, 12, 99)] == [
        (name,) for name in ("layer0", "layer0", "layer1", "layer2", "layer2", "model", "model")
    ]
    x = torch.poisson(torch.full((200, 4), 3.0), generator=generator()).to(torch.uint8)
    learn(model, x, steps=12, rate=1e-2)
    for up, down in zip(model.encoder, reversed(model.decoder), strict=True):
        assert torch.equal(up.weight, down.weight.T)
    learn(model, x, steps=20, rate=1e-2)
    assert not torch.equal(model.encoder[0].weight, model.decoder[-1].weight.T)


def test_a_resumed_run_pretrains_to_the_bit(tmp_path) -> None:
    x = torch.poisson(torch.full((64, 4), 3.0), generator=generator()).to(torch.uint8)
    data = Data("toy", WORDS, {"train": ArraySplit(x), "validation": ArraySplit(x)})
    options = {"hidden": (5,), "bits": 3, "activation": "sigmoid", "pretrain_steps": 5}
    runs = {}
    for name, steps in (("whole", 16), ("halved", 7)):
        config = TrainConfig(
            steps=steps,
            batch_size=16,
            schedule="constant",
            samples=0,
            loggers=("csv",),
            checkpoint_every=7,
            evaluate_every=100,
        )
        runs[name] = fit(create_model("semantic-hashing", WORDS, **options), data, tmp_path / name, config, progress=False)
    resume(tmp_path / "halved", data=data, progress=False, steps=16)
    for one, other in itertools.pairwise(run.model().state_dict() for run in runs.values()):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_decoded_document_has_about_a_hundred_words() -> None:
    model = SemanticHashing(WORDS, hidden=(5,), bits=3)
    counts = model.decode(model.encode(torch.tensor([[1, 0, 0, 2]])))
    assert abs(int(counts.sum()) - 100) <= 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "bits needs whole numbers"),
        ({"binarize": "noisy"}, r"no way to binarize 'noisy'.*noise"),
        ({"sigma": math.inf}, "sigma is inf"),
        ({"pretrain_steps": -1}, "pretrain_steps is -1"),
        ({"pretrain_steps": 5}, "got activation relu: use sigmoid"),
        ({"code": "bit"}, "no code 'bit'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SemanticHashing(WORDS, **options)
