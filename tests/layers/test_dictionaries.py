"""Dictionaries as linear maps: against the matrices that they stand for, with norms that bound those of the matrices."""

import pytest
import torch

from ancestral.errors import InvalidInput
from ancestral.layers.dictionaries import Convolutional, Dense, Dictionary, Pulled
from ancestral.layers.lasso import duality_gap, lasso
from tests.models.learning import generator


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def materialised(dictionary: Dictionary) -> torch.Tensor:
    """Return the matrix of a dictionary, an atom in each row."""
    return dictionary.tell(torch.eye(dictionary.atoms, dtype=torch.float64))


def of_each_kind() -> list[Dictionary]:
    few, many = Convolutional(draw(3, 2, 3, 3), (5, 4)), Convolutional(draw(3, 5, 2, 2), (3, 4))
    wide, tall = Dense(draw(4, 6)), Dense(draw(6, 4))
    return [wide, tall, few, many, Pulled(few, 0.7), Pulled(tall, 2.0)]


KINDS = pytest.mark.parametrize("dictionary", of_each_kind(), ids=lambda each: type(each).__name__)


def test_an_atom_stands_at_each_place() -> None:
    """Written out: the code of map k at row i and column j adds the atom there."""
    weight = draw(3, 2, 2, 2)
    z = draw(1, 3, 3, 4, seed=1)
    told = torch.zeros(2, 4, 5, dtype=torch.float64)
    for k in range(3):
        for i in range(3):
            for j in range(4):
                told[:, i : i + 2, j : j + 2] += z[0, k, i, j] * weight[k]
    torch.testing.assert_close(Convolutional(weight, (4, 5)).tell(z.flatten(1)).view(2, 4, 5), told)


@KINDS
def test_what_correlates_is_the_transpose(dictionary: Dictionary) -> None:
    matrix = materialised(dictionary)
    assert matrix.shape == (dictionary.atoms, dictionary.entries)
    x, z = draw(3, dictionary.entries), draw(3, dictionary.atoms, seed=1)
    torch.testing.assert_close(dictionary.tell(z), z @ matrix)
    torch.testing.assert_close(dictionary.correlate(x), x @ matrix.T)


@KINDS
def test_a_step_down_and_the_norm_are_those_of_the_matrix(dictionary: Dictionary) -> None:
    matrix = materialised(dictionary)
    z, t = draw(3, dictionary.atoms, seed=1), draw(3, dictionary.atoms, seed=2)
    torch.testing.assert_close(dictionary.descent(0.1)(z, t), t + z - 0.1 * z @ matrix @ matrix.T)
    largest = float(torch.linalg.matrix_norm(matrix, 2)) ** 2
    assert largest <= dictionary.norm_squared() * (1.0 + 1e-12)
    assert dictionary.norm_squared() < 2.0 * largest


@KINDS
def test_codes_are_those_for_the_matrix(dictionary: Dictionary) -> None:
    matrix, x = materialised(dictionary), 3.0 * draw(5, dictionary.entries, seed=4)
    found, dense = (lasso(x, each, 0.8, tolerance=1e-12, max_steps=20_000) for each in (dictionary, matrix))

    def objective(z: torch.Tensor) -> torch.Tensor:
        return 0.5 * (x - z @ matrix).square().sum(1) + 0.8 * z.abs().sum(1)

    torch.testing.assert_close(objective(found.z), objective(dense.z), rtol=1e-10, atol=1e-10)
    gaps = [duality_gap(x, found.z, each, 0.8) for each in (dictionary, matrix)]
    torch.testing.assert_close(gaps[0], gaps[1], atol=1e-9, rtol=0.0)
    assert bool((found.z != 0).any())


def test_pulled_codes_minimise_the_sum_of_both_errors() -> None:
    """By the condition of an optimum: the gradient is -l sign(z) where z is not 0, and at most l in size elsewhere."""
    base = Convolutional(draw(2, 1, 2, 2), (3, 3))
    x, near = 2.0 * draw(4, 9, seed=1), draw(4, 8, seed=2)
    pulled = Pulled(base, 0.7)
    z = lasso(pulled.data(x, near), pulled, 0.5, tolerance=1e-14, max_steps=20_000).z
    gradient = base.correlate(base.tell(z) - x) + 0.7 * (z - near)
    torch.testing.assert_close(gradient[z != 0], -0.5 * z[z != 0].sign(), atol=1e-5, rtol=0.0)
    assert float(gradient[z == 0].abs().max()) <= 0.5


@pytest.mark.parametrize("make", [Dense, lambda weight: Convolutional(weight.view(2, 1, 2, 2), (3, 3))])
def test_atoms_that_are_not_finite_have_no_codes(make: type[Dense]) -> None:
    weight = draw(2, 4)
    weight[1, 2] = torch.nan
    dictionary = make(weight)
    assert bool(lasso(draw(3, dictionary.entries), dictionary, 1.0).z.isnan().all())


def test_atoms_larger_than_the_image_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"atoms of 4 x 4 do not fit into images of 5 x 3"):
        Convolutional(torch.zeros(2, 1, 4, 4), (5, 3))
    with pytest.raises(InvalidInput, match=r"data of shape \(2, 9\) and atoms of shape \(8, 16\)"):
        lasso(draw(2, 9), Convolutional(draw(2, 1, 3, 3), (4, 4)), 1.0)
