"""Retrieval: how many of the data whose codes are nearest to a query's share its label, beside other codes of as many bits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ancestral.data import Data
from ancestral.errors import InvalidInput
from ancestral.verbs.codes import first_labelled, open_encoder
from ancestral.verbs.index import codes_of_split, packed, thresholds_of
from ancestral.verbs.inputs import Named, check_counts, check_fit, open_data

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

RADIUS = 2
"""Bits of the ball in which precision is told."""
_QUERIES = 256
_Pairs = tuple[NDArray[Any], NDArray[Any], str]
"""Database and queries, and how far they are from each other: hamming, cosine or euclidean."""


@dataclass(frozen=True)
class Retrieval:
    """Precision and recall by kind of code.

    Args:
        curve: columns codes, retrieved (their number), precision and recall, means over queries.
        summary: columns codes, bits (of a datum), average_precision (mean over queries), standard_error, precision_100 (of the
            first 100), ball_precision (within 2 bits, 0 where nothing is) and ball_empty (the share of queries where nothing
            is); the last two are None where codes are no bits.
        data: name of the data.
        split: the split that the queries are of.
        database: the split that is searched.
        queries: that share their label with a datum of the database.
        size: data of the database.
    """

    curve: "pandas.DataFrame"
    summary: "pandas.DataFrame"
    data: str
    split: str
    database: str
    queries: int
    size: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able values."""
        facts = {name: getattr(self, name) for name in ("data", "split", "database", "queries", "size")}
        tables = {"summary": self.summary, "curve": self.curve}
        rows = {name: t.astype(object).where(t.notna(), None).to_dict("records") for name, t in tables.items()}
        return {**facts, **rows}


