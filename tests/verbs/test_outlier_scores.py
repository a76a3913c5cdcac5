import io
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.verbs.outlier_scores import auroc, code_bits, combined, p_values, ratio, typicality


def test_p_values_count_the_inliers_that_are_as_unusual():
    inliers = torch.tensor([1.0, 2.0, 2.0, 5.0])
    scores = torch.tensor([0.0, 1.0, 2.0, 3.0, 5.0, 6.0, torch.inf])
    brute = [(1 + sum(float(v) >= float(s) for v in inliers)) / 5 for s in scores]
    assert p_values(scores, inliers).tolist() == pytest.approx(brute)


def test_p_values_of_inliers_are_valid():
    """P(p <= alpha) <= alpha over inliers and calibration sets, and not far below it."""
    generator = torch.Generator().manual_seed(0)
    trials = [torch.randn(20, generator=generator) for _ in range(4000)]
    p = torch.cat([p_values(trial[:1], trial[1:]) for trial in trials])
    for alpha in (0.05, 0.1, 0.5):
        share = float((p <= alpha + 1e-9).double().mean())
        assert abs(share - alpha) < 4 * np.sqrt(alpha * (1 - alpha) / 4000)


def test_combined_p_values_stay_valid_for_dependent_scores():
    one = torch.linspace(0.0, 1.0, 101).double()
    assert torch.equal(combined(torch.stack((one, one))), (2 * one).clamp(max=1.0))
    assert float((combined(torch.stack((one, 1 - one))) <= 0.1).double().mean()) <= 0.1 + 0.02
    assert torch.equal(combined(one[None]), one)


def test_typicality_holds_each_inlier_against_the_others():
    inliers = torch.tensor([1.0, 4.0, 10.0], dtype=torch.float64)
    of, held = typicality(torch.tensor([5.0, 0.0]), inliers)
    assert of.tolist() == [0.0, 5.0]
    others = [abs(float(v) - float(torch.cat((inliers[:i], inliers[i + 1 :])).mean())) for i, v in enumerate(inliers)]
    assert held.tolist() == pytest.approx(others)


def test_ratio_of_what_is_impossible():
    inf = torch.inf
    nats, background = torch.tensor([5.0, inf, 3.0, inf]), torch.tensor([2.0, 2.0, inf, inf])
    assert ratio(nats, background).tolist() == [3.0, inf, -inf, inf]


def test_bits_of_bytes_are_those_of_zlib_or_fewer():
    x = torch.randint(7, (5, 300), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    bits = code_bits(x, Event.integers((300,), 7))
    for row, found in zip(x, bits, strict=True):
        assert 300 * np.log2(7) < found <= 8 * len(zlib.compress(row.numpy().tobytes(), 9))


@pytest.mark.parametrize(("shape", "levels"), [((1, 9, 13), 2), ((1, 16, 8), 17), ((3, 8, 12), 256)])
def test_bits_of_images_are_those_of_a_file_or_fewer(shape, levels):
    x = torch.randint(levels, (3, *shape), generator=torch.Generator().manual_seed(0))
    bits = code_bits(x, Event.integers(shape, levels))
    for values, found in zip(x.numpy().astype(np.uint8), bits, strict=True):
        file = io.BytesIO()
        picture = Image.fromarray(values[0].astype(bool) if levels == 2 else values[0]) if shape[0] == 1 else None
        picture = picture or Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0)))
        picture.save(file, "PNG", optimize=True)
        assert 0 < found <= 8 * file.tell()
    flat = code_bits(torch.zeros(1, *shape), Event.integers(shape, levels))
    assert bool((flat < bits).all())


def test_two_channels_and_tokens_have_bits_too():
    assert code_bits(torch.zeros(1, 2, 4, 4), Event.integers((2, 4, 4), 5)).shape == (1,)
    assert code_bits(torch.full((1, 30), 900), Event.integers((30,), 1000)).shape == (1,)
    with pytest.raises(Unsupported, match="of whole numbers, the data are 2 real"):
        code_bits(torch.zeros(1, 2), Event.real((2,)))


def test_auroc_is_that_of_scikit_learn_with_the_error_of_delong():
    generator = torch.Generator().manual_seed(0)
    inliers, outliers = torch.randn(300, generator=generator), torch.randn(200, generator=generator) + 1.0
    area, error = auroc(inliers, outliers)
    assert area == pytest.approx(roc_auc_score([0] * 300 + [1] * 200, torch.cat((inliers, outliers)).numpy()))
    assert abs(area - stats.norm.cdf(1 / np.sqrt(2))) < 4 * error
    areas = []
    for _ in range(300):
        i, o = torch.randn(60, generator=generator), torch.randn(40, generator=generator) + 1.0
        areas.append(auroc(i, o))
    assert np.std([a for a, _ in areas]) == pytest.approx(np.mean([e for _, e in areas]), rel=0.15)


def test_auroc_of_ties_infinities_and_single_scores():
    assert auroc(torch.zeros(3), torch.zeros(4)) == (0.5, 0.0)
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([torch.inf, torch.inf]))[0] == 1.0
    with pytest.raises(InvalidInput, match="got 1 inliers and 4 outliers"):
        auroc(torch.zeros(1), torch.zeros(4))
