"""Labels for some data only: what models that learn from few labels are conditioned on."""

from torch import Tensor

from ancestral.errors import InvalidInput
from ancestral.event import Event


def classes_of(condition: Event | None, name: str) -> int:
    """Return the number of classes of a condition (class, whether it is known), which `labelled=n` makes of labels.

    Args:
        condition: labels of K classes and of 2.
        name: of the model, for the message.

    Raises:
        InvalidInput: if it is anything else, saying how to load such data.

    >>> classes_of(Event.labels((10, 2)), "a model")
    10
    """
    if condition is None or condition.classes is None or len(condition.classes) != 2 or condition.classes[1] != 2:
        raise InvalidInput(
            f"{name} takes a class and whether it is known (labels of K and 2 classes), got {condition or 'none'}:"
            " load the data with condition=label and labelled=100 (--data.condition label --data.labelled 100)"
        )
    return condition.classes[0]


def split_labels(condition: Tensor) -> tuple[Tensor, Tensor]:
    """Return classes, (n,), and which of them are known, (n,), of conditions, (n, 2)."""
    return condition[:, 0].long(), condition[:, 1] > 0
