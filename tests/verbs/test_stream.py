import itertools
from collections.abc import Iterator

import pytest
import torch

from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.stream import stream_log_prob, stream_log_probs


def test_values_are_taken_one_at_a_time_from_an_endless_source():
    asked = 0

    def source() -> Iterator[int]:
        nonlocal asked
        for bit in itertools.cycle((1, 0)):
            asked += 1
            yield bit

    stream = stream_log_prob(create("fvsbn", Event.binary((6,))), source())
    assert asked == 0
    first = next(stream)
    assert (asked, first < 0) == (1, True)
    assert list(itertools.islice(stream, 5))[-1] < first
    assert asked == 6
    with pytest.raises(InvalidInput, match="more values than a datum's 6 entries"):
        next(stream)


def test_each_figure_is_the_probability_of_what_has_come():
    """Summed over all that could follow, the whole data's probabilities give the figure so far."""
    model = create("nade", Event.integers((4,), 3), hidden=5).double()
    running = list(stream_log_prob(model, [2, 0, 1, 1]))
    for t in range(1, 5):
        rest = itertools.product(range(3), repeat=4 - t)
        x = torch.tensor([[2, 0, 1, 1][:t] + list(r) for r in rest])
        with torch.no_grad():
            expected = float(model.log_prob(x).logsumexp(0))
        assert running[t - 1] == pytest.approx(expected, abs=1e-10)


def test_the_caller_keeps_the_mode_and_the_gradients_between_values():
    model = create("made", Event.binary((6,)), hidden=(8,), dropout=0.5).train()
    stream = stream_log_prob(model, [1, 0, 1, 0, 1, 0])
    first = next(stream)
    assert model.training
    assert torch.is_grad_enabled()
    assert first == next(stream_log_prob(model.eval(), [1])), "scored in evaluation mode"


def test_conditions_are_those_of_sample():
    model = create("fvsbn", Event.binary((4,)), Event.label(3))
    with torch.no_grad():
        model.embedding.map.weight.normal_()
    one, other = (list(stream_log_prob(model, [1, 1, 0, 1], c))[-1] for c in (0, 2))
    assert one != other
    x = torch.tensor([[1, 1, 0, 1]] * 2)
    last = list(stream_log_probs(model, x.T, [0, 2]))[-1]
    assert last.tolist() == pytest.approx([one, other])
    with pytest.raises(InvalidInput, match="give a class from 0 to 2"):
        next(stream_log_prob(model, [1]))


def test_values_that_do_not_fit_are_refused():
    model = create("fvsbn", Event.binary((4,)))
    with pytest.raises(InvalidInput, match=r"value 1 has values in \[2, 2\], expected integers in \[0, 1\]"):
        list(stream_log_prob(model, [1, 2]))
    with pytest.raises(InvalidInput, match="value 0 holds 1 NaN"):
        list(stream_log_prob(create("rnade", Event.real((4,))), [float("nan")]))
    with pytest.raises(InvalidInput, match="value 1 is of 2 data, the first was of 3"):
        list(stream_log_probs(model, [torch.ones(3), torch.ones(2)]))


def test_a_text_is_scored_token_by_token():
    encoding = TextEncoding.fit("byte")
    model = create("lstm-lm", Event.tokens(5, encoding), width=4).double().eval()
    tokens = torch.from_numpy(encoding.encode(b"hello").astype("int64"))
    with torch.no_grad():
        expected = float(model.log_prob(tokens[None]))
    assert list(stream_log_prob(model, tokens.tolist()))[-1] == pytest.approx(expected, rel=1e-10)
