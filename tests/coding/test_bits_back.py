"""Bits-back: data come back, in the bits of the bound and of one code, also where floats differ by all that is allowed for."""

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ancestral.coding import Damage, bits_back, conditional
from ancestral.coding.bits_back import GROUP, BitsBackCoder, make_coder
from ancestral.coding.coder import ModelCoder
from ancestral.coding.conditional import Conditional, Table
from ancestral.coding.frequencies import TOLERANCE, Floats
from ancestral.coding.gaussians import Gaussians, points
from ancestral.data import load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import Model, create, store
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import decompress
from tests.contracts.cases import Case, contract, generator
from tests.models.learning import learn

BITS = Event.binary((1, 4, 3))
MODELS: dict[str, dict[str, object]] = {
    "vae": {"latent": 3, "hidden": (8,)},
    "pixel-vae": {"latent": 2, "hidden": (8,), "features": 2, "pixel_channels": 4, "layers": 1},
    "helmholtz": {"hidden": (5, 4, 3)},
}


def of_codes(case: Case) -> bool:
    whole = case.event.levels is not None and (case.condition is None or case.condition.levels is not None)
    return whole and getattr(case.cls, "factorial", False)


def coder_of(name: str) -> BitsBackCoder:
    """Return the coder of an untrained model, whose code matters to its data."""
    torch.manual_seed(0)
    model = create(name, BITS, **MODELS[name]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, generator=generator(1))
    coder = make_coder(model)
    assert isinstance(coder, BitsBackCoder)
    return coder


def drawn(coder: BitsBackCoder, n: int) -> Tensor:
    return coder.model.sample(n, generator=generator(3))


def encoded(coder: BitsBackCoder, x: Tensor) -> bytes:
    _, _, code, _ = coder.encode(x, None)
    assert code is not None
    return code


def decoded(coder: BitsBackCoder, count: int, code: bytes) -> Tensor:
    ((x, _),) = coder.decode(0, [(count, 0, code)])
    return x


@contract(of_codes)
def test_every_model_gives_back_what_it_was_given(case: Case, tmp_path: Path) -> None:
    model, path = case.build(), tmp_path / "a.anc"
    for n in (1, 2, 150):
        x, condition = case.data(n), case.conditions(n)
        result = compress(model, x, path, condition=condition, chunk_size=100)
        assert (result.count, result.bytes, result.bound) == (n, path.stat().st_size, True)
        restored = decompress(path, model=model)
        assert torch.equal(restored.x, x)
        assert restored.x.dtype == x.dtype
        if condition is not None and restored.condition is not None:
            assert torch.equal(restored.condition, condition)


@contract(of_codes)
def test_the_nats_are_those_of_the_bound_and_the_bits_near_them(case: Case) -> None:
    """Data of an untrained model leave bits that are not quite noise, so that its codes are not quite drawn from q."""
    model = case.build()
    coder, n = make_coder(model), 1000
    x, condition = case.data(n), case.conditions(n)
    _, _, code, nats = coder.encode(x, condition)
    assert code is not None
    given = 0.0 if case.condition is None else n * case.condition.numel * np.log2(case.condition.levels or 1)
    draws = [-model.double().bound(x, condition, generator=generator(seed)).sum().item() for seed in range(20)]
    assert abs(nats - np.mean(draws)) < 6.0 * np.std(draws)
    expected = np.mean(draws) / np.log(2.0) + given
    assert 0.8 * expected < len(code) * 8 < 1.2 * expected + 300


def test_the_first_datum_takes_its_code_in_full() -> None:
    """It finds no bits to draw a code from: that is counted, with the size of its group and the first number on the stack."""
    coder = coder_of("vae")
    x, model = drawn(coder, 1), coder.model
    mean = model.encode(x).detach().numpy()[0]
    z = torch.from_numpy(points()[np.abs(points() - mean[:, None]).argmin(1)])[None]
    prior = -model.log_prior(z).sum() + 3 * np.log(64.0)  # of points that stand for a 64th each
    nats = float((prior - model.log_likelihood(x, z)).detach())
    assert 0 <= len(encoded(coder, x)) * 8 - nats / np.log(2.0) < 6 + 24 + 8


