r"""Counts of n-grams mixed into a model's conditionals, in whole numbers alone, so that every machine has the same.

A text repeats itself: names, phrases, headings. What came after the last few tokens, wherever they were before, is counted,
and predicts what comes after them now. The predictions of contexts of several lengths, and the model's own, are mixed in
proportion to the powers of their probabilities, with exponents that are learned as the text goes on.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ancestral.coding.frequencies import PRECISION, Integers, of_cells, weights

ORDERS = 6
"""Tokens of the longest context."""
MAX_CONTEXTS = 2**20
"""Contexts that are remembered, at most, of some hundred bytes each; those met after that are left out."""
RATE = 4
"""Learning rate of exponents, in units of 2^-20 for a cell of `frequencies.GRID`."""
_ONE = 16
"""Exponents are whole numbers of 2^-16."""
_OWN, _COUNTED = 60000, 3000
"""Exponents that the model and each length of context begin with."""
_LARGEST = 2**20
"""Exponents stay between this and its negative."""
_SURE = (1, 3, 15)
"""Counts of the longest context, up to which it is one of a kind, which has exponents of its own."""

Counts = dict[int, int]


class NgramMixer:
    r"""p(x) \propto prod_i p_i(x)^{w_i}, of the model, i = 0, and of the tokens after contexts of 0 to `ORDERS` tokens.

    With c(x) times that x came after a context, N of all and D of those that differ, and q of the context that is a token
    shorter (even odds below the shortest), p(x) = (c(x) - 1/2) / N where c(x) > 0, and D / 2N q(x) on top for all x. The
    exponents w descend along -log p of each token; there are some for each length of the longest known context, by N.

    Args:
        levels: values of a token.

    References:
        Data Compression Using Adaptive Coding and Partial String Matching (Cleary & Witten, 1984),
        https://doi.org/10.1109/TCOM.1984.1096090, with the escapes of PPMD. Adaptive Weighing of Context Models for Lossless
        Data Compression (Mahoney, 2005), http://hdl.handle.net/11141/154. Difference: all values of a token are mixed at
        once, where PAQ mixes bits.
    """

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.counts: list[dict[tuple[int, ...], Counts]] = [{} for _ in range(ORDERS + 1)]
        self.contexts = 0
        self.context: tuple[int, ...] = ()
        self.exponents = np.full((ORDERS + 2, len(_SURE) + 1, ORDERS + 2), _COUNTED, dtype=np.int64)
        self.exponents[..., 0] = _OWN
        self._even = np.full(levels, 2**PRECISION // levels, dtype=np.int64)
        self._negative = -weights()  # ascending
        self._mixed: tuple[Integers, Integers, Integers] | None = None
        self._learned = 0

    def read(self, tokens: Iterable[int]) -> None:
        """Count tokens of a text that everyone has."""
        for token in tokens:
            self._count(token)

    def mix(self, cells: Integers) -> Integers:
        """Return the integer frequencies of the next token, (levels,).

        Args:
            cells: of the model's log-probabilities, see `frequencies.cells_of`, (levels,).
        """
        predictions = [cells]
        known, sure, below = 0, 0, self._even
        for order in range(ORDERS + 1):
            found = self.counts[order].get(self.context[len(self.context) - order :]) if order <= len(self.context) else None
            if found is not None:
                total, different = sum(found.values()), len(found)
                below = below * different // (2 * total)
                values = np.fromiter(found.keys(), np.int64, different)
                times = np.fromiter(found.values(), np.int64, different)
                below[values] += ((2 * times - 1) << PRECISION) // (2 * total)
                np.maximum(below, 1, out=below)
                known, sure = order + 1, sum(total > most for most in _SURE)
            predictions.append(self._log(below))
        stacked, exponents = np.stack(predictions), self.exponents[known, sure]
        mixed = of_cells(((exponents @ stacked) >> _ONE)[None])[0]
        self._mixed = stacked, exponents, mixed
        return mixed

    def _log(self, frequencies: Integers) -> Integers:
        """Return the cells of log-probabilities, (levels,), of frequencies that add up to 2^PRECISION or less."""
        cells: Integers = -np.searchsorted(self._negative, -(frequencies << 28 - PRECISION))
        return cells

    def learn(self, token: int) -> None:
        """Learn from the token that came, after `mix`."""
        if self._mixed is not None:
            stacked, exponents, mixed = self._mixed
            error = stacked[:, token] - ((stacked * mixed).sum(1) >> PRECISION)
            exponents += (error * RATE) >> 4
            np.clip(exponents, -_LARGEST, _LARGEST, out=exponents)
            self._mixed = None
        self._count(token)
        self._learned += 1

    def run(self, cells: Integers, tokens: Sequence[int]) -> Integers:
        """Return the integer frequencies of tokens that are known, (n, levels), after each of which is learned.

        Args:
            cells: of the model's log-probabilities, (n, levels).
            tokens: (n,).
        """
        out = np.empty_like(cells)
        for i, token in enumerate(tokens):
            out[i] = self.mix(cells[i])
            self.learn(token)
        return out

    def _count(self, token: int) -> None:
        for order in range(min(ORDERS, len(self.context)) + 1):
            context = self.context[len(self.context) - order :]
            found = self.counts[order].get(context)
            if found is not None:
                found[token] = found.get(token, 0) + 1
            elif self.contexts < MAX_CONTEXTS:
                self.counts[order][context] = {token: 1}
                self.contexts += 1
        self.context = (*self.context, token)[-ORDERS:]

    # Going back

    def state(self) -> tuple[Integers, tuple[int, ...], int]:
        """Return what `restore` needs besides the tokens that are learned from now on."""
        return self.exponents.copy(), self.context, self._learned

    def restore(self, state: tuple[Integers, tuple[int, ...], int], tokens: Sequence[int]) -> None:
        """Go back to a state, after which these tokens were learned, the first of them or all."""
        learned = self._learned
        self.exponents[:], self.context, self._learned = state
        self._mixed = None
        text = (*self.context, *tokens[: learned - self._learned])
        for end in range(len(text) - 1, len(self.context) - 1, -1):
            for order in range(min(ORDERS, end) + 1):
                self._uncount(order, text[end - order : end], text[end])

    def _uncount(self, order: int, context: tuple[int, ...], token: int) -> None:
        found = self.counts[order].get(context)
        if found is None:  # there were too many contexts
            return
        found[token] -= 1
        if not found[token]:
            del found[token]
        if not found:
            del self.counts[order][context]
            self.contexts -= 1
