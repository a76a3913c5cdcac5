"""What latents are for: reconstruct, interpolate, the plane of two latents, sums of groups, and one latent at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ancestral.data import Data
from ancestral.errors import InvalidInput, near_matches
from ancestral.layers.mlp import check_choice
from ancestral.verbs.codes import HOWS, Values, as_data, between, code_length, codes_of, decoded, encoded, open_coder
from ancestral.verbs.inputs import Named, auto_batch_size, check_counts, open_data
from ancestral.verbs.sample import Condition, conditions_for

CODES = 1000
"""Data whose codes are looked at where no number is given."""


@dataclass(frozen=True)
class Plane:
    """The decoded plane of two latents.

    Args:
        x: (side, side, *event.shape): the second axis upwards, the first to the right.
        axes: what the axes are.
    """

    x: Tensor
    axes: str


@dataclass(frozen=True)
class Group:
    """Data of one class, and what the mean of their codes is decoded to.

    Args:
        sign: 1 where the mean is added, -1 where it is taken away.
        name: of the class.
        count: data of it.
        x: the decoded mean, (*event.shape,).
    """

    sign: int
    name: str
    count: int
    x: Tensor


@dataclass(frozen=True)
class Sum:
    """A sum of mean codes.

    Args:
        x: what it is decoded to, (*event.shape,).
        code: the sum, (code,).
        groups: its terms.
    """

    x: Tensor
    code: Tensor
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Traversal:
    """Data decoded as one latent at a time is changed.

    Args:
        x: (rows, steps, *event.shape).
        latents: the latent that each row changes.
        values: of it, (rows, steps).
    """

    x: Tensor
    latents: tuple[int, ...]
    values: Tensor


def reconstruct(model: Named, x: Values, condition: Condition = None) -> Tensor:
    """Return decode(encode(x)): what is left of data once they are codes.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        x: data, (batch, *event.shape), or one datum, (*event.shape,).
        condition: for conditional models: one for all, one for each, or "all".

    Returns:
        (batch, *event.shape), on the CPU.

    Raises:
        Unsupported: if the model has no codes.
        InvalidInput: if data or condition do not fit the model.

    >>> from ancestral import Event
    >>> from ancestral.models import create
    >>> reconstruct(create("vae", Event.binary((6,)), latent=2, hidden=(4,)), torch.zeros(3, 6)).shape
    torch.Size([3, 6])
    """
    coder = open_coder(model).model
    x = as_data(coder, x, "x")
    given = conditions_for(coder, len(x), condition)
    return decoded(coder, encoded(coder, x, given), given)


def interpolate(
    model: Named, a: Values, b: Values, steps: int = 8, *, how: str = "linear", condition: Condition = None
) -> Tensor:
    r"""Return what is decoded on the way from the code of one datum to that of another.

    Linear: (1 - t) z_a + t z_b. Spherical, at an angle w between the codes: (sin((1 - t) w) z_a + sin(t w) z_b) / sin w, which
    keeps to the shell where a Gaussian of many dimensions has its mass.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        a: where the ways begin, (batch, *event.shape) or (*event.shape,).
        b: where they end, as many.
        steps: data on each way, both ends included.
        how: linear or spherical.
        condition: for conditional models, as in `reconstruct`: encodes both ends and decodes the way.

    Returns:
        (batch, steps, *event.shape), on the CPU.

    Raises:
        Unsupported: if the model has no codes.
        InvalidInput: if the data do not fit the model or each other, or there are fewer than two steps.

    References:
        Sampling Generative Networks (White, 2016), https://arxiv.org/abs/1609.04468, for the spherical way.

    >>> from ancestral import Event
    >>> from ancestral.models import create
    >>> flow = create("realnvp", Event.real((2,)), couplings=2, hidden=(8,))
    >>> way = interpolate(flow, torch.zeros(2), torch.ones(2), steps=3)
    >>> way.shape, torch.allclose(way[0, -1], torch.ones(2), atol=1e-4)
    (torch.Size([1, 3, 2]), True)
    """
    coder = open_coder(model).model
    check_choice("way", how, HOWS)
    if steps < 2:
        raise InvalidInput(f"steps is {steps}, expected at least 2: both ends are among them")
    a, b = as_data(coder, a, "a"), as_data(coder, b, "b")
    if len(a) != len(b):
        raise InvalidInput(f"got {len(a)} data to begin with and {len(b)} to end with: give as many")
    given = conditions_for(coder, len(a), condition)
    t = torch.linspace(0.0, 1.0, steps, dtype=coder.dtype)[:, None]
    ways = torch.stack([between(p, q, t, how) for p, q in zip(*(encoded(coder, x, given) for x in (a, b)), strict=True)])
    repeated = None if given is None else given.repeat_interleave(steps, 0)
    return decoded(coder, ways.flatten(0, 1), repeated).view(-1, steps, *coder.event.shape)


def manifold(
    model: Named,
    side: int = 20,
    *,
    data: Data | str | None = None,
    split: str = "test",
    limit: int = CODES,
    condition: Condition = None,
    seed: int = 0,
) -> Plane:
    r"""Return the decoded plane of two latents, at equal steps of probability under a Gaussian.

    Codes of two entries whose prior is N(0, I), as those of a VAE or a flow: z = (F^-1(u), F^-1(v)), with u and v at
    (i + 1/2) / side and F the distribution function of N(0, 1). Other codes: z = mean + F^-1(u) s_1 e_1 + F^-1(v) s_2 e_2,
    e_1 and e_2 the first two principal axes of the codes of data, and s_1 and s_2 the standard deviations along them.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        side: data along each axis.
        data: data whose codes are looked at, their name or path; what the model was trained on where None.
        split: name of their split.
        limit: codes that are looked at, of data drawn at random.
        condition: for conditional models: what all is decoded for.
        seed: seed of the draw.

    Raises:
        Unsupported: if the model has no codes.
        InvalidInput: if codes have fewer than two entries, or there are too few data.

    References:
        Auto-Encoding Variational Bayes (Kingma & Welling, 2014), https://arxiv.org/abs/1312.6114, for the plane.

    >>> from ancestral import Event
    >>> from ancestral.models import create
    >>> plane = manifold(create("vae", Event.binary((6,)), latent=2, hidden=(4,)), side=3)
    >>> plane.x.shape, plane.axes
    (torch.Size([3, 3, 6]), 'latents 0 and 1, at quantiles of N(0, 1)')
    """
    check_counts(side=side, limit=limit)
    subject = open_coder(model)
    coder = subject.model
    given = conditions_for(coder, 1, condition)
    u = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side)
    grid = torch.stack((u.repeat(side), u.flip(0).repeat_interleave(side)), dim=1)  # the second axis upwards, (side^2, 2)
    length = code_length(coder)
    if length < 2:
        raise InvalidInput(f"codes of {subject.name} have one entry, and no plane: see `traverse`")
    if length == 2 and coder.family in ("latent", "flow"):
        code, axes = grid, "latents 0 and 1, at quantiles of N(0, 1)"
    else:
        codes = codes_of(subject, data, split, limit, seed).double()
        if len(codes) < 3:
            raise InvalidInput(f"got {len(codes)} codes, expected at least 3 for two principal axes: give more data")
        mean = codes.mean(0)
        _, singular, axis = torch.linalg.svd(codes - mean, full_matrices=False)
        spread = singular[:2] / (len(codes) - 1) ** 0.5
        code = mean + (grid * spread) @ axis[:2]
        share = float(singular[:2].square().sum() / singular.square().sum().clamp(min=1e-300))
        axes = f"the first two principal axes of {len(codes)} codes of {length} entries ({share:.0%} of their variance)"
    repeated = None if given is None else given.expand(len(code), *given.shape[1:])
    return Plane(decoded(coder, code, repeated).view(side, side, *coder.event.shape), axes)


def arithmetic(
    model: Named,
    plus: Sequence[int | str],
    minus: Sequence[int | str] = (),
    *,
    data: Data | str | None = None,
    by: str = "label",
    split: str = "train",
    limit: int | None = None,
) -> Sum:
    """Return what a sum of the mean codes of classes of data is decoded to: a - b + c.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        plus: classes that are added, by number or name.
        minus: classes that are taken away.
        data: labelled data, their name or path; what the model was trained on where None.
        by: the column that tells their class; a conditional model's own column is taken in any case.
        split: name of their split.
        limit: data that are looked at, the first ones; all where None.

    Returns:
        The sum with its terms. A conditional model decodes a group for its class, the sum for the first class of `plus`.

    Raises:
        Unsupported: if the model has no codes.
        InvalidInput: if the data have no labels, there is no such class, or no datum of it.

    References:
        Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford, Metz & Chintala,
        2016), https://arxiv.org/abs/1511.06434. There of the noise that three chosen samples were drawn from.
    """
    check_counts(limit=limit)
    subject = open_coder(model)
    coder = subject.model
    if not plus:
        raise InvalidInput("got no class to add, expected at least one: give plus=")
    data = open_data(data, subject, {} if coder.condition is not None else {"condition": by})
    if data.condition is None or data.condition.levels is None or data.condition.shape != ():
        raise InvalidInput(
            f"groups are of data with one label each, {data.name} has {data.condition or 'none'}: name its column"
        )
    names = [str(name) for name in data.record.get("classes") or range(data.condition.levels)]
    terms = [(sign, _class(group, names)) for sign, groups in ((1, plus), (-1, minus)) for group in groups]
    part = data.split(split)
    wanted = sorted({label for _, label in terms})
    sums = {label: torch.zeros(code_length(coder), dtype=torch.float64) for label in wanted}
    counts = dict.fromkeys(wanted, 0)
    for indices in torch.arange(min(len(part), limit or len(part))).split(auto_batch_size(coder.event)):
        x, y = part.batch(indices, torch.Generator().manual_seed(0))
        if y is None:
            raise InvalidInput(f"the split {split!r} of {data.name} has no labels: name another")
        for label in wanted:
            rows = torch.nonzero(y == label)[:, 0]
            if len(rows):
                sums[label] += encoded(coder, x[rows], y[rows] if coder.condition is not None else None).double().sum(0)
                counts[label] += len(rows)
    empty = [names[label] for label in wanted if counts[label] == 0]
    if empty:
        raise InvalidInput(f"{data.name} has no datum of class {', '.join(empty)} in its {split} split: choose other groups")
    means = {label: sums[label] / counts[label] for label in wanted}
    total = torch.stack([sign * means[label] for sign, label in terms]).sum(0)
    labels = torch.tensor([*(label for _, label in terms), terms[0][1]], dtype=data.condition.dtype)
    x = decoded(
        coder, torch.stack([*(means[label] for _, label in terms), total]), labels if coder.condition is not None else None
    )
    groups = [Group(sign, names[label], counts[label], x[i]) for i, (sign, label) in enumerate(terms)]
    return Sum(x[-1], total.to(coder.dtype), tuple(groups))


def traverse(
    model: Named,
    latent: int | None = None,
    *,
    data: Data | str | None = None,
    split: str = "test",
    count: int = 8,
    steps: int = 9,
    width: float = 3.0,
    limit: int = CODES,
    seed: int = 0,
) -> Traversal:
    """Return data decoded as one latent at a time goes from `width` standard deviations below its mean to as many above.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        latent: the latent, from 0: a row for each of the first data. Where None, a row for each of the latents that vary most
            over the data, for the first datum.
        data: data, their name or path; what the model was trained on where None.
        split: name of their split.
        count: rows.
        steps: data in a row.
        width: standard deviations, over the codes of the data, on each side of their mean.
        limit: codes that mean and deviation are of, of data drawn at random.
        seed: seed of the draw.

    Raises:
        Unsupported: if the model has no codes.
        InvalidInput: if there is no such latent, or data or sizes do not fit.
    """
    check_counts(count=count, steps=steps, limit=limit)
    if not width > 0.0:
        raise InvalidInput(f"width is {width}, expected a positive number of standard deviations, such as 3")
    subject = open_coder(model)
    coder = subject.model
    opened = open_data(data, subject)
    codes = codes_of(subject, opened, split, limit, seed).double()
    length = codes.shape[1]
    if latent is not None and not 0 <= latent < length:
        raise InvalidInput(f"there is no latent {latent}, expected 0 to {length - 1}")
    x, given = opened.split(split).batch(torch.arange(min(count if latent is not None else 1, len(opened.split(split)))))
    given = given if coder.condition is not None else None
    starts = encoded(coder, x, given).double()
    mean, spread = codes.mean(0), codes.std(0, correction=0)
    chosen = [latent] * len(starts) if latent is not None else spread.argsort(descending=True)[:count].tolist()
    starts = starts.expand(len(chosen), length)
    steps_of = torch.linspace(-width, width, steps, dtype=torch.float64)
    values = torch.stack([mean[k] + steps_of * spread[k] for k in chosen])  # (rows, steps)
    moved = starts[:, None].repeat(1, steps, 1)  # (rows, steps, code)
    for row, k in enumerate(chosen):
        moved[row, :, k] = values[row]
    if given is not None:
        given = given.expand(len(chosen), *given.shape[1:]).repeat_interleave(steps, 0)
    shown = decoded(coder, moved.flatten(0, 1), given).view(len(chosen), steps, *coder.event.shape)
    return Traversal(shown, tuple(chosen), values)


def _class(group: int | str, names: list[str]) -> int:
    """Return the number of a class, given that or its name."""
    if str(group) in names:
        return names.index(str(group))
    if str(group).isdecimal() and int(group) < len(names):
        return int(group)
    raise InvalidInput(f"there is no class {group!r}.{near_matches(str(group), names)} There are: {', '.join(names[:20])}")