def retrieval(
    model: Named,
    data: Data | str | None = None,
    *,
    beside: Sequence[Named] = (),
    by: str = "label",
    split: str = "test",
    database: str = "train",
    threshold: str | None = None,
    baselines: bool = True,
    limit: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Retrieval:
    """Search a database for each datum of a split, and count those found that share its label.

    Data are ranked by the bits of their codes that differ from those of the query; of data that are equally far, any order is
    as likely, and precision and recall are means over these orders. Where labels are vectors of zeros and ones, such as
    topics, data share one where both have a 1. Queries that share a label with no datum of the database are left out.

    Beside it: of documents, the cosine of their TF-IDF, and LSA (its first singular vectors, as many as the code has bits),
    as real numbers, and as bits, 1 above the median over the database; of other data their Euclidean distance and principal
    components.

    Args:
        model: a model with `encode` and without a condition, or its zoo name, run directory or hub repository.
        data: labelled data, their name or path; what the model was trained on where None.
        beside: further such models, for data of the same event.
        by: the column that tells the label.
        split: name of the split that the queries are of.
        database: name of the split that is searched; thresholds and baselines are made from it.
        threshold: own or median; see `ancestral.verbs.index.thresholds_of`.
        baselines: whether to measure what stands beside the models.
        limit: data of each split, the first ones; all where None.
        seed: seed of the singular vectors.
        progress: show a progress bar.

    Raises:
        Unsupported: if a model has no `encode`.
        InvalidInput: if a model has a condition or is for other data, two have one name, or the data have no labels.

    References:
        Semantic Hashing (Salakhutdinov & Hinton, 2009), https://doi.org/10.1016/j.ijar.2008.11.006
        Indexing by Latent Semantic Analysis (Deerwester et al., 1990),
        https://doi.org/10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9
    """
    import pandas

    check_counts(limit=limit)
    subjects = [open_encoder(each) for each in (model, *beside)]
    names = [subject.name for subject in subjects]
    if len(set(names)) < len(names):
        raise InvalidInput(f"codes are told apart by the name of the model, got {', '.join(names)}: name each model once")
    if split == database:
        raise InvalidInput(f"queries and database are both {split!r}, expected two splits: a datum would find itself")
    data = open_data(data, subjects[0], {"condition": by})
    for subject in subjects[1:]:
        check_fit(subject, data)
    if data.condition is None or data.condition.levels is None or len(data.condition.shape) > 1 or data.condition.classes:
        raise InvalidInput(f"retrieval is of data with labels, {data.name} has {data.condition or 'none'}: name a column")
    x, y = first_labelled(data, database, limit)
    queries, truth = first_labelled(data, split, limit)
    shared = _shared(truth, y)
    known = np.asarray(shared.any(1))
    if not known.any():
        raise InvalidInput(f"no datum of {split} shares its label with one of {database}: name other splits")
    kinds: dict[str, tuple[_Pairs, int]] = {}
    for subject in subjects:
        codes, asked = (codes_of_split(subject, data, name, limit, progress) for name in (database, split))
        at = thresholds_of(subject.model, codes, threshold)
        kinds[subject.name] = (packed(codes, at), packed(asked, at), "hamming"), codes.shape[1]
    if baselines:
        bits = next(iter(kinds.values()))[1]
        kinds.update(_baselines(x, queries, bits, data.event.bag is not None, seed))
    curves, rows = [], []
    for name, (pairs, bits) in kinds.items():
        curve, row = _measured(*pairs, shared, known)
        curves.append(curve.assign(codes=name))
        rows.append({"codes": name, "bits": bits, **row})
    columns = ["codes", "retrieved", "precision", "recall"]
    return Retrieval(
        pandas.concat(curves, ignore_index=True)[columns],
        pandas.DataFrame(rows),
        data.name,
        split,
        database,
        int(known.sum()),
        len(x),
    )


def _shared(a: Tensor, b: Tensor) -> NDArray[np.bool_]:
    """Return which data share a label, (a, b)."""
    if a.dim() == 1:
        return (a[:, None] == b).numpy()
    return (a.float() @ b.float().T > 0).numpy()


def _baselines(x: Tensor, queries: Tensor, bits: int, documents: bool, seed: int) -> Iterator[tuple[str, tuple[_Pairs, int]]]:
    """Yield what codes are compared with, and the bits that it takes for each datum."""
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    database, asked = (v.flatten(1).numpy() for v in (x, queries))
    wanted = min(bits, len(database) - 1, database.shape[1] - 1)
    name, how = ("LSA", "cosine") if documents else ("PCA", "euclidean")
    if documents:
        from scipy.sparse import csr_matrix

        weights = TfidfTransformer(sublinear_tf=True).fit(csr_matrix(database))
        plain = [weights.transform(csr_matrix(v)) for v in (database, asked)]
        reduction = TruncatedSVD(wanted, random_state=seed).fit(plain[0])
        yield "TF-IDF", ((plain[0].toarray(), plain[1].toarray(), how), 32 * database.shape[1])
    else:
        plain = [v.astype(np.float32) for v in (database, asked)]
        reduction = PCA(wanted, random_state=seed).fit(plain[0])
        yield "data", ((*plain, how), 8 * database.shape[1])
    z, held = (reduction.transform(v).astype(np.float32) for v in plain)
    yield f"{name}, real", ((z, held, how), 32 * wanted)
    median = np.median(z, axis=0)
    yield f"{name}, bits", ((np.packbits(z > median, axis=1), np.packbits(held > median, axis=1), "hamming"), wanted)


def _distances(database: NDArray[Any], queries: NDArray[Any], how: str) -> NDArray[Any]:
    """Return distances, (queries, database), or what grows with them."""
    if how == "hamming":
        # Of zeros and ones |a - b| is a + b - 2 a b: a product of matrices, whose sums are exact in single precision.
        database, queries = (np.unpackbits(v, axis=1).astype(np.float32) for v in (database, queries))
        return queries.sum(1, keepdims=True) + database.sum(1) - 2.0 * queries @ database.T
    if how == "cosine":
        database, queries = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (database, queries))
        return -(queries @ database.T)
    return (database**2).sum(1) - 2.0 * queries @ database.T


