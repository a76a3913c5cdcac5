import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.decomposition import PCA

from ancestral.data import ArraySplit, Data, load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create, registry
from ancestral.models.base import Model
from ancestral.verbs.codes import between, codes_of, open_coder
from ancestral.verbs.latent_pictures import save_grid, save_sum, save_ways
from ancestral.verbs.latents import arithmetic, interpolate, manifold, reconstruct, traverse


class Itself(Model):
    """Codes that are the data, so that what is decoded is known."""

    family = "latent"

    def __init__(self, event: Event, condition: Event | None = None) -> None:
        super().__init__(event, condition)
        self.weight = torch.nn.Parameter(torch.ones(1))

    def encode(self, x, condition=None):
        return x.flatten(1) * self.weight

    def decode(self, code, condition=None):
        shift = 0.0 if condition is None else condition.double()[:, None] * 100
        return (code / self.weight + shift).view(-1, *self.event.shape).float()


def labelled(n=200, d=3, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes - 1, (n,), generator=generator)  # the last class has no data
    x = torch.randn(n, d, generator=generator) * torch.tensor([3.0, 2.0, 0.5])[:d] + y[:, None]
    splits = {name: ArraySplit(x, y) for name in ("train", "test")}
    return Data("points", Event.real((d,)), splits, Event.label(classes), record={"classes": ["a", "b", "c", "none"]})


def test_reconstruct_is_decode_of_encode():
    data = load("digits", limit=20)
    vae = create("vae", data.event, latent=4, hidden=(8,)).eval()
    x = data.splits["test"].x
    assert torch.equal(reconstruct(vae, x), vae.decode(vae.encode(x)))
    assert torch.equal(reconstruct(vae, x[3].numpy())[0], reconstruct(vae, x)[3])
    flow = create("realnvp", data.event, couplings=1, channels=4, blocks=1)
    assert torch.equal(reconstruct(flow, x), x)


def test_conditions_reach_both_halves():
    data = load("digits", limit=20, condition="label")
    vae = create("vae", data.event, data.condition, latent=4, hidden=(8,)).eval()
    x, y = data.splits["test"].x, data.splits["test"].condition
    assert torch.equal(reconstruct(vae, x, y), vae.decode(vae.encode(x, y), y))
    assert torch.equal(reconstruct(vae, x, 3), vae.decode(vae.encode(x, torch.full_like(y, 3)), torch.full_like(y, 3)))
    with pytest.raises(InvalidInput, match="needs a condition"):
        reconstruct(vae, x)
    ways = interpolate(vae, x[:3], x[3:6], steps=4, condition=y[:3])
    assert torch.equal(ways[:, 0], reconstruct(vae, x[:3], y[:3]))
    assert manifold(vae, 2, data=data, condition=1).x.shape == (2, 2, 1, 8, 8)
    assert traverse(vae, 1, data=data, count=3, steps=5).x.shape == (3, 5, 1, 8, 8)


def test_the_linear_way_is_a_line():
    model = Itself(Event.real((3,)))
    a, b = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 4.0, 2.0])
    way = interpolate(model, a, b, steps=5)
    torch.testing.assert_close(way[0], torch.stack([a + t * (b - a) for t in torch.linspace(0, 1, 5)]))


def test_the_spherical_way_keeps_to_the_sphere_at_even_angles():
    model = Itself(Event.real((3,)))
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 2.0])
    way = interpolate(model, a, b, steps=4, how="spherical")[0]
    torch.testing.assert_close(way.norm(dim=1), torch.full((4,), 2.0))
    torch.testing.assert_close(way[1], torch.tensor([2 * math.cos(math.pi / 6), 0.0, 2 * math.sin(math.pi / 6)]))
    torch.testing.assert_close(way[[0, -1]], torch.stack((a, b)))


@pytest.mark.parametrize("b", [torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]), torch.zeros(2)])
def test_codes_without_an_angle_have_a_linear_way(b):
    a, t = torch.tensor([1.0, 0.0]), torch.linspace(0, 1, 3)[:, None]
    torch.testing.assert_close(between(a, b, t, "spherical"), between(a, b, t, "linear"))


def test_the_plane_of_two_latents_is_at_quantiles_of_a_gaussian():
    plane = manifold(Itself(Event.real((2,))), side=4)
    q = torch.tensor(stats.norm.ppf([0.125, 0.375, 0.625, 0.875]), dtype=torch.float32)
    torch.testing.assert_close(plane.x[..., 0], q.expand(4, 4))
    torch.testing.assert_close(plane.x[..., 1], q.flip(0)[:, None].expand(4, 4))
    assert plane.axes == "latents 0 and 1, at quantiles of N(0, 1)"


