"""Outliers: which data are unusual under a model, by several scores, each with a p-value that held-out inliers calibrate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data import ArraySplit, Data, catalogue
from ancestral.data.base import Split, Subset
from ancestral.errors import InvalidInput
from ancestral.likelihood import Likelihood
from ancestral.verbs.background import NOISE, fit_background
from ancestral.verbs.inputs import Named, Subject, batches, check_fit, open_data, open_model
from ancestral.verbs.outlier_scores import SCORES, auroc, code_bits, combined, p_values, ratio, typicality
from ancestral.verbs.pictures import captioned_grid, save_image
from ancestral.verbs.score import RELATIVE, Bounded, likelihood_of, scores

if TYPE_CHECKING:
    import pandas

Inputs = Data | str | Tensor | NDArray[Any]
"""What data can be given as: loaded data, their name or path, or an array (n, *event.shape)."""
CALIBRATION = "validation"
"""The split that calibrates where none is named: held out of training, though the best of the weights were chosen by it."""
SHOWN = 16
"""Most and least unusual data that a picture shows, of each at most."""


@dataclass(frozen=True)
class Outliers:
    """Data by how unusual they are.

    Args:
        table: a row for each datum, the most unusual first: index (in its split), file where it has one, each score (nats; of
            complexity bits), with several scores the p-value of each (likelihood_p ...), then p_value and outlier, whether
            that is at most the contamination.
        model: name of the model.
        data: name of the data.
        split: the split that was read.
        kind: what the likelihoods are.
        contamination: the level at which data are called outliers.
        calibration: name and split of the inliers that calibrated the p-values.
        inliers: how many they are.
        background: name of the background model, where there is one.
        auroc: of each score, and of the p-value ("all") where there are several: the probability that one of `against` has
            the larger score than one of the data, and its standard error; empty where there is nothing to tell apart.
        against: name of the data that are outliers.
    """

    table: "pandas.DataFrame"
    model: str
    data: str
    split: str
    kind: str
    contamination: float
    calibration: str
    inliers: int
    background: str | None = None
    auroc: dict[str, tuple[float, float]] = field(default_factory=dict)
    against: str | None = None

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores."""
        return tuple(name for name in SCORES if name in self.table)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-able values; scores that are not finite are None."""
        finite = self.table.astype(object).where(~self.table.isin([math.inf, -math.inf]), None)
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "table"}
        areas = {name: {"auroc": a, "standard_error": e} for name, (a, e) in self.auroc.items()}
        return {**facts, "auroc": areas, "count": len(self.table), "outliers": finite.to_dict("records")}


def outliers(
    model: Named,
    data: Inputs | None = None,
    split: str | None = None,
    *,
    score: str = "likelihood",
    background: Named | None = None,
    contamination: float = 0.05,
    against: Inputs | None = None,
    calibration: Inputs | None = None,
    calibration_split: str | None = None,
    calibration_limit: int | None = None,
    noise: float = NOISE,
    names: Sequence[str] | None = None,
    samples: int | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Outliers:
    r"""Score how unusual each datum is, with a p-value that data held out of training calibrate.

    Each score is the larger, the more unusual a datum x is:

    - likelihood: -log p(x), nats;
    - typicality: |-log p(x) - mean of the inliers|, nats (Nalisnick et al., 2019);
    - ratio: -log p(x) + log p_background(x), nats (Ren et al., 2019);
    - complexity: -log2 p(x) - bits that a general codec takes for x (Serrà et al., 2020), for data of whole numbers;
    - all: each of these that there is, of which the p-values are combined (`ancestral.verbs.outlier_scores.combined`).

    p = (1 + #{inliers with such a score or a larger one}) / (1 + inliers). A datum that is drawn as the inliers are is called
    an outlier with a probability of at most `contamination`: of many inliers that are looked at, about so many are.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        data: data, their name or path, or an array, (n, *event.shape); what the model was trained on where None.
        split: name of the split; where None "test", or all data of a source that has no splits.
        score: one of `SCORES`, or "all".
        background: for the ratio: a model of the same data, as `model`; "noise" trains one with `fit_background`, and leaves
            its run directory to be given next time.
        contamination: the level of p at which data are called outliers: the share of inliers that are called so by mistake.
        against: data that are known to be outliers, for the AUROC: their test split, or all of a source without splits.
        calibration: inliers; what the model was trained on where None.
        calibration_split: name of their split, on which the model was not trained; where None "validation", or all data of a
            source that has no splits.
        calibration_limit: inliers used, drawn at random; all where None.
        noise: share of the entries that "noise" draws anew.
        names: of the data, such as files, for the table.
        samples: samples per datum, for models whose likelihood is a bound or an estimate.
        batch_size: examples in a batch; a size that fits in memory where None.
        limit: data used, the first ones, of `data` and of `against`; all where None.
        seed: seed of everything random.
        progress: show progress bars.

    Returns:
        The data with their scores and p-values, the most unusual first.

    Raises:
        Unsupported: if the model has no likelihood, or a score is not for such data.
        InvalidInput: if data, background or calibration do not fit, or there are too few inliers for such a contamination.

    >>> from ancestral import Event
    >>> from ancestral.models import create
    >>> model = create("fvsbn", Event.binary((4,)))
    >>> found = outliers(model, torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1]]), calibration=torch.zeros(30, 4))
    >>> found.table.columns.tolist(), found.inliers
    (['index', 'likelihood', 'p_value', 'outlier'], 30)
    """
    import pandas

    if not 0.0 < contamination < 1.0:
        raise InvalidInput(f"contamination is {contamination}, expected a share in (0, 1), such as 0.05")
    subject = open_model(model)
    wanted = _wanted(score, subject, background)
    kinds = [_kind(subject, samples)]
    of, split = open_part(data, subject, split)
    part = of.split(split)
    if names is not None and len(names) != len(part):
        raise InvalidInput(f"got {len(names)} names for {len(part)} data: give one for each")
    others = None if against is None else open_part(against, subject, name="the outliers")
    inliers, where = _inliers(calibration, calibration_split, of, subject)
    if where == _called(of, split):
        raise InvalidInput(f"data and inliers are both {where}: score another split, or name other inliers with calibration=")
    if calibration_limit is not None and calibration_limit < len(inliers):  # rows may be in the order of their classes
        drawn = torch.randperm(len(inliers), generator=torch.Generator().manual_seed(seed))
        inliers = Subset(inliers, drawn[:calibration_limit])
    need = max(2, math.ceil(round(1.0 / contamination, 9)) - 1)
    if len(inliers) < need:
        raise InvalidInput(
            f"{len(inliers)} inliers ({where}) give no p-value below 1/{len(inliers) + 1}, contamination is {contamination}:"
            f" give at least {need} with calibration=, or raise it"
        )
    subjects = [subject]
    if "ratio" in wanted and background is not None:
        subjects.append(_background(background, subject, noise, progress=progress))
        check_fit(subjects[1], of)
        kinds.append(_kind(subjects[1], samples if isinstance(subjects[1].model, Bounded) else None))
        if kinds[0].kind != kinds[1].kind:
            raise InvalidInput(
                f"figures of {subject.name} are of kind {kinds[0].kind}, of {subjects[1].name} of kind {kinds[1].kind}, and"
                " their ratio is of neither: take a background model of the same kind"
            )

    def measure(split: Split, limit: int | None = None) -> _Figures:
        options: dict[str, Any] = {"batch_size": batch_size, "limit": limit, "seed": seed}
        parts = [scores(s.model, split, kind, progress=progress, **options) for s, kind in zip(subjects, kinds, strict=True)]
        nats = [-torch.cat([value for _, value in pieces]) for pieces in parts]
        coded = batches(split, subject.model, **options) if "complexity" in wanted else ()
        bits = [code_bits(x, subject.model.event) for _, x, _ in coded]
        return _Figures(nats[0], nats[1] if len(nats) > 1 else None, torch.cat(bits) if bits else None)

    held, here = measure(inliers), measure(part, limit)
    scored = {name: here.scored(name, held) for name in wanted}
    p = torch.stack([p_values(*pair) for pair in scored.values()])
    columns: dict[str, Any] = {"index": range(len(here.nats))}
    columns.update({} if names is None else {"file": list(names)[: len(here.nats)]})
    columns.update({name: value.numpy() for name, (value, _) in scored.items()})
    columns.update({f"{name}_p": row.numpy() for name, row in zip(wanted, p, strict=True)} if len(wanted) > 1 else {})
    columns["p_value"] = combined(p).numpy()
    columns["outlier"] = columns["p_value"] <= contamination
    table = pandas.DataFrame(columns).sort_values(["p_value", wanted[0]], ascending=[True, False], kind="stable")
    areas = {}
    if others is not None:
        beyond = measure(others[0].split(others[1]), limit)
        there = {name: beyond.scored(name, held) for name in wanted}
        areas = {name: auroc(scored[name][0], there[name][0]) for name in wanted}
        if len(wanted) > 1:
            areas["all"] = auroc(-combined(p), -combined(torch.stack([p_values(*pair) for pair in there.values()])))
    return Outliers(
        table=table.reset_index(drop=True),
        model=subject.name,
        data=of.name,
        split=split,
        kind=str(kinds[0]),
        contamination=contamination,
        calibration=where,
        inliers=len(inliers),
        background=None if len(subjects) < 2 else subjects[1].name,
        auroc=areas,
        against=None if others is None else others[0].name,
    )


@dataclass(frozen=True)
class _Figures:
    """What scores are made of: -log p under the model and its background, nats, and bits of a codec, each (n,)."""

    nats: Tensor
    background: Tensor | None
    bits: Tensor | None

    def scored(self, name: str, inliers: "_Figures") -> tuple[Tensor, Tensor]:
        """Return a score of these data and of the inliers."""
        if name == "typicality":
            return typicality(self.nats, inliers.nats)
        return self._score(name), inliers._score(name)

    def _score(self, name: str) -> Tensor:
        if name == "ratio" and self.background is not None:
            return ratio(self.nats, self.background)
        if name == "complexity" and self.bits is not None:
            return self.nats / math.log(2.0) - self.bits
        return self.nats


def open_part(
    data: Inputs | None,
    subject: Subject,
    split: str | None = None,
    options: dict[str, Any] | None = None,
    *,
    usual: str = "test",
    name: str = "the data",
) -> tuple[Data, str]:
    """Return data that a model can score, and the name of the split that is meant.

    Args:
        data: data, their name or path, an array, or None for what the model was trained on.
        subject: the model.
        split: name of the split; where None the usual one, or "train" with all data of a source that has no splits.
        options: how to load them, as `ancestral.data.load` takes them.
        usual: the split that is meant where none is named.
        name: what an array is called.

    Raises:
        InvalidInput: if there are no such data, or the model is for another event.
    """
    if data is not None and not isinstance(data, Data | str):
        x = torch.as_tensor(data)
        event = subject.model.event
        event.check(x, name)
        made = Data(name, event, {usual: ArraySplit(x.to(event.dtype))})
        check_fit(subject, made)
        return made, usual
    opened = open_data(data, subject, options)
    own = not isinstance(data, str) or data == subject.data or catalogue.find(data) is not None
    carved = set(opened.record.get("held_out") or {})
    if split is None and not own and carved == {"validation", "test"} and not {"validation", "test"} & (options or {}).keys():
        return open_data(data, subject, {**(options or {}), "validation": 0, "test": 0}), "train"
    return opened, split or usual


def draw_outliers(found: Outliers, data: Data, path: Path | str) -> None:
    """Draw the most unusual data and below them the least, with their p-values, and write the picture.

    Args:
        found: from `outliers`.
        data: what was scored.
        path: the file.

    Raises:
        InvalidInput: if the data are no images.
    """
    if not data.event.is_image:
        raise InvalidInput(f"a picture is of images, {data.name} are {data.event}: write a table")
    n = len(found.table)
    k = min(SHOWN, max(1, n // 2))
    rows = [*range(min(k, n)), *range(max(k, n - k), n)]
    chosen = torch.tensor(found.table["index"].to_numpy()[rows])
    x, _ = data.split(found.split).batch(chosen, torch.Generator().manual_seed(0))
    captions = [f"p {found.table['p_value'][i]:.3g}" for i in rows]
    save_image(captioned_grid(x, data.event, captions, columns=min(k, SHOWN // 2)), path)


def _wanted(score: str, subject: Subject, background: Named | None) -> list[str]:
    """Return the scores that are asked for."""
    if score not in (*SCORES, "all"):
        raise InvalidInput(f"there is no score {score!r}, expected one of {', '.join(SCORES)}, or all")
    if score == "ratio" and background is None:
        raise InvalidInput('the score ratio needs background=, a model or "noise", for which one is trained: name it')
    if score != "all":
        return [score]
    absent = set() if background is not None else {"ratio"}
    return [name for name in SCORES if name not in absent | (set() if subject.model.event.discrete else {"complexity"})]


def _kind(subject: Subject, samples: int | None) -> Likelihood:
    """Return what the likelihoods of a model are, or raise where it has none."""
    likelihood = likelihood_of(subject.model, samples, relative=True)
    if likelihood == RELATIVE:
        return likelihood  # ranks and p-values are by differences, in which the constant has no part
    if not subject.model.can("log_prob") or likelihood.kind == "none":
        subject.model.log_prob(torch.zeros(1, *subject.model.event.shape))  # raises, and says which models have one
    return likelihood


def _inliers(given: Inputs | None, split: str | None, data: Data, subject: Subject) -> tuple[Split, str]:
    """Return the inliers that calibrate, and what they are called."""
    opened, chosen = data, split or CALIBRATION  # what a model that is no run was trained on is not recorded
    if given is not None or subject.data is not None:
        opened, chosen = open_part(given, subject, split, usual=CALIBRATION, name="the inliers")
    if chosen not in opened.splits:
        raise InvalidInput(f"{opened.name} has no split {chosen!r} to calibrate with: name inliers with calibration=")
    return opened.splits[chosen], _called(opened, chosen)


def _called(data: Data, split: str) -> str:
    return f"{data.name}, {split} split"


def _background(background: Named, subject: Subject, noise: float, *, progress: bool) -> Subject:
    """Return the background model, trained here where it is noise that was asked for."""
    if isinstance(background, str) and background == "noise":
        background = fit_background(subject, noise=noise, progress=progress).path
    return open_model(background, str(subject.model.device))
