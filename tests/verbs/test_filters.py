import numpy as np
import pytest
import torch
from PIL import Image

from ancestral.cli.main import main
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.store import save
from ancestral.verbs.filters import draw_filters, filters


def test_filters_are_scaled_one_by_one():
    model = create("rbm", Event.binary((1, 2, 2)), hidden=3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -4.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [8.0, 0.0, 0.0, 0.0]]))
    found = filters(model)
    assert found[0].flatten().tolist() == [0.25, -1.0, 0.0, 0.5]
    assert not bool(found[1].any())
    assert float(found[2].max()) == 1.0
    assert filters(model, 2, first=True).shape == (2, 1, 2, 2)
    picked = [filters(model, 2, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(picked[0], picked[1])
    assert not all(torch.equal(picked[0], other) for other in picked[2:])


def test_the_command_draws_zero_as_grey(tmp_path, capsys):
    model = create("rbm", Event.binary((1, 4, 4)), hidden=4)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[:, 0] = 1.0
        model.weight[:, 1] = -1.0
    save(model, tmp_path / "m")
    assert main(["filters", str(tmp_path / "m"), "-o", str(tmp_path / "f.png")]) == 0
    assert "wrote 4 filters" in capsys.readouterr().err
    values = set(np.unique(np.asarray(Image.open(tmp_path / "f.png"))).tolist())
    assert values == {0, 128, 255}


def test_models_without_are_refused(tmp_path):
    with pytest.raises(Unsupported, match=r"fvsbn has no filters\. Models that have: .*rbm"):
        filters(create("fvsbn", Event.binary((4,))))
    model = create("rbm", Event.binary((4,)), hidden=3)
    with pytest.raises(InvalidInput, match="a picture is of filters of images"):
        draw_filters(filters(model), model.event, tmp_path / "f.png")