def test_the_plane_of_more_latents_is_that_of_principal_axes():
    data = labelled()
    plane = manifold(Itself(data.event), side=5, data=data, limit=150)
    codes = codes_of(open_coder(Itself(data.event)), data, "test", 150, 0).numpy()
    pca = PCA(2).fit(codes)
    at = pca.transform(plane.x.view(-1, 3).numpy())
    np.testing.assert_allclose(pca.inverse_transform(at), plane.x.view(-1, 3), atol=1e-4)  # on the plane
    expected = stats.norm.ppf((np.arange(5) + 0.5) / 5)
    for axis, found in ((0, at[:5, 0]), (1, at[::5, 1])):
        scaled = found / np.sqrt(pca.explained_variance_[axis])
        np.testing.assert_allclose(np.sort(scaled), expected, atol=1e-4)
    share = pca.explained_variance_ratio_.sum()
    assert plane.axes == f"the first two principal axes of 150 codes of 3 entries ({share:.0%} of their variance)"


def test_arithmetic_adds_means_of_classes():
    data = labelled()
    x, y = data.splits["train"].x, data.splits["train"].condition
    found = arithmetic(Itself(data.event), ["b", 2], ["a"], data=data)
    means = [x[y == label].mean(0) for label in range(3)]
    torch.testing.assert_close(found.code, means[1] + means[2] - means[0])
    torch.testing.assert_close(found.x, found.code)
    assert [(g.sign, g.name, g.count) for g in found.groups] == [
        (1, "b", int((y == 1).sum())),
        (1, "c", int((y == 2).sum())),
        (-1, "a", int((y == 0).sum())),
    ]
    torch.testing.assert_close(found.groups[2].x, means[0])


def test_arithmetic_of_a_conditional_model_decodes_groups_for_their_class():
    data = labelled()
    found = arithmetic(Itself(data.event, data.condition), ["c"], ["b"], data=data)
    torch.testing.assert_close(found.x, found.code + 200)
    torch.testing.assert_close(found.groups[1].x[0].round(decimals=-2), torch.tensor(100.0))


def test_traverse_changes_one_latent_and_no_other():
    data = labelled()
    found = traverse(Itself(data.event), 1, data=data, count=4, steps=7, limit=200)
    x = data.splits["test"].x
    mean, spread = x[:, 1].mean(), x[:, 1].std(correction=0)
    torch.testing.assert_close(found.x[0, :, 1], mean + torch.linspace(-3, 3, 7) * spread)
    torch.testing.assert_close(found.x[..., [0, 2]], x[:4, None, [0, 2]].expand(4, 7, 2))
    torch.testing.assert_close(found.values.float(), found.x[..., 1])
    assert found.latents == (1, 1, 1, 1)


def test_traverse_takes_the_latents_that_vary_most():
    data = labelled(n=2000)
    found = traverse(Itself(data.event), data=data, count=2, steps=3, limit=2000, width=1.0)
    assert found.latents == (0, 1)
    torch.testing.assert_close(found.x[0, :, 1:], data.splits["test"].x[0, 1:].expand(3, 2))


@pytest.mark.parametrize(
    "name", [n for n in registry.names() if registry.get(n).can("encode") and registry.get(n).can("decode")]
)
def test_every_model_with_codes_is_served(name):
    for example in registry.get(name).examples:
        model = registry.get(name)(**example).eval()
        event = model.event
        x = event.from_network(torch.zeros(5, *event.shape)).to(event.dtype)
        y = None if model.condition is None else torch.zeros(5, *model.condition.shape, dtype=model.condition.dtype)
        data = Data("few", event, {"test": ArraySplit(x, y)}, model.condition)
        assert reconstruct(model, x, y).shape == x.shape
        assert interpolate(model, x[0], x[1], 3, how="spherical", condition=None if y is None else y[:1]).shape == (
            1,
            3,
            *event.shape,
        )
        assert traverse(model, 0, data=data, steps=3).x.shape == (5, 3, *event.shape)
        event.check(traverse(model, data=data, steps=3).x.flatten(0, 1))


