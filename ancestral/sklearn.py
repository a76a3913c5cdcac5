"""A scikit-learn estimator over any model of the library that has a likelihood."""

import tempfile
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import registry
from ancestral.models.base import Model
from ancestral.verbs.fit import fit as fit_model
from ancestral.verbs.inputs import auto_batch_size, evaluating
from ancestral.verbs.sample import sample as draw
from ancestral.verbs.score import likelihood_of, log_likelihood

FEWEST = 20
"""Rows below which none are held out for validation."""


class DensityEstimator(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """A deep density model as a scikit-learn estimator.

    Args:
        model: registered name of a model for vectors that has a likelihood, such as "made", "rnade" or "realnvp".
        event: what the columns are: "real", "binary", or "auto", which is binary where all values are 0 or 1.
        options: the model's own options, such as {"hidden": (100,)}; those that suit a table where None.
        train: training settings beside those below; see `ancestral.TrainConfig`.
        epochs: passes over the data.
        batch_size: rows in a step.
        learning_rate: peak learning rate.
        validation_fraction: share of the rows held out to keep the best of the models met in training; 0 for none.
        random_state: seed, generator or None, as everywhere in scikit-learn: of initial weights, batches and held-out rows.

    Attributes:
        model_: the trained `ancestral.Model`.
        event_: the `ancestral.Event` of a row.
        n_features_in_: number of columns.
        feature_names_in_: their names, where X had some.

    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> estimator = DensityEstimator(options={"hidden": (16,)}, epochs=2, random_state=0).fit(X)
    >>> estimator.score_samples(X).shape, estimator.sample(3).shape
    ((200,), (3, 2))
    """

    def __init__(
        self,
        model: str = "made",
        *,
        event: Literal["auto", "real", "binary"] = "auto",
        options: dict[str, Any] | None = None,
        train: dict[str, Any] | None = None,
        epochs: int = 50,
        batch_size: int = 100,
        learning_rate: float = 3e-3,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.event = event
        self.options = options
        self.train = train
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> "DensityEstimator":
        """Train the model on the rows of X.

        Args:
            X: (n, d).
            y: ignored; there for pipelines.

        Raises:
            InvalidInput: if the model cannot take the columns, or a setting is out of range.
            Unsupported: if the model has no likelihood.
        """
        table = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if not 0.0 <= self.validation_fraction < 1.0:
            raise InvalidInput(f"validation_fraction is {self.validation_fraction}, expected a share in [0, 1)")
        if not registry.get(self.model).can("log_prob"):
            raise Unsupported(f"{self.model} has no log_prob, which an estimator of densities needs: take made, or realnvp")
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        order = random.permutation(len(table))
        held = int(len(table) * self.validation_fraction) if len(table) >= FEWEST else 0
        self.event_ = self._event_of(table[order[held:]])
        x = torch.from_numpy(table.astype(np.float32)).to(self.event_.dtype)
        splits = {"train": ArraySplit(x[order[held:]])}
        if held:
            splits["validation"] = ArraySplit(x[order[:held]])
        options = self.options
        if options is None:
            options = {"hidden": (100, 100), "components": 5} if self.model == "made" else {}
        train = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "evaluate_every": max(1, self.epochs // 10),
            "seed": seed,
            "samples": 0,
            "loggers": (),
            **(self.train or {}),
        }
        with tempfile.TemporaryDirectory() as folder:
            run = fit_model(
                self.model,
                Data("X", self.event_, dict(splits)),
                output=folder,
                model_options=options,
                train=train,
                progress=False,
            )
            self.model_: Model = run.model()
        self._seed = seed
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the log-density of each row, (n,), in nats, on the scale of X; log-probability for binary columns."""
        x = self._rows(X)
        likelihood = likelihood_of(self.model_)
        generator = torch.Generator().manual_seed(self._seed)
        parts = x.split(auto_batch_size(self.event_))
        with evaluating(self.model_):
            values = [log_likelihood(self.model_, part, None, likelihood, generator) for part in parts]
        return np.asarray(torch.cat(values).numpy(), dtype=np.float64)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Return the mean log-density of the rows in nats; the mean, as GaussianMixture gives, and not the sum.

        Args:
            X: (n, d).
            y: ignored; there for pipelines.
        """
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> NDArray[Any]:
        """Return rows drawn from the model, (n_samples, d).

        Args:
            n_samples: number of rows.
            random_state: seed of the draws; that of the estimator where None.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise InvalidInput(f"n_samples is {n_samples!r}, expected a whole number of at least 1")
        chosen = random_state if random_state is not None else self.random_state
        seed = int(check_random_state(chosen).randint(2**31 - 1))
        return np.asarray(draw(self.model_, int(n_samples), seed=seed).numpy())

    def _rows(self, X: ArrayLike) -> torch.Tensor:
        check_is_fitted(self)
        table = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        x = torch.from_numpy(table.astype(np.float32))
        self.event_.check(x, "X")
        return x.to(self.event_.dtype)

    def _event_of(self, table: NDArray[Any]) -> Event:
        """Return the event of the rows: binary, or real and standardized."""
        columns = table.shape[1]
        if self.event not in ("auto", "real", "binary"):
            raise InvalidInput(f"event is {self.event!r}, expected auto, real or binary")
        binary = bool(np.isin(table, (0, 1)).all())
        if self.event == "binary" and not binary:
            raise InvalidInput('event is "binary" and X holds other values than 0 and 1: binarize it, or take event="real"')
        if self.event == "binary" or (self.event == "auto" and binary):
            return Event.binary((columns,))
        loc, scale = table.mean(0), table.std(0)
        # A constant column has no scale; any will do.
        scale = np.where(scale > 1e-6 * np.abs(loc), scale, 1.0)
        return Event.real((columns,), loc.tolist(), np.maximum(scale, 1e-30).tolist())
