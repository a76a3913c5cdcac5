import json

import numpy as np
import pytest
import torch

from ancestral.errors import InvalidInput, Unsupported
from ancestral.models import create
from ancestral.verbs.compare import compare
from tests.verbs.test_evaluate import binary_data


@pytest.fixture
def data():
    return binary_data(condition=2)


def noisy(name, data, scale, condition=None, **options):
    model = create(name, data.event, condition, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def test_differences_are_paired_and_best_is_first(data):
    good, bad = noisy("fvsbn", data, 0.0), noisy("fvsbn", data, 1.0)
    result = compare([bad, good], data)
    x = data.splits["test"].x
    difference = (good.log_prob(x) - bad.log_prob(x)).detach().double().numpy()
    first, second = result.to_json()["models"]
    assert first["nats"] < second["nats"]
    assert first["difference"] == 0.0
    assert first["difference_standard_error"] is None
    assert second["difference"] == pytest.approx(difference.mean(), rel=1e-5)
    assert second["difference_standard_error"] == pytest.approx(difference.std(ddof=1) / np.sqrt(50), rel=1e-5)
    assert result.count == 50
    assert not first["note"]
    assert not second["note"]
    json.dumps(result.to_json())


def test_what_is_not_on_a_par_is_marked(data):
    models = [
        noisy("fvsbn", data, 0.0),
        noisy("vae", data, 1.0, latent=2, hidden=(4,)),
        noisy("fvsbn", data, 1.0, data.condition),
    ]
    rows = {row["model"] + row["note"]: row for row in compare(models, data, samples=3).to_json()["models"]}
    assert "vaelower bound beside exact" in rows
    assert rows["vaelower bound beside exact"]["kind"] == "lower bound (3 samples)"
    assert "fvsbnp(x | condition) beside p(x)" in rows


def test_refused(data):
    model = create("fvsbn", data.event)
    with pytest.raises(InvalidInput, match="got 1 model to compare"):
        compare([model], data)
    with pytest.raises(InvalidInput, match="model of 5 binary data"):
        compare([model, create("fvsbn", binary_data(d=5).event)], data)
    with pytest.raises(Unsupported, match="no log_prob"):
        compare([model, create("gan", data.event)], data)


def test_conditional_and_free_runs_on_the_data_of_the_first(digits_run, conditional_run):
    result = compare([digits_run, conditional_run])
    assert result.data == "digits"
    assert set(result.table["model"]) == {str(digits_run), str(conditional_run)}