def _measured(
    database: NDArray[Any], queries: NDArray[Any], how: str, shared: NDArray[np.bool_], known: NDArray[np.bool_]
) -> tuple["pandas.DataFrame", dict[str, float | None]]:
    """Return the curve of one kind of code, and its summary."""
    import pandas

    n = len(database)
    ranks = np.unique(np.minimum(2 ** np.arange(n.bit_length() + 1), n))
    precision, recall, averages, hundred, ball = [], [], [], [], []
    rows = np.flatnonzero(known)
    for some in np.array_split(rows, -(-len(rows) // _QUERIES)):
        distances = _distances(database, queries[some], how)
        for distance, relevant in zip(distances, shared[some], strict=True):
            hits, average = ranked(distance, relevant)
            precision.append(hits[ranks - 1] / ranks)
            recall.append(hits[ranks - 1] / relevant.sum())
            averages.append(average)
            hundred.append(hits[min(100, n) - 1] / min(100, n))
            inside = distance <= RADIUS
            ball.append((relevant[inside].mean() if inside.any() else 0.0, not inside.any()))
    curve = pandas.DataFrame({"retrieved": ranks, "precision": np.mean(precision, 0), "recall": np.mean(recall, 0)})
    error = np.std(averages, ddof=1) / np.sqrt(len(averages)) if len(averages) > 1 else None
    in_ball = np.mean(ball, 0) if how == "hamming" else (None, None)
    return curve, {
        "average_precision": float(np.mean(averages)),
        "standard_error": None if error is None else float(error),
        "precision_100": float(np.mean(hundred)),
        "ball_precision": None if in_ball[0] is None else float(in_ball[0]),
        "ball_empty": None if in_ball[1] is None else float(in_ball[1]),
    }


def ranked(distance: NDArray[Any], relevant: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Return how many relevant data are among the first 1, 2, ..., and the average precision, as means over orders of ties.

    Args:
        distance: of each datum, (n,).
        relevant: which data are meant to be found, (n,), one at least.

    Returns:
        Expected numbers, (n,), and the expected mean, over relevant data, of the precision down to each.

    References:
        Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied Scores (McSherry & Najork,
        2008), https://doi.org/10.1007/978-3-540-78646-7_38

    >>> hits, average = ranked(np.array([1, 0, 1]), np.array([True, False, False]))
    >>> hits.tolist(), round(average, 4)  # the one that is meant is second or third
    ([0.0, 0.5, 1.0], 0.4167)
    """
    order = np.argsort(distance, kind="stable")
    sorted_, hit = distance[order], relevant[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, sorted_[1:] != sorted_[:-1]])
    sizes = np.diff(np.r_[starts, len(hit)])
    group = np.repeat(np.arange(len(starts)), sizes)
    of_group = np.add.reduceat(hit, starts)
    before = (np.cumsum(of_group) - of_group)[group]  # relevant data of nearer groups
    place = np.arange(len(hit)) - starts[group]  # from 0, within the group
    share = of_group[group] / sizes[group]
    others = (of_group[group] - 1.0) / np.maximum(sizes[group] - 1.0, 1.0)  # of relevant ones, beside one that is
    average = (share * (before + 1.0 + place * others) / np.arange(1, len(hit) + 1)).sum() / hit.sum()
    return before + share * (place + 1.0), float(average)


def retrieval_plot(found: Retrieval) -> "Figure":
    """Return precision over recall, a line for each kind of code."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, rows in found.curve.groupby("codes", sort=False):
        axes.plot(rows["recall"], rows["precision"], marker="o", markersize=3, label=str(name))
    axes.set(xlabel="recall", ylabel=f"precision ({found.split} split of {found.data})", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    axes.grid(alpha=0.3)
    return figure