def test_refused():
    data = labelled()
    model, images = Itself(data.event), Itself(Event.real((1, 4, 6)))
    short = Itself(Event.real((1,)))
    bare = Data("bare", data.event, {"test": ArraySplit(torch.zeros(2, 3))})
    for message, call in {
        r"x has shape": lambda: reconstruct(model, torch.zeros(2, 4)),
        r"x holds 1 NaN or infinite": lambda: reconstruct(model, torch.tensor([1.0, torch.inf, 0.0])),
        r"x holds no data": lambda: reconstruct(model, torch.zeros(0, 3)),
        r"steps is 1, expected at least 2": lambda: interpolate(model, torch.zeros(3), torch.ones(3), 1),
        r"way": lambda: interpolate(model, torch.zeros(3), torch.ones(3), how="round"),
        r"got 2 data to begin with and 1 to end": lambda: interpolate(model, torch.zeros(2, 3), torch.ones(3)),
        r"have one entry, and no plane": lambda: manifold(short),
        r"got 2 codes, expected at least 3": lambda: manifold(model, data=bare),
        r"it is not recorded what": lambda: manifold(model),
        r"no datum of class none in its train split": lambda: arithmetic(model, ["none"], data=data),
        r"there is no class 'd'": lambda: arithmetic(model, ["d"], data=data),
        r"got no class to add": lambda: arithmetic(model, [], data=data),
        r"bare has none: name its column": lambda: arithmetic(model, [0], data=bare, split="test"),
        r"there is no latent 3, expected 0 to 2": lambda: traverse(model, 3, data=data),
        r"width is 0.0": lambda: traverse(model, 0, data=data, width=0.0),
        r"is a model of 1x4x6 real": lambda: traverse(images, data=data),
    }.items():
        with pytest.raises(InvalidInput, match=message):
            call()
    for name, lacks in (("made", "no encode and no decode"), ("gan", "no encode")):
        with pytest.raises(Unsupported, match=rf"{name} .* has {lacks}. Models that have codes: .*vae"):
            reconstruct(create(name, Event.real((3,))), torch.zeros(2, 3))


def test_one_datum_and_constant_columns():
    constant = Data("constant", Event.real((3,)), {"test": ArraySplit(torch.ones(1, 3))})
    found = traverse(Itself(constant.event), 0, data=constant)
    assert torch.equal(found.x, torch.ones(1, 9, 3))
    many = Data("constant", Event.real((3,)), {"test": ArraySplit(torch.ones(9, 3))})
    assert torch.equal(manifold(Itself(many.event), 3, data=many).x, torch.ones(3, 3, 3))


# Pictures


def test_grids_of_images_that_are_not_square_and_of_tables(tmp_path):
    event = Event.integers((3, 4, 9), 256)
    x = torch.randint(256, (2, 5, *event.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    save_grid(x, event, tmp_path / "grid.png")
    save_grid(x, event, tmp_path / "grid.npy")
    assert np.array_equal(np.load(tmp_path / "grid.npy"), x.numpy())
    with Image.open(tmp_path / "grid.png") as image:
        assert image.width > 2 * image.height  # five of nine columns beside two of four rows
    save_grid(torch.randn(2, 5, 2), Event.real((2,)), tmp_path / "points.png")
    save_grid(torch.zeros(2, 5, 7), Event.binary((7,)), tmp_path / "rows.png")
    with pytest.raises(InvalidInput, match=r"use \.png"):
        save_grid(x, event, tmp_path / "grid.txt")


def test_ways_are_animated_with_a_frame_for_each_step(tmp_path):
    event = Event.binary((1, 4, 6))
    x = torch.zeros(2, 3, *event.shape, dtype=torch.uint8)
    x[:, 1, :, :2], x[:, 2] = 1, 1
    save_ways(x, event, tmp_path / "way.gif")
    with Image.open(tmp_path / "way.gif") as image:
        assert image.n_frames == 3
    with pytest.raises(InvalidInput, match="animations are of images, the data are 2 real"):
        save_ways(torch.zeros(1, 3, 2), Event.real((2,)), tmp_path / "table.gif")
    assert not (tmp_path / "table.gif").exists()


def test_sums_are_drawn_after_their_terms(tmp_path):
    data = labelled()
    found = arithmetic(Itself(data.event), ["a"], ["b"], data=data)
    save_sum(found, data.event, tmp_path / "sum.npy")
    array = np.load(tmp_path / "sum.npy")
    assert array.shape == (1, 3, 3)
    np.testing.assert_array_equal(array[0, -1], found.x)
