"""Denoising autoencoder: what the corruptions do, tied weights, and the optimum of the linear case."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.representation.denoising_autoencoder import DenoisingAutoencoder
from tests.models.learning import learn


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_masking_puts_entries_to_the_lowest_level() -> None:
    for event, lowest in ((Event.binary((1000,)), 0.0), (Event.integers((1000,), 5), -1.0), (Event.real((1000,)), 0.0)):
        model = DenoisingAutoencoder(event, hidden=(2,), amount=0.3)
        y = torch.full((20, 1000), 0.7)
        corrupted = model.corrupt(y, generator())
        assert set(corrupted.unique().tolist()) == {lowest, y[0, 0].item()}
        assert float((corrupted != y).float().mean()) == pytest.approx(0.3, abs=0.01)


def test_salt_and_pepper_puts_entries_to_either_end() -> None:
    model = DenoisingAutoencoder(Event.integers((1000,), 5), hidden=(2,), corruption="salt-and-pepper", amount=0.4)
    corrupted = model.corrupt(torch.full((20, 1000), 0.5), generator())
    for value in (-1.0, 1.0):
        assert float((corrupted == value).float().mean()) == pytest.approx(0.2, abs=0.01)


def test_gaussian_noise_has_the_deviation_asked_for() -> None:
    model = DenoisingAutoencoder(Event.real((1000,)), hidden=(2,), corruption="gaussian", amount=0.25)
    noise = model.corrupt(torch.ones(20, 1000), generator()) - 1.0
    assert float(noise.std()) == pytest.approx(0.25, abs=0.01)
    assert abs(float(noise.mean())) < 0.01


def test_tied_weights_are_one_tensor_and_untied_ones_start_equal() -> None:
    event = Event.real((6,))
    torch.manual_seed(1)
    tied = DenoisingAutoencoder(event, hidden=(4, 2))
    torch.manual_seed(1)
    untied = DenoisingAutoencoder(event, hidden=(4, 2), tied=False)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (tied, untied)]
    assert sizes == [6 * 4 + 4 * 2 + (4 + 2) + (4 + 6), 2 * (6 * 4 + 4 * 2) + (4 + 2) + (4 + 6)]
    x = torch.randn(5, 6)
    torch.testing.assert_close(tied.decode(tied.encode(x)), untied.decode(untied.encode(x)))


def test_linear_case_reaches_its_optimum() -> None:
    """With data of rank 2 and variances l in 2 codes, the least error is the sum of l s^2 / (l + s^2)."""
    z = torch.randn(4000, 2, generator=generator()) * torch.tensor([2.0, 1.0])
    directions = torch.linalg.qr(torch.randn(5, 2, generator=generator(1)))[0]
    x = z @ directions.T + 3.0
    model = DenoisingAutoencoder(
        Event.real((5,), loc=[3.0] * 5), hidden=(2,), activation="identity", corruption="gaussian", amount=0.7, tied=False
    )
    learn(model, x, steps=600, rate=2e-2)
    with torch.no_grad():
        error = float(model.measures(x, generator=generator(2))["reconstruction"].mean())
    variance = 0.7**2
    least = 4.0 * variance / (4.0 + variance) + 1.0 * variance / (1.0 + variance)
    assert error == pytest.approx(least, rel=0.06)


def test_undoes_the_corruption_of_patterns() -> None:
    patterns = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]], dtype=torch.uint8)
    x = patterns[torch.randint(0, 2, (400,), generator=generator())]
    model = DenoisingAutoencoder(Event.binary((8,)), hidden=(16,), amount=0.5)
    with torch.no_grad():
        before = float(model.measures(x, generator=generator())["reconstruction"].mean())
    learn(model, x, steps=300, rate=2e-2)
    with torch.no_grad():
        after = float(model.measures(x, generator=generator())["reconstruction"].mean())
    assert after < 1.0 < before
    half = torch.tensor([[1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1]], dtype=torch.uint8)
    assert torch.equal(model.decode(model.encode(half)), patterns)


def test_error_of_binary_data_is_the_cross_entropy() -> None:
    model = DenoisingAutoencoder(Event.binary((6,)), hidden=(3,), amount=0.0).double()
    x = torch.randint(0, 2, (4, 6))
    p = torch.sigmoid(torch.nn.functional.linear(model.encode(x), model.network.layers[0].weight.T, model.network.biases[0]))
    expected = -torch.where(x == 1, p.log(), (1.0 - p).log()).sum(1)
    torch.testing.assert_close(model.measures(x)["reconstruction"], expected)


def test_bad_options_are_refused() -> None:
    event = Event.binary((4,))
    for options, match in (
        ({"hidden": ()}, "hidden is empty"),
        ({"corruption": "blur"}, "no corruption 'blur'"),
        ({"amount": 1.0}, "amount of masking is 1.0"),
        ({"corruption": "gaussian", "amount": -1.0}, "amount of gaussian is -1.0"),
    ):
        with pytest.raises(InvalidInput, match=match):
            DenoisingAutoencoder(event, **options)
    with pytest.raises(InvalidInput, match="lowest and a highest level"):
        DenoisingAutoencoder(Event.real((4,)), corruption="salt-and-pepper")
