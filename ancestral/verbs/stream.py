"""Scores of data that arrive entry by entry: the log-likelihood so far, from the model's steps."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.state import State
from ancestral.verbs.inputs import Named, evaluating, open_model
from ancestral.verbs.sample import Condition, conditions_for


def stream_log_prob(model: Named, values: Iterable[float], condition: Condition = None) -> Iterator[float]:
    r"""Yield log p of the entries so far as they arrive: sum over s <= t of log p(x_{o(s)} | x_{o(<s)}, c).

    Entries come in the model's order o, `model.order`: for images row by row, pixel by pixel, and in a pixel channel by
    channel; for other data the first entry first, unless the model was made with another order. One step of the model is
    taken for each value, before the next is asked for. After the last entry the figure is the datum's `log_prob`.

    Args:
        model: an autoregressive model, or its zoo name, run directory or hub repository.
        values: values of one datum's entries, on the event's scale; at most `event.numel`.
        condition: as in `sample`.

    Yields:
        Nats, after each value. The figure is exact; of a mixture it is the mixture's.

    Raises:
        Unsupported: if the model is not autoregressive, or a mixture over orders.
        InvalidInput: if a value is not in the event's support, or comes after the last entry.

    >>> from ancestral.event import Event
    >>> from ancestral.models import create
    >>> coins = create("fvsbn", Event.binary((3,)))
    >>> len(list(stream_log_prob(coins, [1, 0])))
    2
    """
    batch = (torch.as_tensor(value).reshape(1) for value in values)
    return (float(total) for total in stream_log_probs(model, batch, condition))


def stream_log_probs(model: Named, values: Iterable[Tensor], condition: Condition = None) -> Iterator[Tensor]:
    """Yield log p of the entries so far of several data, which arrive together; see `stream_log_prob`.

    Args:
        model: an autoregressive model, or its zoo name, run directory or hub repository.
        values: one entry's values for all data, (batch,) each, in the model's order, on the event's scale.
        condition: as in `sample`.

    Yields:
        (batch,), nats, in float64, on the CPU, after each entry.

    Raises:
        Unsupported: if the model is not autoregressive, or a mixture over orders.
        InvalidInput: if a value is not in the event's support, or comes after the last entry.
    """
    opened = open_model(model).model
    if not isinstance(opened, AutoregressiveModel):
        raise Unsupported(
            f"a {opened.name} scores a datum whole; streams need an autoregressive model, such as made or gated-pixelcnn"
        )
    order = common_order(opened)
    return _stream(
        opened, order.tolist(), values, condition
    )  # what is wrong with the model is said now, not at the first value


def common_order(model: AutoregressiveModel) -> Tensor:
    """Return the order in which all members of a mixture, or the one model, take the entries, (numel,).

    Raises:
        Unsupported: if the members have different orders.
    """
    order = model.member_order(0).cpu()
    if any(not torch.equal(model.member_order(k).cpu(), order) for k in range(1, model.members)):
        raise Unsupported(
            f"this {model.name} is a mixture over {model.members} orders of the entries: there is no one order in which its"
            " log-probability is a sum over entries; take `log_prob` of whole data, or a model of one order"
        )
    return order


def _stream(model: AutoregressiveModel, order: list[int], values: Iterable[Tensor], condition: Condition) -> Iterator[Tensor]:
    kinds = [model.event.entry(column) for column in range(len(model.event.columns or (None,)))]
    dtype = torch.promote_types(model.dtype, torch.float32)
    states: list[State] = []
    totals, previous = torch.zeros(0), None
    for t, value in enumerate(values):
        if t == len(order):
            raise InvalidInput(f"got more values than a datum's {len(order)} entries ({model.event}): start another stream")
        kinds[order[t] % len(kinds)].check(value, f"value {t}")
        if not states:
            given = conditions_for(model, len(value), condition)
            given = None if given is None else given.to(model.device)
            states = [model.init_state(len(value), given, member=k) for k in range(model.members)]
            totals = torch.zeros(model.members, len(value), dtype=torch.float64, device=model.device)
        if value.shape != totals.shape[1:]:
            raise InvalidInput(f"value {t} is of {len(value)} data, the first was of {totals.shape[1]}: give one for each")
        value = value.to(model.device, dtype)
        # The mode and the gradients are the caller's own between values.
        with evaluating(model):
            log_p = [model.value_log_prob(order[t], model.step(state, previous), value) for state in states]
            totals += torch.stack(log_p)
            total = totals.logsumexp(0) - math.log(model.members)
        previous = value
        yield total.cpu()
