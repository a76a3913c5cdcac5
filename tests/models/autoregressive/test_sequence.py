"""Models of sequences of symbols: what they refuse, what they learn, and sequences of another length."""

import itertools
import math

import pytest
import torch

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.bytenet import ByteNet
from ancestral.models.autoregressive.sequence import SequenceModel
from tests.models.learning import learn

EVENT = Event.integers((12,), 5, axes=("time",))
SMALL = {
    "transformer": {"width": 16, "layers": 2, "heads": 2},
    "lstm-lm": {"width": 16, "layers": 1},
    "bytenet": {"width": 16, "sets": 1, "max_dilation": 4},
    "sparse-transformer": {"width": 16, "layers": 2, "heads": 2},
}
names = pytest.mark.parametrize("name", SMALL)


def small(name: str, event: Event = EVENT, condition: Event | None = None, **options: object) -> SequenceModel:
    torch.manual_seed(0)
    model = create(name, event, condition, **{**SMALL[name], **options})
    assert isinstance(model, SequenceModel)
    return model.eval()


def counting(n: int) -> torch.Tensor:
    """Sequences that go up by 1 or 2 (mod 5), each all along: what comes first is 5 ways open, then 2, then not at all."""
    generator = torch.Generator().manual_seed(1)
    first, by = torch.randint(5, (n, 1), generator=generator), torch.randint(1, 3, (n, 1), generator=generator)
    return ((first + by * torch.arange(12)) % 5).to(torch.uint8)


@names
def test_they_learn_a_rule_to_its_entropy(name: str) -> None:
    model = learn(small(name), counting(500), steps=300, rate=5e-3)
    with torch.no_grad():
        nats = -model.log_prob(counting(500)).mean()
    assert float(nats) == pytest.approx(math.log(10), abs=0.15)


@names
@pytest.mark.parametrize("tied", [False, True])
def test_fresh_models_are_near_even_odds(name: str, tied: bool) -> None:
    with torch.no_grad():
        nats = -small(name, tied=tied).log_prob(counting(50)).mean() / 12
    assert float(nats) == pytest.approx(math.log(5), rel=0.1)


@names
def test_a_longer_model_shares_the_weights(name: str) -> None:
    model = small(name).double()
    longer = model.resized(30)
    assert longer.event.shape == (30,)
    x = torch.randint(5, (2, 30))
    with torch.no_grad():
        torch.testing.assert_close(longer(x)[:, :12], model(x[:, :12]), rtol=1e-12, atol=1e-12)
        next(model.parameters()).add_(1.0)
        torch.testing.assert_close(longer(x)[:, :12], model(x[:, :12]), rtol=1e-12, atol=1e-12)
    assert sum(p.requires_grad for p in longer.parameters()) == sum(p.requires_grad for p in model.parameters())


def test_carried_state_makes_one_pass_of_two() -> None:
    model = small("lstm-lm", layers=2).double()
    longer, x = model.resized(24), torch.randint(5, (3, 24))
    with torch.no_grad():
        whole = longer(x)
        model.carry(3)
        parts = torch.cat((model(x[:, :12]), model(x[:, 12:])), dim=1)
        model.carry(None)
        anew = model(x[:, 12:])
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(anew, whole[:, 12:])


def test_gradients_end_where_a_batch_begins() -> None:
    model = small("lstm-lm")
    model.carry(2)
    model.log_prob(torch.ones(2, 12))
    assert model.carried is not None
    assert not any(tensor.requires_grad for tensor in model.carried)


@pytest.mark.parametrize("name", ["transformer", "bytenet"])
def test_models_without_a_state_carry_none(name: str) -> None:
    with pytest.raises(Unsupported, match="no state to carry"):
        small(name).carry(2)


def test_learned_places_have_no_more_than_were_learned() -> None:
    with pytest.raises(Unsupported, match="rotary"):
        small("transformer", positions="learned").resized(30)


def test_only_sequences_have_another_length() -> None:
    with pytest.raises(InvalidInput):
        small("lstm-lm", Event.binary((1, 2, 2))).resized(30)