@pytest.mark.parametrize("name", ["vae", "helmholtz"])
def test_real_digits_take_little_more_than_the_bound(name: str, real_data: Path) -> None:
    data = load("binarized-mnist")
    train, test = (data.split(part).batch(torch.arange(n))[0] for part, n in (("train", 2000), ("test", 400)))
    options, rate = {"vae": ({"latent": 6, "hidden": (60,)}, 3e-3), "helmholtz": ({"hidden": (30, 10)}, 2e-2)}[name]
    model = learn(create(name, data.event, **options), train.float(), steps=100, rate=rate)
    coder = make_coder(model)
    x = test.to(data.event.dtype)
    _, _, code, nats = coder.encode(x, None)
    assert nats / len(x) < 250, "the model has learned something"
    assert len(code) * 8 < 1.01 * nats / np.log(2.0)
    assert torch.equal(coder.decode(0, [(len(x), 0, code)])[0][0], x)


def test_groups_grow_with_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    coder, sizes = coder_of("vae"), []
    push = BitsBackCoder._push_group

    def counted(self: BitsBackCoder, stack: object, x: Tensor, condition: Tensor | None, *, first: bool) -> None:
        sizes.append((len(x), first))
        push(self, stack, x, condition, first=first)

    monkeypatch.setattr(BitsBackCoder, "_push_group", counted)
    x = drawn(coder, 600)
    assert torch.equal(decoded(coder, 600, encoded(coder, x)), x)
    assert sizes[0] == (1, True)
    assert not any(first for _, first in sizes[1:])
    assert sum(n for n, _ in sizes) == 600
    assert max(n for n, _ in sizes) == GROUP
    assert [n for n, _ in sizes[:-1]] == sorted(n for n, _ in sizes[:-1])


def test_groups_are_no_larger_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits_back, "CHUNK_ELEMENTS", 5 * (12 * 2 + 128 * 3))
    coder = coder_of("vae")
    assert coder.group == 5
    x = drawn(coder, 60)
    assert torch.equal(decoded(coder, 60, encoded(coder, x)), x)


# Other machines


