import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ancestral.errors import InvalidInput
from ancestral.sklearn import DensityEstimator, OutlierDetector

SMALL = {"hidden": (16,), "components": 2}


@parametrize_with_checks(
    [DensityEstimator(options=SMALL, epochs=2, random_state=0), OutlierDetector(options=SMALL, epochs=2, random_state=0)]
)
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


# Outliers


@pytest.fixture(scope="module", params=["likelihood", "typicality", "ratio"])
def detector(request, correlated):
    _, train, _ = correlated
    options = {"hidden": (32,), "components": 2}
    return OutlierDetector(criterion=request.param, options=options, epochs=20, contamination=0.05, random_state=0).fit(train)


def test_detector_has_the_conventions_of_scikit_learn_and_of_pyod(detector, correlated):
    _, train, test = correlated
    normality = detector.score_samples(train)
    np.testing.assert_allclose(detector.offset_, np.quantile(normality, 0.05))
    np.testing.assert_allclose(detector.decision_function(test), detector.score_samples(test) - detector.offset_)
    assert set(detector.predict(test)) == {-1, 1}
    assert ((detector.decision_function(test) < 0) == (detector.predict(test) == -1)).all()
    np.testing.assert_array_equal(detector.decision_scores_, -normality)
    np.testing.assert_array_equal(detector.labels_, detector.predict(train) == -1)
    np.testing.assert_array_equal(detector.labels_, detector.decision_scores_ > detector.threshold_)
    assert abs(detector.labels_.mean() - 0.05) < 0.002
    again = clone(detector).set_params(epochs=2)
    np.testing.assert_array_equal(again.fit_predict(train[:100]), again.predict(train[:100]))


def test_detector_finds_rows_that_break_the_correlation(correlated):
    law, train, test = correlated
    detector = OutlierDetector(options={"hidden": (32,), "components": 2}, epochs=30, random_state=0).fit(train)
    broken = np.stack((test[:, 0], 2 * train[:, 1].mean() - test[:, 1]), axis=1)  # each column as it was
    x, y = np.concatenate((test, broken)), [0] * 500 + [1] * 500
    assert roc_auc_score(y, -detector.score_samples(x)) > roc_auc_score(y, -law.logpdf(x)) - 0.02 > 0.6
    assert detector.predict([[112.0, -3.8]]) == [-1]


def test_p_values_of_inliers_are_even(detector, correlated):
    _, _, test = correlated
    p = detector.p_values(test)
    assert ((p > 0) & (p <= 1)).all()
    assert abs((p <= 0.2).mean() - 0.2) < 0.15  # 150 rows calibrate
    far = detector.p_values([[1e3, 1e3]])
    assert far[0] == 1 / (len(detector.estimator_.held_out_) + 1) or detector.criterion == "ratio"


def test_held_out_rows_are_told(correlated):
    _, train, _ = correlated
    fitted = DensityEstimator(options=SMALL, epochs=1, random_state=0).fit(train[:100])
    assert len(np.unique(fitted.held_out_)) == 10
    assert len(DensityEstimator(options=SMALL, epochs=1, random_state=0).fit(train[:19]).held_out_) == 0


def test_constant_columns_and_duplicate_rows_have_scores():
    x = np.repeat([[1.0, 5.0], [2.0, 5.0]], 30, axis=0)
    detector = OutlierDetector(options=SMALL, epochs=1, criterion="typicality", random_state=0).fit(x)
    assert np.isfinite(detector.score_samples(x)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"criterion": "complexity"}, "expected likelihood, typicality or ratio"),
        ({"contamination": 0.0}, "share in"),
        ({"criterion": "ratio", "noise": 2.0}, "noise is 2.0"),
        ({"model": "gan", "options": {}}, "log_prob"),
    ],
)
def test_detector_refuses(changes, message):
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises((InvalidInput, TypeError), match=message):
        OutlierDetector(options=changes.pop("options", SMALL), epochs=1, random_state=0).set_params(**changes).fit(x)


def test_p_values_need_rows_that_were_held_out():
    x = np.random.default_rng(0).normal(size=(15, 2))
    detector = OutlierDetector(options=SMALL, epochs=1, random_state=0).fit(x)
    with pytest.raises(InvalidInput, match="fit at least 20 rows"):
        detector.p_values(x)
    with pytest.raises(ValueError, match="infinity"):
        detector.predict([[np.inf, 0.0]])


def test_an_energy_gives_scores_up_to_a_constant():
    """Rows of one machine, whose true log-probability is a constant away from what the estimator gives."""
    rng = np.random.default_rng(0)
    half = rng.integers(0, 2, (400, 12))
    X = np.concatenate([half, half], axis=1).astype(np.float32)  # 24 columns, each there twice
    estimator = DensityEstimator(
        "rbm", options={"hidden": 30, "gibbs_steps": 50}, epochs=100, learning_rate=0.02, random_state=0
    ).fit(X)
    assert estimator.model_.likelihood.kind == "none"
    scores = estimator.score_samples(X)
    assert scores == pytest.approx(-estimator.model_.free_energy(torch.tensor(X)).detach().numpy())
    noise = rng.integers(0, 2, (400, 24)).astype(np.float32)
    assert roc_auc_score(np.repeat((1, 0), 400), np.r_[scores, estimator.score_samples(noise)]) > 0.9
    detector = OutlierDetector("rbm", options={"hidden": 30}, epochs=100, learning_rate=0.02, random_state=0).fit(X)
    assert (detector.predict(noise) == -1).mean() > 0.6
    assert set(np.unique(estimator.sample(5, random_state=1))) <= {0, 1}
