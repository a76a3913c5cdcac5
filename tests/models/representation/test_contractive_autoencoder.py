"""Contractive autoencoder: the norm of the Jacobian against autograd, worked out by hand, and what its weight does."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.event import Event
from ancestral.models.representation.contractive_autoencoder import ContractiveAutoencoder
from tests.models.learning import generator, learn, moved


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
@pytest.mark.parametrize("hidden", [(4,), (5, 3), (4, 6, 2)])
def test_the_norm_is_that_of_the_jacobian_by_autograd(hidden: tuple[int, ...], activation: str) -> None:
    model = moved(ContractiveAutoencoder(Event.real((3,)), hidden=hidden, activation=activation))
    x = torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda v: model.encode(v[None])[0], row) for row in x])
    torch.testing.assert_close(model.contraction_of(x), jacobians.square().sum((1, 2)))
    with torch.no_grad():
        torch.testing.assert_close(model.measures(x)["contraction"], jacobians.square().sum((1, 2)))


def test_the_gradient_of_the_norm_is_that_of_finite_differences() -> None:
    model = moved(ContractiveAutoencoder(Event.real((3,)), hidden=(4, 2)))
    x = torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    for name, p in model.named_parameters():
        if "biases" in name:
            continue  # of the decoder
        (gradient,) = torch.autograd.grad(model.contraction_of(x).sum(), p)
        for index in [(0,) * p.dim(), (1,) * p.dim()]:
            values = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    p[index] += step
                    values.append(float(model.contraction_of(x).sum()))
                    p[index] -= step
            assert float(gradient[index]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6, abs=1e-9)


def test_one_sigmoid_worked_out_by_hand() -> None:
    """With w = (3, 4), b = 0 at x = 0: h = 1/2, s' = 1/4, and the norm is 1/16 (9 + 16)."""
    model = ContractiveAutoencoder(Event.real((2,)), hidden=(1,))
    with torch.no_grad():
        model.network.layers[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
        model.network.layers[0].bias.zero_()
    assert model.contraction_of(torch.zeros(1, 2)).item() == pytest.approx(25.0 / 16.0)


def test_a_larger_weight_makes_flatter_codes() -> None:
    x = torch.randn(500, 6, generator=generator()) * torch.tensor([3.0, 2.0, 1.0, 0.3, 0.3, 0.3])
    norms = []
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        model = learn(ContractiveAutoencoder(Event.real((6,)), hidden=(8,), contraction=weight), x, steps=300, rate=1e-2)
        with torch.no_grad():
            norms.append(float(model.measures(x)["contraction"].mean()))
    assert norms[1] < 0.5 * norms[0]


def test_the_loss_is_the_error_and_the_weighted_norm() -> None:
    model = moved(ContractiveAutoencoder(Event.binary((5,)), hidden=(4,), contraction=0.3))
    x = torch.randint(0, 2, (6, 5), generator=generator())
    measured, loss = model.measures(x), model.loss(x)
    torch.testing.assert_close(loss["loss"], measured["objective"].mean())
    torch.testing.assert_close(loss["penalty"], 0.3 * measured["contraction"].mean())


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"contraction is -0.1, expected a weight of at least 0"):
        ContractiveAutoencoder(Event.binary((4,)), contraction=-0.1)
