import math
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from torch import Tensor, nn

from ancestral.distributions import make_head
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.pcm import PCM
from ancestral.verbs import conditional, gibbs
from ancestral.verbs.complete import CollapseWarning, complete
from ancestral.verbs.completion_files import save, to_table
from ancestral.verbs.observed import read_observed
from ancestral.verbs.particles import systematic
from tests.contracts.cases import Case, all_states, contract, generator, repeat
from tests.models.autoregressive.test_base import Walk

BITS = Event.binary((6,))
FIRST = torch.tensor([True, True, False, False, False, False])


@pytest.fixture
def large_batches(monkeypatch):
    """Take all particles of tiny models at once."""
    monkeypatch.setattr(conditional, "auto_batch_size", lambda event: 10**6)


@torch.no_grad()
def forced_log_prob(model: AutoregressiveModel, x: Tensor, condition: Tensor | None, observed: Tensor) -> Tensor:
    """Return log p(x) under the orders that a completion takes, by steps over given data."""
    if not model.any_order:
        return model.log_prob(x, condition)
    flat = x.flatten(1).to(model.dtype)
    each = []
    for k in range(model.members):
        own = model.member_order(k).tolist()
        order = sorted(own, key=lambda entry: not observed.flatten()[entry])
        state, total, value = model.init_state(len(x), condition, torch.tensor(order), k), 0.0, None
        for entry in order:
            raw = model.step(state, value)
            value = flat[:, entry]
            total = total + model.head(raw).log_prob(value).double()
        each.append(total)
    return torch.logsumexp(torch.stack(each), 0) - math.log(model.members)


def agrees(drawn: Tensor, expected: Tensor) -> bool:
    """Return whether drawn states, (n,), have the probabilities `expected`, by a chi-square test with rare states in one."""
    counts = torch.bincount(drawn, minlength=len(expected)).double()
    wanted = expected.double() * len(drawn)
    rare = wanted < 5
    found = torch.cat((counts[~rare], counts[rare].sum()[None])).numpy()
    wanted = torch.cat((wanted[~rare], wanted[rare].sum()[None])).numpy()
    if wanted[-1] < 1e-3:
        assert found[-1] == 0
        found, wanted = found[:-1], wanted[:-1]
    return len(wanted) == 1 or chisquare(found, wanted * found.sum() / wanted.sum()).pvalue > 1e-4


@contract(lambda case: case.autoregressive and case.enumerable)
@pytest.mark.parametrize("seed", [0, 1])
def test_completions_follow_the_true_conditional(case: Case, seed: int, large_batches) -> None:
    event, condition, data = case.event, case.conditions(1), 500
    observed = torch.rand(event.shape, generator=generator(seed)) < 0.5
    given = case.data(1, seed=seed)
    states = all_states(event)
    fitting = (states == given)[:, observed].all(1)
    for spread in (0.5, 0.3):  # few particles do not find what is next to impossible
        model = case.build(spread=spread)
        log_joint = forced_log_prob(model, states, repeat(condition, len(states)), observed)
        log_evidence = torch.logsumexp(log_joint[fitting].double(), 0)
        if log_evidence > -8.0:
            break
    expected = torch.where(fitting, (log_joint - log_evidence).exp(), 0.0)

    done = complete(model, given.expand(data, *event.shape), observed, 3, repeat(condition, data), particles=200, seed=seed)
    powers = event.levels ** torch.arange(event.numel - 1, -1, -1)
    numbers = (states.flatten(1).long() * powers).sum(1)  # ascending
    drawn = torch.searchsorted(numbers, (done.x.flatten(2).long() * powers).sum(2))
    assert torch.equal(states[drawn], done.x), "a completion is no datum of the event"
    assert bool((done.x == given)[:, :, observed].all())
    for j in (0, 2):
        assert agrees(drawn[:, j], expected)
    torch.testing.assert_close(done.log_prob + done.log_evidence[:, None], log_joint[drawn].double(), rtol=0.0, atol=1e-4)
    if done.effective_sample_size is None:
        assert set(done.method) <= {"exact (prefix)", "exact (order)"}
        assert done.kind == model.likelihood
        torch.testing.assert_close(done.log_evidence, log_evidence.expand(data), rtol=0.0, atol=1e-4)
    else:
        assert set(done.method) == {"sequential Monte Carlo"}
        assert not model.any_order
        assert (done.kind.kind, done.kind.samples) == ("estimate", 200)
        ratio = (done.log_evidence - log_evidence).exp()
        assert abs(float(ratio.mean()) - 1.0) < 5.0 * float(ratio.std()) / data**0.5 + 1e-4, "its mean is p(observed)"


