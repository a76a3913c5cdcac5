"""The window on a text, beside its sum written out; LSTM layers that all see the input, one place after another."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ancestral.event import Event
from ancestral.layers.skip_lstm import SkipLSTM
from ancestral.layers.soft_window import SoftWindow


@given(batch=st.integers(1, 3), symbols=st.integers(1, 4), components=st.integers(1, 3), seed=st.integers(0, 99))
@torch.no_grad()
def test_it_is_the_sum(batch: int, symbols: int, components: int, seed: int) -> None:
    torch.manual_seed(seed)
    event = Event.sentences(symbols, 2)
    window = SoftWindow(event, 3, components).double()
    torch.nn.init.normal_(window.map.weight)
    text = event.closed(torch.randint(3, (batch, symbols)))
    h, kappa = torch.randn(batch, 3).double(), torch.rand(batch, components).double()
    source = window.read(text)
    w, after = window(h, kappa, source)
    for i in range(batch):
        a, b, s = (window.map.weight @ h[i] + window.map.bias).exp().view(3, components)
        for k in range(components):
            assert float(after[i, k]) == pytest.approx(float(kappa[i, k] + s[k]))
        expected = torch.zeros(3).double()
        for u in range(int(event.counted(text)[i])):
            expected[text[i, u]] += sum(
                float(a[k]) * math.exp(-float(b[k]) * (float(after[i, k]) - u) ** 2) for k in range(components)
            )
        torch.testing.assert_close(w[i], expected)


def test_it_begins_at_its_pace_and_never_goes_back() -> None:
    window = SoftWindow(Event.sentences(4, 2), 3, 2, pace=0.25)
    kappa = torch.zeros(1, 2)
    with torch.no_grad():
        _, once = window.weights(torch.zeros(1, 3), kappa, 4)
        torch.testing.assert_close(once, torch.full((1, 2), 0.25))
        for _ in range(20):
            _, after = window.weights(10.0 * torch.randn(1, 3), kappa, 4)
            assert bool((after >= kappa).all())
            kappa = after


@given(inputs=st.integers(1, 3), hidden=st.integers(1, 4), layers=st.integers(1, 3), t=st.integers(1, 5), text=st.booleans())
@torch.no_grad()
def test_steps_are_the_pass(inputs: int, hidden: int, layers: int, t: int, text: bool) -> None:
    torch.manual_seed(0)
    window = SoftWindow(Event.sentences(3, 2), hidden, 2) if text else None
    lstm = SkipLSTM(inputs, hidden, layers, 0.0, window).double()
    source = None if window is None else window.read(torch.tensor([[0, 1, 2], [1, 2, 2]]))
    x = torch.randn(2, t, inputs).double()
    memory = lstm.start(2, source)
    stepped = torch.stack([lstm.step(part, memory) for part in x.unbind(1)], dim=1)
    torch.testing.assert_close(stepped, lstm(x, source), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_without_text_it_is_a_stack_of_lstms_that_all_see_the_input() -> None:
    torch.manual_seed(0)
    stack, x = SkipLSTM(3, 4, 2), torch.randn(2, 5, 3)
    below, _ = stack.lstms[0](x)
    above, _ = stack.lstms[1](torch.cat((x, below), dim=-1))
    torch.testing.assert_close(stack(x), torch.cat((below, above), dim=-1))
