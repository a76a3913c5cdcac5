"""The Sparse Transformer: what its layers see, what they cost, and what the length decides."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.layers.sparse_attention import SparseSelfAttention
from ancestral.models import create
from ancestral.models.autoregressive.sparse_transformer import SparseTransformer

EVENT = Event.integers((30,), 4, axes=("time",))


def build(event: Event = EVENT, **options: object) -> SparseTransformer:
    torch.manual_seed(0)
    model = create("sparse-transformer", event, **{"width": 8, "layers": 2, "heads": 2, **options})
    assert isinstance(model, SparseTransformer)
    return model.double().eval()


def seen(model: SparseTransformer, entry: int) -> set[int]:
    """Return the entries whose value changes what an entry is predicted to be."""
    n = model.event.numel
    x = torch.zeros(n + 1, n, dtype=torch.long)
    x[torch.arange(n), torch.arange(n)] = 1  # in datum j only entry j differs from the last datum
    with torch.no_grad():
        raw = model(x)[:, entry]
    # Data of one batch may differ in their last bits though they say the same.
    return set(((raw[:-1] - raw[-1]).abs() > 1e-12).any(1).nonzero()[:, 0].tolist())


@pytest.mark.parametrize(
    ("options", "expected"),
    # Position t reads entry t - 1, so that of positions {20, 21, 22} entries {19, 20, 21} are seen.
    [({"stride": 3}, {19, 20, 21}), ({"pattern": "fixed", "stride": 4}, {19, 20, 21}), ({"stride": 30}, set(range(22)))],
)
def test_one_layer_sees_the_first_part(options: dict[str, object], expected: set[int]) -> None:
    assert seen(build(layers=1, **options), 22) == expected


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"pattern": "fixed"}, {"pattern": "fixed", "stride": 9, "summary": 3}])
def test_two_layers_see_all(options: dict[str, object]) -> None:
    model = build(**options)
    for entry in (1, 7, 29):
        assert seen(model, entry) == set(range(entry))


def test_layers_take_the_parts_in_turn() -> None:
    model = build(layers=3, pattern="fixed", stride=8, summary=2)
    parts = [module.part for module in model.modules() if isinstance(module, SparseSelfAttention)]
    assert [str(part) for part in parts] == ["Blocks(stride=8)", "Summaries(stride=8, summary=2)", "Blocks(stride=8)"]


def test_entries_are_summed_over_layers_and_heads() -> None:
    # Of 30 positions, a window of 5 needs 15 + 25 x 5, and 5 columns of 6 need 21 each.
    assert build(layers=3, heads=2, stride=5).score_entries().needed == 2 * (2 * 140 + 105)
    # The window has 6 blocks, of which 5 have twice the keys.
    assert build(layers=3, heads=2, stride=5).score_entries().computed == 2 * (2 * 25 * 11 + 5 * 36)


def test_steps_keep_the_window_and_the_columns_alone() -> None:
    strided, fixed = build(stride=5).init_state(2), build(pattern="fixed", stride=5, summary=2).init_state(2)
    assert [tensor.shape[2] for tensor in strided.memory] == [5, 5, 30, 30]  # keys and values of each layer
    assert [tensor.shape[2] for tensor in fixed.memory] == [5, 5, 12, 12]


def test_what_the_length_decides_is_in_the_configuration() -> None:
    model = build(pattern="fixed")
    assert (model.config["stride"], model.config["summary"]) == (5, 1)
    assert (build().config["stride"], build().config["summary"]) == (5, None)
    longer = model.resized(100)
    assert longer.config == model.config
    x = torch.randint(4, (2, 100))
    with torch.no_grad():
        torch.testing.assert_close(longer(x)[:, :30], model(x[:, :30]), rtol=1e-12, atol=1e-12)


def test_patterns_and_strides_change_the_distribution() -> None:
    x = torch.randint(4, (3, 30))
    options = (
        {"stride": 5},
        {"stride": 6},
        {"pattern": "fixed", "stride": 5},
        {"pattern": "fixed", "stride": 5, "summary": 3},
    )
    with torch.no_grad():
        found = [build(**given).log_prob(x) for given in options]
    for i, one in enumerate(found):
        assert not any(torch.allclose(one, other) for other in found[i + 1 :])


def test_factored_places_are_of_rows_and_columns(stepped: Callable[..., Tensor]) -> None:
    model = build(positions="factored", stride=7)
    places = model.place_vectors()
    assert places is not None
    assert model.rows is not None
    assert model.columns is not None
    assert places.shape == (30, 8)
    assert torch.equal(places[23], model.rows[3] + model.columns[2])
    x = torch.randint(4, (2, 30))
    torch.testing.assert_close(stepped(model, x), model(x).detach(), rtol=1e-10, atol=1e-12)
    with pytest.raises(Unsupported, match="rotary"):
        model.resized(31)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"pattern": "stride"}, "strided"),
        ({"stride": 0}, "stride must be at least 1"),
        ({"pattern": "fixed", "stride": 4, "summary": 5}, "from 1 to the stride of 4"),
        ({"summary": 2}, "fixed pattern"),
        ({"positions": "learned"}, "factored"),
        ({"layers": 0}, "layers"),
        ({"heads": 3}, "3 heads"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        build(**options)