def test_an_order_is_chosen_where_the_model_serves_any():
    observed = torch.tensor([False, True, False, False, True, True])
    for options in ({"hidden": (8,), "masks": 3, "orders": "agnostic"}, {"hidden": (8,), "masks": 3}):
        method = complete(create("made", BITS, **options), torch.ones(6), observed, 2, particles=50).method
        assert method == (("exact (order)",) if "orders" in options else ("sequential Monte Carlo",))


@pytest.mark.parametrize("members", [1, 3])
def test_all_or_nothing_observed(members):
    model = create("made", BITS, hidden=(8,), masks=members)
    x = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1]])
    whole = complete(model, x, torch.ones(6, dtype=torch.bool), 2)
    assert torch.equal(whole.x, x[:, None].expand(2, 2, 6).to(torch.uint8))
    torch.testing.assert_close(whole.log_prob, torch.zeros(2, 2).double(), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(whole.log_evidence.float(), model.log_prob(x))
    free = complete(model, x, torch.zeros(6, dtype=torch.bool), 200)
    torch.testing.assert_close(free.log_prob.flatten().float(), model.log_prob(free.x.flatten(0, 1)))
    assert free.log_evidence.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert len(free.x[0].unique(dim=0)) > 20


def test_masks_may_differ_from_datum_to_datum():
    """Each is completed in its own way, in the order in which they came."""
    model = create("fvsbn", BITS)
    masks = torch.stack((FIRST.flip(0), FIRST, ~FIRST, FIRST))
    x = torch.tensor([[0, 0, 0, 0, 1, 1], [1, 1, 9, 9, 9, 9], [9, 9, 1, 0, 1, 0], [1, 0, 9, 9, 9, 9]])
    done = complete(model, x, masks, 4, particles=60)
    assert done.method == ("sequential Monte Carlo", "exact (prefix)", "sequential Monte Carlo", "exact (prefix)")
    assert done.effective_sample_size.isinf().tolist() == [False, True, False, True]
    assert torch.equal(done.observed, masks)
    for i in range(4):
        assert bool((done.x[i] == x[i])[:, masks[i]].all())
        alone = complete(model, x[i], masks[i], 400, particles=4000)
        assert float(done.log_evidence[i]) == pytest.approx(float(alone.log_evidence), abs=1e-6 if i % 2 else 0.5)
    assert complete(model, x[1:2], FIRST, 4).effective_sample_size is None


def test_conditions_decide_what_is_drawn():
    model = create("fvsbn", BITS, Event.label(2))
    with torch.no_grad():
        model.embedding.map.weight.copy_(torch.tensor([[-50.0] * 6, [50.0] * 6]))
        model.weight.zero_()
    done = complete(model, torch.tensor([[1, 0, 0, 0, 0, 0]] * 3), ~FIRST.flip(0), 2, [0, 1, 1], particles=40)
    assert done.x[:, :, 4:].float().mean((1, 2)).tolist() == [0, 1, 1]
    with pytest.raises(InvalidInput, match="needs a condition"):
        complete(model, torch.zeros(6), FIRST)


def test_seed_and_mode():
    model = create("made", BITS, hidden=(8,), dropout=0.5).train()
    x = torch.zeros(3, 6)
    first = complete(model, x, ~FIRST, 20, particles=100)
    torch.rand(3)
    again = complete(model, x, ~FIRST, 20, particles=100)
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.log_prob, again.log_prob)
    assert not torch.equal(first.x, complete(model, x, ~FIRST, 20, particles=100, seed=1).x)
    assert model.training


# A seed gives the same completions of a datum


