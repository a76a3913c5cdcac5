"""Scikit-learn estimators over any model of the library that has a likelihood: of densities, and of outliers."""

import tempfile
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ancestral.data import ArraySplit, Data
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import registry
from ancestral.models.base import Model
from ancestral.verbs.background import NOISE, noised
from ancestral.verbs.fit import fit as fit_model
from ancestral.verbs.inputs import auto_batch_size, evaluating
from ancestral.verbs.outlier_scores import p_values, ratio, typicality
from ancestral.verbs.sample import sample as draw
from ancestral.verbs.score import likelihood_of, log_likelihood

FEWEST = 20
"""Rows below which none are held out for validation."""


class DensityEstimator(DensityMixin, BaseEstimator):  # type: ignore[misc]
    """A deep density model as a scikit-learn estimator.

    Args:
        model: registered name of a model for vectors that has a likelihood, such as "made", "rnade" or "maf".
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
        held_out_: the rows of X that were held out, (n_held_out,).

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
        if not (registry.get(self.model).can("log_prob") or callable(getattr(registry.get(self.model), "free_energy", None))):
            raise Unsupported(f"{self.model} has no log_prob, which an estimator of densities needs: take made, or realnvp")
        random = check_random_state(self.random_state)
        seed = int(random.randint(2**31 - 1))
        order = random.permutation(len(table))
        held = int(len(table) * self.validation_fraction) if len(table) >= FEWEST else 0
        self.held_out_ = order[:held]
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
            # In double precision the score of a row does not depend on the rows that it is scored with.
            self.model_: Model = run.model().double()
        self._seed = seed
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the log-density of each row, (n,), in nats, on the scale of X; log-probability for binary columns.

        Of energy models whose partition function is unknown, such as an rbm of many columns, it is up to a constant.
        """
        x = self._rows(X)
        likelihood = likelihood_of(self.model_, relative=True)
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


class OutlierDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Rows that are unusual under a deep density model, by scikit-learn's conventions, with PyOD's attributes.

    As everywhere in scikit-learn, larger scores are more normal: `score_samples`, `decision_function` (negative for outliers)
    and `predict` (-1 for outliers, 1 for inliers). PyOD's attributes have its own sign, larger for outliers.

    Args:
        model: registered name of a model for vectors that has a likelihood, such as "made", "rnade" or "realnvp".
        criterion: what rows are scored by: "likelihood" (log p), "typicality" (minus the distance of log p from its mean over
            rows held out), or "ratio" (to a model like it that is trained on the rows with noise); see `ancestral.outliers`.
        contamination: share of the rows of `fit` that are outliers, in (0, 0.5].
        noise: for the ratio, the share of the entries that are drawn anew.
        event: as all that follow, of `DensityEstimator`.
        options: the model's own options.
        train: training settings.
        epochs: passes over the data.
        batch_size: rows in a step.
        learning_rate: peak learning rate.
        validation_fraction: share of the rows held out to keep the best of the models met in training; `p_values` are
            calibrated on them.
        random_state: seed, generator or None.

    Attributes:
        estimator_: the fitted `DensityEstimator`.
        background_: that of the rows with noise; None but for the ratio.
        offset_: what `decision_function` takes from `score_samples`: their quantile of `contamination` over the rows of `fit`.
        decision_scores_: of the rows of `fit`, (n,), minus `score_samples`: PyOD's.
        threshold_: the score above which a row is an outlier, minus `offset_`: PyOD's.
        labels_: 1 for the outliers among the rows of `fit`, 0 for the others, (n,): PyOD's.
        n_features_in_: number of columns.
        feature_names_in_: their names, where X had some.

    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> detector = OutlierDetector(options={"hidden": (16,)}, epochs=2, random_state=0).fit(X)
    >>> detector.predict(np.array([[9.0, -9.0]])), int(detector.labels_.sum())
    (array([-1]), 20)
    """

    def __init__(
        self,
        model: str = "made",
        *,
        criterion: Literal["likelihood", "typicality", "ratio"] = "likelihood",
        contamination: float = 0.1,
        noise: float = NOISE,
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
        self.criterion = criterion
        self.contamination = contamination
        self.noise = noise
        self.event = event
        self.options = options
        self.train = train
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> "OutlierDetector":
        """Train the model on the rows of X, and put the threshold where `contamination` of them are outliers.

        Args:
            X: (n, d).
            y: ignored; there for pipelines.

        Raises:
            InvalidInput: if the model cannot take the columns, or a setting is out of range.
            Unsupported: if the model has no likelihood.
        """
        table = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if self.criterion not in ("likelihood", "typicality", "ratio"):
            raise InvalidInput(f"criterion is {self.criterion!r}, expected likelihood, typicality or ratio")
        if not 0.0 < self.contamination <= 0.5:
            raise InvalidInput(f"contamination is {self.contamination}, expected a share in (0, 0.5]")
        random = check_random_state(self.random_state)
        self.estimator_ = self._density(int(random.randint(2**31 - 1))).fit(table)
        self.background_: DensityEstimator | None = None
        if self.criterion == "ratio":
            seed = int(random.randint(2**31 - 1))
            event = self.estimator_.event_
            rows = torch.from_numpy(table.astype(np.float32)).to(event.dtype)
            noisy = noised(rows, event, self.noise, torch.Generator().manual_seed(seed)).numpy().astype(table.dtype)
            kind = "binary" if event.is_binary else "real"
            self.background_ = self._density(seed).set_params(event=kind).fit(noisy)
        held = self.estimator_.held_out_
        nats = -torch.from_numpy(self.estimator_.score_samples(table[held] if len(held) else table))
        self._inliers = nats  # those that typicality is measured from: of all rows where none were held out
        normality = self.score_samples(table)
        self._calibration = torch.from_numpy(-normality[held])
        if self.criterion == "typicality":
            self._calibration = typicality(nats, nats)[1]
        self.offset_ = float(np.quantile(normality, self.contamination))
        self.decision_scores_, self.threshold_ = -normality, -self.offset_
        self.labels_ = (normality < self.offset_).astype(int)
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the score of each row, (n,), nats, the larger the more normal."""
        check_is_fitted(self)
        table = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        nats = -torch.from_numpy(self.estimator_.score_samples(table))
        if self.background_ is not None:
            nats = ratio(nats, -torch.from_numpy(self.background_.score_samples(table)))
        elif self.criterion == "typicality":
            nats, _ = typicality(nats, self._inliers)
        return np.asarray(-nats.numpy())

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return `score_samples` minus `offset_`, (n,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return -1 for outliers and 1 for inliers, (n,)."""
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def p_values(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the conformal p-value of each row, (n,), calibrated on the rows that were held out of training.

        Raises:
            InvalidInput: if none were, since X had fewer than 20 rows or validation_fraction is 0.
        """
        scores = -self.score_samples(X)
        if not len(self.estimator_.held_out_):
            raise InvalidInput(
                f"no rows were held out to calibrate p-values with: fit at least {FEWEST} rows, with a validation_fraction"
            )
        return np.asarray(p_values(torch.from_numpy(scores), self._calibration).numpy())

    def _density(self, seed: int) -> DensityEstimator:
        names = ("model", "event", "options", "train", "epochs", "batch_size", "learning_rate", "validation_fraction")
        return DensityEstimator(**{name: getattr(self, name) for name in names}, random_state=seed)
