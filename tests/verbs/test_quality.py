import json
import math

import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs import features as feature_module
from ancestral.verbs.features import FeatureNetwork, features_of
from ancestral.verbs.quality import compare_features, fid, inception_score, kid, precision_recall, quality


@pytest.fixture
def few_steps(monkeypatch, tmp_path):
    """Feature networks that are trained for a moment, and kept in a test's own cache."""
    monkeypatch.setattr(feature_module, "STEPS", 60)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def normal(n, mean, covariance, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.linalg.cholesky(torch.tensor(covariance, dtype=torch.float64))
    return torch.tensor(mean) + torch.randn(n, len(mean), dtype=torch.float64, generator=generator) @ root.T


# Figures against closed forms


def test_fid_of_gaussians_is_the_closed_form():
    # Covariances that commute: tr(C + C' - 2 (C C')^(1/2)) is the sum of squared differences of the roots of eigenvalues.
    one, other = (
        normal(200_000, [0.0, 0.0], [[4.0, 0.0], [0.0, 1.0]]),
        normal(200_000, [1.0, 2.0], [[1.0, 0.0], [0.0, 9.0]], 1),
    )
    assert fid(one, other) == pytest.approx(5.0 + (2 - 1) ** 2 + (1 - 3) ** 2, rel=0.01)
    # Covariances that do not commute, by eigenvalues of the product: C = diag(4, 1), C' = [[2, 1], [1, 2]].
    other = normal(200_000, [0.0, 0.0], [[2.0, 1.0], [1.0, 2.0]], 2)
    product = torch.tensor([[8.0, 4.0], [1.0, 2.0]], dtype=torch.float64)
    closed = 5.0 + 4.0 - 2.0 * float(torch.linalg.eigvals(product).real.sqrt().sum())
    assert fid(one, other) == pytest.approx(closed, rel=0.02)
    assert fid(one, one) == pytest.approx(0.0, abs=1e-6)


def test_kid_is_the_difference_of_kernel_means():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(4000, 1, dtype=torch.float64, generator=generator)
    other = torch.randn(4000, 1, dtype=torch.float64, generator=generator) + 0.5
    # (x y + 1)^3 = sum_k C(3, k) (x y)^k: the sum of C(3, k) times the squared difference of the k-th moments.
    moments = [(0.0, 0.5), (1.0, 1.25), (0.0, 0.5**3 + 3 * 0.5)]
    closed = sum(c * (a - b) ** 2 for c, (a, b) in zip((3, 3, 1), moments, strict=True))
    value, error = kid(one, other)
    assert abs(value - closed) < 4 * error
    assert error < 0.5 * closed
    same, error = kid(one, torch.randn(4000, 1, dtype=torch.float64, generator=generator))
    assert abs(same) < 4 * error


def test_the_inception_score_of_even_and_sure_classes_is_their_number_and_of_one_class_is_one():
    sure = 1000.0 * torch.eye(5).repeat(2000, 1)
    assert inception_score(sure)[0] == pytest.approx(5.0, rel=0.01)
    assert inception_score(torch.zeros(100, 5))[0] == pytest.approx(1.0)
    assert inception_score(sure[:1].expand(100, 5))[0] == pytest.approx(1.0)


def test_precision_and_recall_by_hand():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 5, generator=generator)
    assert precision_recall(x, x) == (1.0, 1.0)
    assert precision_recall(x, x + 1000.0) == (0.0, 0.0)
    # Two far clusters, of which samples have one: all of them are right, half of the data is covered.
    both = torch.cat((x[:150], x[150:] + 1000.0))
    precision, recall = precision_recall(both, x[:150] + 1e-4)
    assert precision == 1.0
    assert recall == 0.5
    # On a line at 0, 1, 2, 4, 8 the second neighbours are 2, 1, 2, 3 and 6 away.
    line = torch.tensor([0.0, 1.0, 2.0, 4.0, 8.0])[:, None]
    points = torch.tensor([-2.0, -2.1, 7.0, 14.0, 14.1])[:, None]
    assert precision_recall(line, points, k=2)[0] == pytest.approx(3 / 5)


