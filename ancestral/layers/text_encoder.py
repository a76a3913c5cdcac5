"""A recurrent encoder of sentences, for networks that are told one."""

import torch
from torch import Tensor, nn

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.layers.mlp import check_sizes


class TextEncoder(nn.Module):
    r"""y = layer_norm(h_T), h_t = GRU(e(w_t), h_{t-1}), h_0 = 0, for a sentence of the words w_1, ..., w_T.

    What comes after the end of a sentence has no effect. The entries of y have variance 1, whatever T is, so that a network
    that is initialised for noise of that variance is for y, too.

    Args:
        event: what a sentence is: tokens with an end symbol.
        features: entries of y; e(w) has as many.

    Raises:
        InvalidInput: for another event or a size below 1.

    References:
        Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation (Cho et al., 2014),
        https://arxiv.org/abs/1406.1078, for the unit.
        Generative Adversarial Text to Image Synthesis (Reed et al., 2016), https://arxiv.org/abs/1605.05396, for its use.
        There the encoder is trained beforehand to tell which caption goes with which image; here it learns with the network
        that it is part of.

    >>> TextEncoder(Event.sentences(3, 4), 6)(torch.tensor([[1, 0, 4], [3, 4, 4]])).shape
    torch.Size([2, 6])
    """

    def __init__(self, event: Event, features: int) -> None:
        super().__init__()
        if not (event.end and event.is_sequence):
            raise InvalidInput(f"a recurrent encoder reads sentences, got {event}: use text=places for other conditions")
        check_sizes("a text encoder", (features,))
        self.event, self.features = event, features
        self.words = nn.Embedding(event.end_symbol + 1, features)
        self.gru = nn.GRU(features, features, batch_first=True)
        self.norm = nn.LayerNorm(features)

    def forward(self, sentence: Tensor) -> Tensor:
        """Return y, (batch, features), for sentences, (batch, length)."""
        words = self.words(sentence.long())  # (b, t, f)
        h, _ = self.gru(words)  # (b, t, f)
        h = torch.cat((h.new_zeros(len(h), 1, self.features), h), dim=1)  # of no word, of one, ...
        last = self.event.lengths(sentence)[:, None, None].expand(-1, 1, self.features)
        y: Tensor = self.norm(h.gather(1, last)[:, 0])
        return y