@contract(lambda case: case.autoregressive)
@pytest.mark.parametrize("sweeps", [0, 2])
@pytest.mark.filterwarnings("ignore::ancestral.CollapseWarning")
def test_a_datum_is_completed_the_same_in_any_batch_and_any_passes(case: Case, sweeps: int, monkeypatch) -> None:
    model = case.build(dtype=torch.float64)
    x, condition = case.data(7), case.conditions(7)
    first = torch.arange(case.event.numel).view(case.event.shape) < case.event.numel // 2
    masks = torch.stack([first, ~first, first, ~first, first, ~first, ~first])
    # Data of which the same is known are told apart by their places: here each is known by something else.
    known = [x * masks, masks] if condition is None else [x * masks, masks, condition]
    keys = [tuple(part[i].tobytes() for part in (t.numpy() for t in known)) for i in range(7)]
    distinct = torch.tensor([i for i, key in enumerate(keys) if key not in keys[:i]])
    x, masks, condition = x[distinct], masks[distinct], None if condition is None else condition[distinct]
    n = len(x)
    whole = complete(model, x, masks, 3, condition, particles=20, sweeps=sweeps, seed=5)
    tolerance = 0.0 if case.event.discrete else 1e-5

    def assert_same(rows: Tensor) -> None:
        given = None if condition is None else condition[rows]
        done = complete(model, x[rows], masks[rows], 3, given, particles=20, sweeps=sweeps, seed=5)
        torch.testing.assert_close(done.x, whole.x[rows], rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(done.log_prob, whole.log_prob[rows])
        torch.testing.assert_close(done.log_evidence, whole.log_evidence[rows])

    for rows in ([n - 1], [n - 1, 0], list(range(n))[::-1]):
        assert_same(torch.tensor(rows))
    for module in (conditional, gibbs):
        monkeypatch.setattr(module, "auto_batch_size", lambda event: 2)
    assert_same(torch.arange(n))


def test_the_first_completions_are_the_same_for_any_count():
    model = create("made", BITS, hidden=(8,), masks=3, orders="agnostic")
    x, observed = torch.zeros(2, 6), ~FIRST
    many = complete(model, x, observed, 50)
    assert many.method == ("exact (order)",) * 2
    assert torch.equal(many.x[:, :4], complete(model, x, observed, 4).x)


def test_equal_data_are_completed_each_in_its_own_way():
    """Many rows of a table may share what is known of them: one imputation for all would be none."""
    model = create("fvsbn", BITS)
    done = complete(model, torch.tensor([[1, 0, 0, 0, 0, 0], [1, 0, 1, 1, 1, 1]] * 20), FIRST, 1)
    assert len(done.x.flatten(0, 1).unique(dim=0)) > 8
    one = complete(model, torch.tensor([1, 0, 1, 0, 1, 0]), FIRST, 1)
    assert torch.equal(one.x[0], done.x[0]), "what was not observed does not count"


# Real data


def test_given_values_come_back_to_the_bit_and_the_others_do_not_count():
    event = Event.real((4,), loc=(1.0, 2.0, 3.0, 4.0), scale=(0.1, 0.3, 3.0, 7.0))
    model = create("rnade", event, hidden=5, components=2)
    x = torch.tensor([[-0.0, 0.1, math.nan, math.inf], [1e-42, -1 / 3, 0.0, 1.0]])
    observed = torch.tensor([True, True, False, False])
    done = complete(model, x, observed, 3)
    assert torch.equal(done.x[:, :, :2].view(torch.int32), x[:, None, :2].expand(2, 3, 2).contiguous().view(torch.int32))
    assert bool(done.x.isfinite().all())
    torch.testing.assert_close(
        (done.log_prob + done.log_evidence[:, None]).flatten().float(),
        model.log_prob(done.x.flatten(0, 1)),
        rtol=1e-4,
        atol=1e-4,
    )


def test_real_completions_have_the_moments_of_the_conditional():
    """A walk z_2 = s e, z_1 = z_2 + s e, z_0 = z_1 + s e: given z_0 = v, the mean of z_2 is v / 3 and of z_1 2 v / 3."""
    event, s = Event.real((3,), loc=(5.0, 1.0, -2.0), scale=(2.0, 0.5, 3.0)), math.exp(-4.0)
    model, v = Walk(event), 0.05
    done = complete(model, torch.tensor([5.0 + 2.0 * v, 0.0, 0.0]), torch.tensor([True, False, False]), 4000, particles=20000)
    z = event.to_network(done.x[0])
    assert z.mean(0)[1:].tolist() == pytest.approx([2 * v / 3, v / 3], abs=4e-4)
    assert z.std(0)[1:].tolist() == pytest.approx([s * (2 / 3) ** 0.5] * 2, rel=0.05)
    density = torch.distributions.Normal(0.0, s * 3**0.5).log_prob(torch.tensor(v)) - math.log(2.0)
    assert float(done.log_evidence) == pytest.approx(float(density), abs=0.02)


# Particles that collapse


class Rare(AutoregressiveModel):
    """The first entry is 1 with probability 0.018; the others are, nearly always, what the first is."""

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self.head = make_head(event)
        self.scale = nn.Parameter(torch.tensor(16.0))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        before = torch.cat((x[:, :1] * 0.0 + 0.25, x[:, :-1].to(self.dtype)), dim=1)
        return (self.scale * (before - 0.5))[..., None]


def test_a_collapse_is_reported():
    model, last = Rare(BITS), FIRST.flip(0)
    with pytest.warns(
        CollapseWarning, match=r"of 1 of 2 data collapsed: 8 completions of each from 100 particles.*more particles"
    ):
        done = complete(model, torch.tensor([[1] * 6, [0] * 6]), last, 8, particles=100)
    assert 1.0 <= float(done.effective_sample_size[0]) < 6.0
    assert float(done.effective_sample_size[1]) > 90.0
    done = complete(model, torch.ones(6), last, 8, particles=4000)
    assert 40.0 < float(done.effective_sample_size) < 100.0, "there are about 72 that began with 1"
    assert float(done.log_evidence) == pytest.approx(math.log(torch.sigmoid(torch.tensor(-4.0))), abs=0.5)


def test_data_that_the_model_excludes_are_named():
    model = Rare(BITS)
    with torch.no_grad():
        model.scale.fill_(math.nan)
    with pytest.raises(InvalidInput, match="of 2 data probability 0 or NaN, of datum 0 first"):
        complete(model, torch.ones(2, 6), FIRST, 2)


def test_systematic_draws():
    weight = torch.tensor([[0.1, 0.0, 0.65, 0.25], [0.0, 0.0, 1.0, 0.0]])
    counts = torch.zeros(2, 4)
    first = torch.zeros(2, 4)
    random = generator()
    for _ in range(2000):
        drawn = systematic(weight, 10, torch.rand(2, 1, dtype=torch.float64, generator=random))
        each = torch.nn.functional.one_hot(drawn, 4).sum(1)
        assert bool(((each - 10 * weight).abs() < 1.0 + 1e-5).all())
        counts += each
        first += torch.nn.functional.one_hot(drawn[:, 0], 4)
    torch.testing.assert_close(counts / 20000, weight, atol=0.003, rtol=0.0)
    torch.testing.assert_close(first / 2000, weight, atol=0.04, rtol=0.0)


# Models that are not autoregressive


def test_models_that_cannot_say_which_can():
    model = create("gan", Event.binary((1, 8, 8)))
    with pytest.raises(Unsupported, match=r"gan \(adversarial\) cannot complete data\. Models that can: .*made"):
        complete(model, torch.zeros(1, 8, 8), "top")


class Zeros(Model):
    """Completes with zeros, and breaks what it was given."""

    completion = "by zeros"

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self.one = nn.Parameter(torch.ones(()))

    def complete(self, x, observed, n, condition=None, *, generator=None):
        assert not self.training
        return torch.zeros(len(x), n, *self.event.shape)


def test_a_model_may_complete_by_itself():
    done = complete(Zeros(BITS), torch.ones(2, 6), FIRST, 3)
    assert done.x.tolist() == [[[1, 1, 0, 0, 0, 0]] * 3] * 2
    assert done.x.dtype == torch.uint8
    assert done.method == ("by zeros",) * 2
    assert done.log_prob is None
    assert str(done.kind) == "none"
    assert to_table(done)["log_prob"].isna().all()


# Masks


@pytest.mark.parametrize(
    ("name", "rows"),
    [("top", ["111", "111", "000"]), ("bottom", ["000", "111", "111"]), ("left", ["110"] * 3), ("right", ["011"] * 3),
     ("center", ["111"] * 3)],
)  # fmt: skip
def test_parts_of_an_image(name, rows):
    mask = read_observed(Event.binary((2, 3, 3)), name)
    assert ["".join(str(int(v)) for v in row) for row in mask] == rows


def test_the_center_is_half_of_either_side():
    mask = read_observed(Event.binary((1, 8, 12)), "center")
    assert bool(mask[2:6, 3:9].all())
    assert int(mask.sum()) == 24


def test_masks_from_files(tmp_path):
    event = Event.integers((3, 4, 6), 256)
    mask = torch.rand(4, 6, generator=generator()) < 0.5
    Image.fromarray(mask.numpy()).save(tmp_path / "bilevel.png")
    Image.fromarray(np.where(mask.numpy(), 255, 0).astype(np.uint8)).save(tmp_path / "gray.png")
    np.save(tmp_path / "mask.npy", mask.numpy())
    for name in ("bilevel.png", "gray.png", "mask.npy"):
        assert torch.equal(read_observed(event, str(tmp_path / name)), mask)
    with pytest.raises(InvalidInput, match=r"the mask \(.*no.png\) cannot be read"):
        read_observed(event, str(tmp_path / "no.png"))


@pytest.mark.parametrize("numel", [1, 2, 5, 8])
def test_parts_of_sequences(numel):
    event = Event.integers((numel,), 4, ("time",))
    start, end, middle, ends = (read_observed(event, name) for name in ("start", "end", "middle", "ends"))
    assert bool((start | end).all())
    assert start.tolist() == end.flip(0).tolist()
    assert middle.tolist() == middle.flip(0).tolist()
    assert torch.equal(ends, ~middle)
    if numel == 8:
        assert start.tolist() == [True] * 4 + [False] * 4
        assert middle.tolist() == [False] * 2 + [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("event", "part", "message"),
    [
        (Event.binary((1, 2, 2)), "ends", "'ends' is a part of sequences, the data are 1x2x2 binary"),
        (Event.integers((6,), 4, ("time",)), "left", "'left' is a part of images, the data are 6"),
        (Event.integers((6,), 4, ("time",)), "begin", "there is no part 'begin'.*start, end, middle, ends of sequences"),
    ],
)
def test_parts_of_other_data_are_refused(event, part, message):
    with pytest.raises(InvalidInput, match=message):
        read_observed(event, part)


@pytest.mark.parametrize(
    ("x", "observed", "message"),
    [
        (torch.zeros(2, 5), FIRST, r"x has shape \(2, 5\)"),
        (torch.zeros(0, 6), FIRST, "got no data"),
        (torch.zeros(2, 6), FIRST[:5], r"observed has shape \(5,\), expected \(2, 6\), \(6,\): give"),
        (torch.zeros(2, 6), FIRST.expand(3, 6), "observed has shape"),
        (torch.zeros(2, 6), FIRST.long(), r"type torch\.int64, expected bool"),
        (torch.zeros(2, 6), "top", "'top' is a part of images, the data are 6 binary"),
        (torch.zeros(2, 6), "upper", r"no part 'upper': give one of top, bottom"),
        (torch.full((2, 6), 3), FIRST, r"the observed part of x has values in \[0, 3\]"),
        (torch.full((2, 6), math.nan), FIRST, "the observed part of x holds 4 NaN"),
    ],
)
def test_data_and_masks_that_do_not_fit_are_refused(x, observed, message):
    with pytest.raises(InvalidInput, match=message):
        complete(create("fvsbn", BITS), x, observed)


def test_counts_are_refused():
    for counts, message in (
        ({"n": 0}, "n is 0"),
        ({"particles": 0}, "particles is 0"),
        ({"sweeps": -1}, "sweeps is -1, expected at least 0"),
    ):
        with pytest.raises(InvalidInput, match=message):
            complete(create("fvsbn", BITS), torch.zeros(6), FIRST, **counts)


# Files


def test_files(tmp_path):
    event = Event.binary((1, 6, 6))
    x = torch.ones(2, 1, 6, 6, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapseWarning)
        done = complete(create("fvsbn", event), x, "left", 3, particles=30)
    for name in ("a.npy", "a.csv", "a.parquet", "a.png"):
        save(done, event, tmp_path / name, x)
    assert np.load(tmp_path / "a.npy").shape == (2, 3, 1, 6, 6)
    table = to_table(done)
    assert table["log_prob"].tolist() == done.log_prob.flatten().tolist()
    assert table["datum"].tolist() == [0, 0, 0, 1, 1, 1]
    assert set(table["kind"]) == {"estimate (30 samples)"}
    with pytest.raises(InvalidInput, match="its suffix is missing"):
        save(done, event, tmp_path / "a")
    rows = complete(create("fvsbn", BITS), torch.ones(2, 6), FIRST, 3)
    save(rows, BITS, tmp_path / "rows.png")
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("known", [True, False])
def test_sounds_make_a_grid(known, tmp_path):
    event = Event.audio(12, PCM(8000, 16))
    x = torch.full((2, 12), 8)
    model = create("wavenet", event, channels=2, skip=2, sets=1, max_dilation=2)
    done = complete(model, x, torch.arange(12) < 6, 3)
    save(done, event, tmp_path / "a.png", x if known else None)
    save(done, event, tmp_path / "a.wav")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.wav"]