def test_torchmetrics_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    first = kid(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(40, 3), seed=3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(5)
    assert kid(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(40, 3), seed=3) == first


# Features


def test_features_of_labelled_data_are_a_classifier_that_is_kept(few_steps, monkeypatch):
    found = features_of(load("digits"))
    assert found.name == "digits-classifier"
    assert found.accuracy > 0.5
    x, labels = load("digits", condition="label").split("test").batch(torch.arange(300))
    assert float((found.told(x)[:, 0] == labels).float().mean()) == pytest.approx(found.accuracy)
    assert found(x).shape == (300, FeatureNetwork.num_features)

    def fail(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(feature_module, "train", fail)
    again = features_of(load("digits", condition="label"))
    assert again.sha256 == found.sha256
    assert torch.equal(again(x), found(x))


def test_training_is_the_same_to_the_bit_whatever_was_drawn_before(few_steps):
    data = load("digits", condition="label")
    x, labels = data.split("train").batch(torch.arange(200))
    networks = [FeatureNetwork(data.event, (10,)) for _ in range(2)]
    for network in networks:
        torch.rand(3)
        feature_module.train(network, x, labels.long()[:, None])
    for one, other in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(one, other)


def test_data_without_labels_are_their_own_features(few_steps):
    ring = load("ring")
    found = features_of(ring)
    assert (found.name, found.network, found.accuracy) == ("the data themselves", None, None)
    x, _ = ring.split("test").batch(torch.arange(5))
    assert torch.equal(found(x), ring.event.to_network(x))
    with pytest.raises(InvalidInput, match="tell no labels"):
        found.told(x)
    with pytest.raises(InvalidInput, match=r"ring has no column 'label'"):
        features_of(ring, by=("label",))


def test_labels_of_several_columns_have_a_head_each(few_steps):
    found = features_of(load("shapes", limit=400), by=("shape", "scale"))
    assert found.network.classes == (3, 4)
    x, _ = load("shapes").split("test").batch(torch.arange(7))
    assert found.told(x).shape == (7, 2)
    figures = compare_features(found(x), found(x), found(x), found)
    assert [figure.name.split(",")[0] for figure in figures] == ["FID", "KID", "inception score", "precision", "recall"]
    assert all(figure.name.endswith(", features of shapes-classifier") for figure in figures)


# The verb


@pytest.mark.parametrize(
    ("name", "options"),
    [("gan", {"latent": 2, "hidden": (8,)}), ("vae", {"latent": 2, "hidden": (8,)}), ("gated-pixelcnn", {"channels": 4})],
)
def test_samples_of_any_model_are_compared_with_a_baseline(few_steps, name, options):
    data = load("digits")
    model = create(name, data.event, **options)
    found = quality(model, data, n=40)
    assert (found.count, found.split, found.features) == (40, "test", "digits-classifier")
    assert found.event == "1x8x8 17 levels (4.09 bits)"
    for figure in found.figures:
        assert math.isfinite(figure.value)
        assert figure.name.endswith(", features of digits-classifier")
        # Weights of a model that was not trained: training data are nearer to held-out data.
        if figure.name.startswith(("FID", "KID")):
            assert figure.value > figure.baseline
    assert "no figures on Inception features" in found.about()


def test_conditional_samples_are_drawn_for_the_conditions_of_the_split(few_steps):
    data = load("digits", condition="label")
    model = create("gan", data.event, data.condition, latent=2, hidden=(8,))
    seen = []
    draw = model.sample
    model.sample = lambda n, condition=None, **options: (seen.append(condition), draw(n, condition, **options))[1]
    quality(model, data, n=300)
    _, labels = data.split("test").batch(torch.arange(300))
    assert torch.equal(torch.bincount(torch.cat(seen).long()), torch.bincount(labels))


def test_labels_as_asked_are_counted(few_steps):
    data = load("digits", condition="label")
    x, labels = data.split("train").batch(torch.arange(1297))
    by_digit = torch.stack([x[labels == digit][0] for digit in range(10)])
    model = create("gan", data.event, data.condition, latent=2, hidden=(8,))
    model.sample = lambda n, condition=None, *, generator=None: by_digit[condition.long()]
    features = features_of(data)
    known = features.right(by_digit, torch.arange(10))[:, 0]
    found = quality(model, data, n=300)
    asked = found.figures[-1]
    assert asked.name == "labels as asked, told by digits-classifier (baseline: held-out data)"
    _, truth = data.split("test").batch(torch.arange(300))
    assert asked.value == pytest.approx(float(known[truth.long()].double().mean()))
    assert asked.baseline == pytest.approx(features.accuracy)
    model.sample = lambda n, condition=None, *, generator=None: by_digit[(condition.long() + 1) % 10]
    assert quality(model, data, n=300).figures[-1].value < 0.3


def test_each_of_several_labels_as_asked_is_counted(few_steps):
    data = load("shapes", condition=["shape", "scale"], limit=400)
    x, labels = data.split("test").batch(torch.arange(40))
    model = create("gan", data.event, data.condition, latent=2, hidden=(8,))

    def drawn(n, condition=None, *, generator=None):
        same = (labels[None, :, 0] == condition[:, None, 0]).float()  # the shape that was asked for, whatever the scale
        return x[same.argmax(1)]

    model.sample = drawn
    figures = {f.name.split(",")[0]: f for f in quality(model, data, n=40, by=("shape", "scale")).figures}
    both, shape, scale = (figures[f"{name} as asked"] for name in ("labels", "shape", "scale"))
    assert both.value <= min(shape.value, scale.value)
    assert both.baseline <= min(shape.baseline, scale.baseline)
    assert shape.standard_error == pytest.approx(math.sqrt(shape.value * (1.0 - shape.value) / 40))


def test_counts_are_those_of_the_smallest_split(few_steps):
    model = create("gan", load("ring").event, latent=2, hidden=(8,))
    found = quality(model, load("ring", limit=50), n=1000)
    assert found.count == 50
    assert found.figures[0].name == "FID, features of the data themselves"
    assert [figure.name.split(",")[0] for figure in found.figures] == ["FID", "KID", "precision", "recall"]


def test_bad_input(few_steps):
    model = create("gan", load("ring").event, latent=2, hidden=(8,))
    with pytest.raises(InvalidInput, match=r"got 3 data, expected at least 8"):
        quality(model, load("ring"), n=3)
    with pytest.raises(InvalidInput, match=r"the ring has no split|ring has no split 'tset'"):
        quality(model, load("ring"), split="tset")
    text = create("lstm-lm", Event.integers((4,), 5, ("time",)))
    data = load(torch.randint(5, (30, 4)).numpy(), event=Event.integers((4,), 5, ("time",)))
    with pytest.raises(InvalidInput, match=r"features are of images and vectors"):
        quality(text, data)
    silent = create("denoising-autoencoder", load("digits").event)
    if not silent.can("sample"):
        with pytest.raises(Unsupported, match="has no sample"):
            quality(silent, load("digits"), n=40)


def test_command(few_steps, tmp_path, capsys):
    folder = tmp_path / "run"
    argv = ["fit", "vae", "digits", "--model.hidden", "8", "--model.latent", "2", "--train.steps", "2", "-o", str(folder)]
    assert main([*argv, "--train.samples", "0", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["quality", str(folder), "-n", "50", "--split", "validation", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["count"], found["split"], found["features"]) == (50, "validation", "digits-classifier")
    assert main(["quality", str(folder), "-n", "50"]) == 0
    out = capsys.readouterr().out
    assert "not resized" in out
    assert "FID, features of digits-classifier" in out
