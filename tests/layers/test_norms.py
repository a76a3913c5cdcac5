"""Layers that standardize: statistics of the first batch that are kept, and those of each batch."""

import pytest
import torch

from ancestral.layers.norms import ActNorm, BatchNorm


@pytest.mark.parametrize("shape", [(3,), (3, 4, 5)])
def test_first_training_batch_leaves_standardized(shape: tuple[int, ...]) -> None:
    layer = ActNorm(3, len(shape) - 1)
    x = torch.randn(200, *shape) * 4.0 + 1000.0
    y, _ = layer(x)
    channels = y.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(3), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(channels.std(1), torch.ones(3), atol=1e-2, rtol=0.0)


def test_later_batches_and_evaluation_do_not_initialize() -> None:
    layer = ActNorm(2)
    x = torch.randn(20, 2) + 5.0
    layer.eval()
    assert torch.equal(layer(x)[0], x)
    layer.train()
    layer(x)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer(x * 10.0)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_loaded_layer_is_not_initialized_again() -> None:
    layer, other = ActNorm(2), ActNorm(2)
    layer(torch.randn(20, 2) + 5.0)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(20, 2) - 7.0
    assert torch.equal(other.train()(x)[0], layer(x)[0])


def test_loading_an_uninitialized_state_initializes_on_the_next_batch() -> None:
    layer = ActNorm(2)
    fresh = {name: value.clone() for name, value in layer.state_dict().items()}
    layer(torch.randn(20, 2))
    layer.load_state_dict(fresh)
    y, _ = layer(torch.randn(50, 2) + 3.0)
    torch.testing.assert_close(y.mean(0), torch.zeros(2), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_constant_channel_keeps_its_scale(value: float) -> None:
    layer = ActNorm(2)
    x = torch.stack((torch.full((64,), value), torch.randn(64)), dim=1)
    y, log_det = layer(x)
    assert bool(torch.isfinite(y).all())
    assert float(y[:, 0].detach().abs().max()) < 1e-2
    torch.testing.assert_close(log_det[0], -torch.log(x[:, 1].std(correction=0)), atol=1e-4, rtol=0.0)


# BatchNorm


def test_each_training_batch_leaves_standardized_scaled_and_shifted() -> None:
    layer = BatchNorm(3)
    with torch.no_grad():
        layer.log_scale.fill_(0.5)
        layer.shift.fill_(2.0)
    for scale in (1.0, 4.0):
        y, _ = layer(torch.randn(200, 3) * scale + 10.0 * scale)
        torch.testing.assert_close(y.mean(0), torch.full((3,), 2.0), atol=1e-4, rtol=0.0)
        torch.testing.assert_close(y.std(0, correction=0), torch.full((3,), 0.5).exp(), atol=1e-3, rtol=0.0)


def test_running_means_are_those_of_torch() -> None:
    layer, reference = BatchNorm(3), torch.nn.BatchNorm1d(3)
    for _ in range(5):
        x = torch.randn(50, 3) * 2.0 + 1.0
        torch.testing.assert_close(layer(x)[0], reference(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.mean, reference.running_mean)
    # torch's running variance is of samples, divided by n - 1.
    torch.testing.assert_close(layer.variance - 0.9**5, (reference.running_var - 0.9**5) * 49 / 50)


def test_evaluated_it_is_one_map_for_any_batch() -> None:
    layer = BatchNorm(3).double()
    layer(torch.randn(50, 3, dtype=torch.float64) * 2.0 + 1.0)
    with torch.no_grad():
        layer.log_scale += 0.3
        layer.shift += 0.2
    layer.eval()
    x = torch.randn(4, 3, dtype=torch.float64)
    y, log_det = layer(x)
    torch.testing.assert_close(layer(x[:1])[0], y[:1])
    torch.testing.assert_close(layer.inverse(y), x, rtol=1e-10, atol=1e-10)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0][0], x[0])
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-10, atol=1e-10)


def test_a_training_batch_of_one_uses_the_running_means() -> None:
    layer = BatchNorm(2)
    layer(torch.randn(50, 2) + 5.0)
    before = layer.mean.clone()
    y, log_det = layer(torch.tensor([[3.0, 4.0]]))
    assert torch.equal(layer.mean, before)
    assert torch.equal(y, layer.eval()(torch.tensor([[3.0, 4.0]]))[0])
    assert bool(torch.isfinite(log_det).all())
