"""Features of a model of patches: codes at each place worked out by hand, values as in training, and the probe over them."""

import numpy as np
import pytest
import torch

from ancestral.data import ArraySplit, Data
from ancestral.data.patches import contrasted, whiten
from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models import create
from ancestral.verbs.inputs import Subject
from ancestral.verbs.patch_features import pooled_codes, sees_patches
from ancestral.verbs.probe import probe
from tests.models.learning import generator
from tests.verbs.test_latents import Itself


def test_codes_are_averaged_over_quadrants_with_their_signs_apart() -> None:
    """Patches of one pixel whose code is the pixel: the features are the means of the positive and of the negative ones."""
    x = torch.tensor([[[[1.0, -2.0, 3.0, 4.0], [5.0, 6.0, -7.0, 8.0], [0.0, 1.0, 1.0, 1.0], [0.0, -1.0, 2.0, 2.0]]]])
    features = pooled_codes(Subject(Itself(Event.real((1, 1, 1))), "it"), x, stride=1)
    expected = [[12 / 4, 2 / 4, 15 / 4, 7 / 4, 1 / 4, 1 / 4, 6 / 4, 0.0]]
    torch.testing.assert_close(features, torch.tensor(expected))


def test_a_stride_skips_places() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    features = pooled_codes(Subject(Itself(Event.real((1, 2, 2))), "it"), x, stride=2, pools=1)
    corners = torch.stack([x[0, 0, i : i + 2, j : j + 2].flatten() for i in (0, 2) for j in (0, 2)])
    torch.testing.assert_close(features, torch.cat((corners.mean(0), torch.zeros(4)))[None])


def test_patches_get_the_values_of_training() -> None:
    images = torch.randint(0, 256, (3, 1, 8, 8), generator=generator(), dtype=torch.uint8)
    model = Itself(Event.real((1, 8, 8)))
    for values, expected in (
        ("contrast", contrasted(images.numpy())),
        ("whitened", np.stack([whiten(image) for image in images.numpy()])),
    ):
        subject = Subject(model, "it", "digits", {"patches": 8, "patch_values": values})
        features = pooled_codes(subject, images, pools=1)
        told = features[:, :64] - features[:, 64:]
        torch.testing.assert_close(told, torch.from_numpy(expected).float().flatten(1))


def test_who_sees_patches() -> None:
    subject = Subject(Itself(Event.real((1, 4, 4))), "it")
    seen = [
        sees_patches(subject, Event.integers(shape, 256))
        for shape in ((1, 8, 8), (1, 4, 5), (1, 4, 4), (3, 8, 8), (1, 3, 9), (16,))
    ]
    assert seen == [True, True, False, False, False, False]


def test_a_probe_takes_a_model_of_patches() -> None:
    """Stripes that lie or stand, at any place: what a pixel is says nothing, what a patch is says all."""
    splits = {}
    for name, n in (("train", 200), ("test", 100)):
        y = torch.randint(2, (n,), generator=generator(n))
        phase = torch.randint(2, (n, 1, 1), generator=generator(n + 1))
        lying = ((torch.arange(8)[None, :, None] + phase) % 2).expand(n, 8, 8)
        x = torch.where(y.view(-1, 1, 1).bool(), lying, lying.transpose(1, 2)).float()
        splits[name] = ArraySplit(x[:, None] + 0.1 * torch.randn(n, 1, 8, 8, generator=generator(n + 2)), y)
    data = Data("stripes", Event.real((1, 8, 8)), splits, Event.label(2))
    model = create("sparse-coding", Event.real((1, 2, 2)), atoms=4, penalty=0.1)
    with torch.no_grad():
        model.atoms.copy_(torch.tensor([[1, 1, -1, -1], [1, -1, 1, -1], [1, 1, 1, 1], [1, -1, -1, 1]]) / 2)
    found = probe(model, data, (10, 100), stride=1).table.set_index(["features", "labels"])["accuracy"]
    assert found["sparse-coding", 10] == 1.0
    assert found["data", 10] < 0.9


def test_too_few_places_are_a_sentence() -> None:
    with pytest.raises(InvalidInput, match=r"hold 1 x 1 places of it at a stride of 4, expected 2 x 2 at least"):
        pooled_codes(Subject(Itself(Event.real((1, 6, 6))), "it"), torch.zeros(1, 1, 8, 8))