def test_the_receptive_field_of_bytenet_is_what_it_reads() -> None:
    model = small("bytenet", Event.integers((40,), 5, axes=("time",)), max_dilation=4)
    assert isinstance(model, ByteNet)
    model = model.double()
    assert model.receptive_field == 1 + 2 * (1 + 2 + 4)
    x = torch.zeros(2, 40, dtype=torch.long)
    last = 35
    for place, seen in ((last - model.receptive_field, True), (last - model.receptive_field - 1, False)):
        x[1] = 0
        x[1, place] = 3
        with torch.no_grad():
            raw = model(x)[:, last]
        assert torch.equal(raw[0], raw[1]) is not seen


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("transformer", {"width": 0}, "width"),
        ("transformer", {"layers": 0}, "layers"),
        ("transformer", {"positions": "rotray"}, "rotary"),
        ("transformer", {"dropout": 1.0}, "dropout"),
        ("transformer", {"tied": True, "head": "logistic-mixture"}, "tied"),
        ("lstm-lm", {"hidden": 0}, "hidden"),
        ("bytenet", {"width": 7}, "even width"),
        ("bytenet", {"max_dilation": 3}, "power of 2"),
        ("bytenet", {"block": "relus"}, "relu"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        small(name, **options)


@names
def test_real_data_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="binary or integer"):
        create(name, Event.real((4,)))


# Sentences


SENTENCES = Event.sentences(5, 3)


@pytest.mark.parametrize("name", ["lstm-lm", "bytenet", "wavenet", "transformer", "sparse-transformer"])
@torch.no_grad()
def test_sentences_have_probabilities_that_sum_to_1(name: str) -> None:
    """Over all sentences, which are counted here one length after another."""
    model = create(name, SENTENCES, **{"wavenet": {"channels": 4, "skip": 4, "sets": 1, "max_dilation": 2}}.get(name, {}))
    model = model.double().eval()
    rows = [
        [*words, *[3] * (5 - n)] for n in range(6) for words in itertools.product(range(3), repeat=n)
    ]  # fmt: skip
    x = torch.tensor(rows)
    assert len(x) == sum(3**n for n in range(6))
    assert float(model.log_prob(x).exp().sum()) == pytest.approx(1.0, abs=1e-10)
    drawn = model.sample(50, generator=torch.Generator().manual_seed(0))
    SENTENCES.check(drawn)


@torch.no_grad()
def test_a_sentence_has_the_log_prob_of_its_entries() -> None:
    """Whatever it is batched with: padding changes nothing."""
    model = create("transformer", SENTENCES, width=8, layers=2, heads=2).double().eval()
    x = torch.tensor([[0, 1, 3, 3, 3], [2, 2, 1, 0, 1], [3, 3, 3, 3, 3]])
    whole = model.log_prob(x)
    by_entry = model.entry_log_prob(model(x), x)
    torch.testing.assert_close(by_entry.sum(1), whole)
    assert bool((by_entry[0, 3:] == 0.0).all())
    for i in range(3):
        torch.testing.assert_close(model.log_prob(x[i : i + 1])[0], whole[i])


def test_steps_end_where_all_sentences_do() -> None:
    model = create("lstm-lm", SENTENCES, width=4).eval()
    calls = []

    def choose(entry: int, raw: torch.Tensor) -> torch.Tensor:
        calls.append(entry)
        return torch.tensor([0.0 if entry == 0 else 3.0, 3.0])

    assert model.run(model.init_state(2), choose).tolist() == [[0, 3, 3, 3, 3], [3, 3, 3, 3, 3]]
    assert calls == [0, 1]


def test_models_of_one_length_refuse_sentences() -> None:
    with pytest.raises(InvalidInput, match=r"made takes data of one length, .* lstm-lm"):
        create("made", SENTENCES)
    with pytest.raises(InvalidInput, match="cannot be sure"):
        create("lstm-lm", SENTENCES, head="logistic-mixture")
    with pytest.raises(Unsupported, match="leave carry out"):
        create("lstm-lm", SENTENCES).carry(2)