def off_by(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that is rounded be off by an error at most."""
    random, init = np.random.default_rng(0), Conditional.__init__
    table = BitsBackCoder.table

    def shifted(self: Conditional, values: Floats) -> None:
        init(self, values + error * random.uniform(-1.0, 1.0, values.shape))

    def shifted_table(self: BitsBackCoder, raw: Tensor) -> Floats:
        out = table(self, raw)
        # Of entries that are decoded one after another; all others become a `Table`.
        return out + error * random.uniform(-1.0, 1.0, out.shape) if self.model.pixel_model is not None else out

    monkeypatch.setattr(Conditional, "__init__", shifted)
    monkeypatch.setattr(BitsBackCoder, "table", shifted_table)


@pytest.mark.parametrize("name", MODELS)
def test_another_machine_decodes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = coder_of(name)
    x = drawn(coder, 200)
    code = encoded(coder, x)
    off_by(0.99 * TOLERANCE, monkeypatch)
    assert torch.equal(decoded(coder, 200, code), x)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_off_by_more_does_not_decode(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = coder_of(name)
    x = drawn(coder, 200)
    code = encoded(coder, x)
    off_by(1e-3, monkeypatch)
    with contextlib.suppress(Damage):
        assert not torch.equal(decoded(coder, 200, code), x)


@pytest.mark.parametrize("name", MODELS)
def test_another_offset_is_taken_where_the_first_is_not_safe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    coder = coder_of(name)
    x = drawn(coder, 50)
    first = encoded(coder, x)
    monkeypatch.setattr(conditional, "unsafe_shifts", lambda values: np.arange(256) < 7)
    code = encoded(coder, x)
    monkeypatch.undo()
    assert code != first
    assert torch.equal(decoded(coder, 50, code), x)


def test_where_no_offset_is_safe_data_are_deflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditional, "unsafe_shifts", lambda values: np.ones(256, dtype=bool))
    coder = coder_of("vae")
    x = drawn(coder, 20)
    assert coder.encode(x, None)[2] is None
    compress(coder.model.float(), x, tmp_path / "a.anc")
    assert torch.equal(decompress(tmp_path / "a.anc", model=coder.model).x, x)


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_another_process_writes_the_same_files_and_reads_them(capability: str, tmp_path: Path) -> None:
    """With other vector instructions and another number of threads."""
    for name in MODELS:
        coder, place = coder_of(name), tmp_path / name
        model, x = coder.model.float(), drawn(coder, 100)
        store.save(model, place)
        np.save(place / "x.npy", x.numpy())
        compress(model, x, place / "a.anc")
    script = (
        "import sys, numpy as np, torch; torch.set_num_threads(2); from ancestral import compress, decompress\n"
        "for run in sys.argv[1:]:\n"
        "    compress(run, run + '/x.npy', run + '/b.anc', verify=False)\n"
        "    assert (decompress(run + '/a.anc', model=run).x.numpy() == np.load(run + '/x.npy')).all()\n"
    )
    command = [sys.executable, "-c", script, *(str(tmp_path / name) for name in MODELS)]
    subprocess.run(command, check=True, env={"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "2"})
    for name in MODELS:
        assert (tmp_path / name / "b.anc").read_bytes() == (tmp_path / name / "a.anc").read_bytes()


# Bad input


def test_codes_of_no_data_are_damage() -> None:
    coder = coder_of("vae")
    code = encoded(coder, drawn(coder, 40))
    for wrong, count in ((code, 39), (code, 41), (bytes([1]) + code, 40), (bytes(4) + code, 40), (b"\xff" * 400, 40)):
        with pytest.raises(Damage):
            decoded(coder, count, wrong)


REFUSED: dict[str, tuple[Callable[[], Model], str]] = {
    "a flow": (
        lambda: create("iaf-vae", BITS, latent=2),
        "iaf-vae has no codes that bits-back can take.*have:.*vae",
    ),
    "reals": (lambda: create("vae", Event.real((2,))), "this vae is a model of data .*expected at most 65536 whole levels"),
    "a real condition": (lambda: create("vae", BITS, Event.real((2,))), "this vae is a model of a condition"),
    "no codes": (lambda: create("realnvp", Event.integers((1, 4, 4), 4)), "no exact conditionals.*codes: helmholtz, .*vae"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_cannot_code_are_refused_in_words(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(Unsupported, match=words):
        make_coder(make())


def test_models_of_conditionals_are_coded_by_them() -> None:
    assert isinstance(make_coder(create("made", BITS)), ModelCoder)


def test_data_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = coder_of("vae").model.float()
    for x, words in ((torch.full((3, 1, 4, 3), 2), r"expected integers in \[0, 1\]"), (torch.zeros(3, 1, 2, 2), "shape")):
        with pytest.raises(InvalidInput, match=words):
            compress(model, x, tmp_path / "a.anc")
    with pytest.raises(InvalidInput, match="nothing to compress"):
        compress(model, torch.zeros(0, 1, 4, 3), tmp_path / "a.anc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_model_that_gives_nan_is_refused(part: str, tmp_path: Path) -> None:
    model = coder_of("vae").model.float()
    with torch.no_grad():
        next(getattr(model, part).parameters())[0] = float("nan")
    with pytest.raises(InvalidInput, match="vae gives NaN: its weights are not usable"):
        compress(model, torch.zeros(3, 1, 4, 3), tmp_path / "a.anc")
    assert not list(tmp_path.iterdir())


def test_units_are_drawn_as_the_posterior_says() -> None:
    """The codes that a coder takes have the mean and the deviation of q."""
    coder = coder_of("vae")
    x = drawn(coder, 1).expand(4000, 1, 4, 3)
    q = coder.posterior(0, x, None)
    assert isinstance(q, Gaussians)
    z = points()[q.take(bits_back.Stack(np.random.default_rng(0).bytes(40_000)))].reshape(4000, 3)
    mean, log_scale = (each[0].detach().numpy() for each in coder.model.posterior(x[:1]))
    assert np.abs(z.mean(0) - mean).max() < 0.1
    assert np.abs(z.std(0) / np.exp(log_scale) - 1.0).max() < 0.06


def test_layers_are_drawn_as_the_model_says() -> None:
    coder = coder_of("helmholtz")
    h = torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]]).double()
    q, p = coder.posterior(1, h, None), coder.prior(0, 1, torch.ones(1, 4).double(), None)
    assert isinstance(q, Table)
    assert isinstance(p, Table)
    logits = coder.model.recognition[1](h, None).detach()[0]
    assert np.allclose(q.values[:, 1], torch.nn.functional.logsigmoid(logits).numpy())
    assert p.values.shape == (5, 2)
    assert q.bits == p.bits == 1.0
