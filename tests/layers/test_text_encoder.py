"""The recurrent encoder of sentences: the recurrence by hand, ends, order."""

import pytest
import torch
import torch.nn.functional as F

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.text_encoder import TextEncoder


def test_the_recurrence_by_hand() -> None:
    encoder = TextEncoder(Event.sentences(4, 5), 6).double()
    weights = dict(encoder.gru.named_parameters())
    for sentence in ([2, 0, 3, 5], [1, 4, 1, 2], [5, 5, 5, 5]):
        h = torch.zeros(6, dtype=torch.float64)
        for word in sentence:
            if word == 5:
                break
            x = weights["weight_ih_l0"] @ encoder.words.weight[word] + weights["bias_ih_l0"]
            y = weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
            (xr, xz, xn), (yr, yz, yn) = x.chunk(3), y.chunk(3)
            z = torch.sigmoid(xz + yz)
            h = (1.0 - z) * torch.tanh(xn + torch.sigmoid(xr + yr) * yn) + z * h
        torch.testing.assert_close(encoder(torch.tensor([sentence]))[0], F.layer_norm(h, (6,)))


def test_sentences_of_any_length_and_order_differ_and_ends_do_not_count() -> None:
    encoder = TextEncoder(Event.sentences(4, 5), 6)
    whole = encoder(torch.tensor([[0, 1, 2, 3], [1, 0, 2, 3], [0, 1, 2, 5], [0, 1, 5, 5], [5, 5, 5, 5]]))
    assert len(whole.unique(dim=0)) == 5
    alone = TextEncoder(Event.sentences(2, 5), 6)
    alone.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(alone(torch.tensor([[0, 1]])), whole[3:4])
    torch.testing.assert_close(whole[:4].var(1, unbiased=False), torch.ones(4), rtol=0.01, atol=0.0)


def test_only_sentences_are_read() -> None:
    with pytest.raises(InvalidInput, match="reads sentences"):
        TextEncoder(Event.label(3), 4)
    with pytest.raises(InvalidInput, match="a text encoder needs"):
        TextEncoder(Event.sentences(2, 3), 0)
