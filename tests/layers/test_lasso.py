"""The batched lasso: worked out by hand, against scikit-learn, its gap as a bound, and what a row costs others."""

import pytest
import torch
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import Lasso

from ancestral.errors import InvalidInput
from ancestral.layers.lasso import duality_gap, lasso
from tests.models.learning import generator


def problem(
    batch: int = 20, atoms: int = 30, entries: int = 12, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(batch, entries, generator=generator(), dtype=dtype)
    dictionary = torch.randn(atoms, entries, generator=generator(1), dtype=dtype)
    return 2.0 * x, dictionary / dictionary.norm(dim=1, keepdim=True)


def test_orthonormal_atoms_shrink() -> None:
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator(), dtype=torch.float64))[0]
    z = torch.tensor([[3.0, -2.0, 0.5, -0.1, 1.0, 0.0]], dtype=torch.float64)
    found = lasso(z @ rotation, rotation, 0.8, tolerance=1e-12).z
    expected = torch.tensor([[2.2, -1.2, 0.0, 0.0, 0.2, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0.0)


def test_two_correlated_atoms_worked_out_by_hand() -> None:
    """Atoms (1, 0) and (0.6, 0.8), x = (2, 2), penalty 0.5, both active: G z = D x - 0.5, G = [[1, .6], [.6, 1]]."""
    dictionary = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    x = torch.tensor([[2.0, 2.0]], dtype=torch.float64)
    # D x = (2, 2.8), so z = (1.5 - 0.6 * 2.3, 2.3 - 0.6 * 1.5) / 0.64 = (0.1875, 2.1875).
    found = lasso(x, dictionary, 0.5, tolerance=1e-12).z
    torch.testing.assert_close(found, torch.tensor([[0.1875, 2.1875]], dtype=torch.float64), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("penalty", [0.1, 0.5, 2.0])
def test_codes_are_those_of_scikit_learn(penalty: float) -> None:
    x, dictionary = problem()
    found = lasso(x, dictionary, penalty, tolerance=1e-13, max_steps=20_000)
    for row, z in zip(x.numpy(), found.z.numpy(), strict=True):
        # Lasso divides the error by the number of entries.
        peer = Lasso(alpha=penalty / 12, fit_intercept=False, tol=1e-13, max_iter=200_000).fit(dictionary.numpy().T, row)
        assert abs(peer.coef_ - z).max() < 1e-5
    encoded = sparse_encode(x.numpy(), dictionary.numpy(), algorithm="lasso_lars", alpha=penalty)
    assert abs(encoded - found.z.numpy()).max() < 1e-5


def test_the_gap_bounds_the_distance_to_the_least_objective() -> None:
    x, dictionary = problem()

    def objective(z: torch.Tensor) -> torch.Tensor:
        return 0.5 * (x - z @ dictionary).square().sum(1) + 0.5 * z.abs().sum(1)

    best = objective(lasso(x, dictionary, 0.5, tolerance=1e-13, max_steps=20_000).z)
    for z in (torch.zeros(20, 30).double(), torch.randn(20, 30, generator=generator(2)).double()):
        assert bool((duality_gap(x, z, dictionary, 0.5) >= objective(z) - best - 1e-9).all())
    for tolerance in (1e-2, 1e-4):
        rough = lasso(x, dictionary, 0.5, tolerance=tolerance)
        assert bool((rough.gap <= tolerance * 0.5 * x.square().sum(1)).all())
        assert bool((objective(rough.z) - best <= rough.gap + 1e-9).all())


def test_rows_do_not_depend_on_each_other() -> None:
    x, dictionary = problem()
    together = lasso(x, dictionary, 0.3, tolerance=1e-6)
    alone = torch.cat([lasso(row[None], dictionary, 0.3, tolerance=1e-6).z for row in x])
    torch.testing.assert_close(together.z, alone, atol=1e-9, rtol=0.0)


def test_zero_rows_zero_atoms_and_a_large_penalty_give_zeros() -> None:
    x, dictionary = problem()
    x[3] = 0.0
    dictionary[:2] = 0.0
    found = lasso(x, dictionary, 0.3)
    assert float(found.z[3].abs().max()) == 0.0
    assert float(found.z[:, :2].abs().max()) == 0.0
    assert bool(found.gap.isfinite().all())
    assert float(lasso(x, dictionary, 1e3).z.abs().max()) == 0.0
    assert float(lasso(x, torch.zeros_like(dictionary), 0.3).z.abs().max()) == 0.0


def test_steps_that_do_not_suffice_leave_a_gap_that_says_so() -> None:
    x, dictionary = problem()
    found = lasso(x, dictionary, 0.1, tolerance=1e-12, max_steps=5)
    assert found.steps == 5
    assert float(found.gap.max()) > 1e-3


def test_what_does_not_fit_is_refused() -> None:
    x, dictionary = problem()
    with pytest.raises(InvalidInput, match=r"penalty of a lasso is 0.0"):
        lasso(x, dictionary, 0.0)
    with pytest.raises(InvalidInput, match=r"data of shape \(20, 12\) and atoms of shape \(12, 30\)"):
        lasso(x, dictionary.T, 1.0)
