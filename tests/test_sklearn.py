import pickle

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ancestral.errors import InvalidInput
from ancestral.sklearn import DensityEstimator

SMALL = {"hidden": (16,), "components": 2}


@parametrize_with_checks([DensityEstimator(options=SMALL, epochs=2, random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def correlated():
    rng = np.random.default_rng(0)
    mean, covariance = np.array([100.0, -3.0]), np.array([[4.0, 0.15], [0.15, 0.01]])
    law = stats.multivariate_normal(mean, covariance)
    return law, rng.multivariate_normal(mean, covariance, size=1500), rng.multivariate_normal(mean, covariance, size=500)


@pytest.fixture(scope="module")
def fitted(correlated):
    _, train, _ = correlated
    return DensityEstimator(options={"hidden": (32,), "components": 2}, epochs=30, random_state=0).fit(train)


def test_log_density_is_on_the_scale_of_the_data(fitted, correlated):
    law, _, test = correlated
    assert abs(fitted.score(test) - law.logpdf(test).mean()) < 0.1
    assert fitted.score_samples(test).shape == (500,)
    assert np.corrcoef(fitted.score_samples(test), law.logpdf(test))[0, 1] > 0.95


def test_score_is_the_mean_as_that_of_a_gaussian_mixture(fitted, correlated):
    _, train, test = correlated
    assert fitted.score(test) == pytest.approx(fitted.score_samples(test).mean())
    assert fitted.score(test) == pytest.approx(GaussianMixture(1).fit(train).score(test), abs=0.1)


def test_density_integrates_to_one(fitted):
    a, b = np.linspace(88, 112, 241), np.linspace(-3.8, -2.2, 241)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    total = np.exp(fitted.score_samples(grid)).sum() * (a[1] - a[0]) * (b[1] - b[0])
    assert total == pytest.approx(1.0, abs=0.02)


def test_samples_come_from_the_fitted_density(fitted, correlated):
    _, train, _ = correlated
    drawn = fitted.sample(3000, random_state=1)
    assert drawn.shape == (3000, 2)
    np.testing.assert_allclose(drawn.mean(0), train.mean(0), atol=0.2)
    np.testing.assert_allclose(drawn.std(0), train.std(0), rtol=0.15)
    assert np.array_equal(drawn, fitted.sample(3000, random_state=1))
    assert not np.array_equal(drawn, fitted.sample(3000, random_state=2))


def test_the_same_seed_gives_the_same_model(correlated):
    _, train, test = correlated
    first, second, other = (
        DensityEstimator(options=SMALL, epochs=2, random_state=seed).fit(train[:200]).score_samples(test) for seed in (3, 3, 4)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_pickled_and_cloned(fitted, correlated):
    _, _, test = correlated
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.score_samples(test), fitted.score_samples(test))
    assert clone(fitted).get_params() == fitted.get_params()


def test_binary_columns_are_found_and_give_probabilities():
    rng = np.random.default_rng(0)
    x = (rng.random((400, 4)) < [0.1, 0.5, 0.9, 0.5]).astype(float)
    estimator = DensityEstimator("fvsbn", options={}, epochs=20, learning_rate=0.03, random_state=0).fit(x)
    assert estimator.event_.is_binary
    states = np.array(list(np.ndindex(2, 2, 2, 2)), dtype=float)
    assert np.exp(estimator.score_samples(states)).sum() == pytest.approx(1.0, abs=1e-5)
    assert set(np.unique(estimator.sample(50))) <= {0, 1}
    assert not DensityEstimator(options=SMALL, event="real", epochs=1, random_state=0).fit(x).event_.is_binary
    with pytest.raises(InvalidInput, match="expected integers"):
        estimator.score_samples(states + 0.5)


def test_in_a_pipeline_and_in_cross_validation(correlated):
    _, train, _ = correlated
    pipeline = make_pipeline(StandardScaler(), DensityEstimator(options=SMALL, epochs=3, random_state=0))
    scores = cross_val_score(pipeline, train[:300], cv=2)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"event": "boolean"}, "auto, real or binary"),
        ({"event": "binary"}, "other values than 0 and 1"),
        ({"validation_fraction": 1.0}, "share in"),
        ({"model": "maed"}, "Did you mean made"),
        ({"model": "gan", "options": {}}, "log_prob"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_refused(changes, message):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises((InvalidInput, TypeError), match=message):
        DensityEstimator(options=changes.pop("options", SMALL), random_state=0).set_params(**changes).fit(x)
