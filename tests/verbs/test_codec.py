"""Compression: everything comes back, in the bytes that the model says, elsewhere too; damage does no more than it must."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ancestral.coding import coder as coder_module
from ancestral.coding.coder import ModelCoder, model_key
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import Model, create, store
from ancestral.verbs.codec import Restored, compress, decompress
from tests.contracts.cases import Case, contract, generator

SIZE = (6, 5)


def coded(case: Case) -> bool:
    whole = case.event.levels is not None and (case.condition is None or case.condition.levels is not None)
    return case.autoregressive and whole


def image_model(event: Event | None = None, **options: object) -> Model:
    torch.manual_seed(0)
    event = event or Event.integers((1, *SIZE), 256)
    return create("pixelcnn", event, **{"channels": 6, "layers": 1, **options}).eval()


def drawn(model: Model, n: int, seed: int = 0) -> Tensor:
    """Return data that the model expects: others are deflated in place of coded."""
    return model.sample(n, generator=generator(seed))


def smooth(n: int, seed: int = 0, channels: int = 1) -> Tensor:
    noise = torch.randint(256, (n, channels, *SIZE), generator=generator(seed))
    return (noise // 8 + torch.arange(n)[:, None, None, None]).clamp(max=255).to(torch.uint8)


@contract(coded)
def test_every_model_gives_back_what_it_was_given(case: Case, tmp_path: Path) -> None:
    model, path = case.build(), tmp_path / "a.anc"
    x, condition = case.data(23), case.conditions(23)
    result = compress(model, x, path, condition=condition, chunk_size=5)
    assert (result.count, result.bytes) == (23, path.stat().st_size)
    restored = decompress(path, model=model)
    assert torch.equal(restored.x, x)
    assert restored.x.dtype == x.dtype
    assert (condition is None) == (restored.condition is None)
    if condition is not None and restored.condition is not None:
        assert torch.equal(restored.condition, condition)


@contract(coded)
def test_a_file_takes_the_bits_that_the_model_says(case: Case, tmp_path: Path) -> None:
    """Conditions take theirs, of even odds; and the file its header, and 20 bytes for each chunk."""
    model = case.build()
    x, condition = case.data(400), case.conditions(400)
    result = compress(model, x, tmp_path / "a.anc", condition=condition, verify=False)
    given = 0.0 if case.condition is None else 400 * case.condition.numel * np.log(case.condition.levels or 1)
    if getattr(model, "members", 1) == 1:
        assert result.nats == pytest.approx(-float(model.double().log_prob(x, condition).detach().sum()), rel=1e-9)
    assert result.bytes <= (result.nats + given) / np.log(256.0) * 1.001 + 110


@contract(coded)
def test_one_datum_takes_twelve_bytes_more_than_its_nats(case: Case, tmp_path: Path) -> None:
    model = case.build()
    if getattr(model, "members", 1) > 1:
        pytest.skip("the member of a mixture is named in an archive only")
    for seed in range(5):
        x, condition = case.data(1, seed), case.conditions(1, seed)
        result = compress(model, x, tmp_path / "a.anc", condition=condition)
        given = 0.0 if case.condition is None else case.condition.numel * np.log2(case.condition.levels or 1)
        assert result.bytes <= 12 + (result.nats / np.log(2.0) + given) / 8
        assert torch.equal(decompress(tmp_path / "a.anc", model=model).x, x)


def test_another_process_decodes(tmp_path: Path) -> None:
    """With other vector instructions and another number of threads."""
    model = image_model()
    x = drawn(model, 20)
    store.save(model, tmp_path / "run")
    compress(model, x, tmp_path / "a.anc")
    np.save(tmp_path / "x.npy", x.numpy())
    script = (
        "import sys, numpy as np, torch; torch.set_num_threads(2); from ancestral.verbs.codec import decompress;"
        "x = decompress(sys.argv[1], model=sys.argv[2]).x.numpy(); sys.exit(not (x == np.load(sys.argv[3])).all())"
    )
    command = [sys.executable, "-c", script, *(str(tmp_path / name) for name in ("a.anc", "run", "x.npy"))]
    for capability in ("default", "avx2"):
        subprocess.run(command, check=True, env={"ATEN_CPU_CAPABILITY": capability, "OMP_NUM_THREADS": "2"})


def test_chunks_decode_alike_however_they_are_batched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    x = drawn(model, 23)
    compress(model, x, path, chunk_size=4)
    for batch in (1, 7, 1000):
        monkeypatch.setattr("ancestral.verbs.codec.DECODE_BATCH", batch)
        assert torch.equal(decompress(path, model=model).x, x)


def test_some_data_can_be_taken_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    x = drawn(model, 23)
    compress(model, x, path, chunk_size=4)
    decoded: list[int] = []
    decode = ModelCoder.decode

    def counted(self: ModelCoder, member: int, chunks: list[tuple[int, int, bytes]]) -> object:
        decoded.extend(count for count, _, _ in chunks)
        return decode(self, member, chunks)

    monkeypatch.setattr(ModelCoder, "decode", counted)
    restored = decompress(path, model=model, index=[21, 2, 3])
    assert restored.index.tolist() == [2, 3, 21]
    assert torch.equal(restored.x, x[[2, 3, 21]])
    assert decoded == [4, 3]
    with pytest.raises(InvalidInput, match="no datum 23, expected 0 to 22"):
        decompress(path, model=model, index=[23])


def test_data_that_the_model_does_not_expect_take_no_more_than_deflated(tmp_path: Path) -> None:
    model = image_model()
    x = torch.full((50, 1, *SIZE), 7, dtype=torch.uint8)
    result = compress(model, x, tmp_path / "a.anc")
    assert result.bytes < 150 < result.nats / 8
    assert torch.equal(decompress(tmp_path / "a.anc", model=model).x, x)


def test_where_no_offset_of_the_grid_is_safe_data_are_deflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coder_module, "unsafe_shifts", lambda log_pmf: np.ones(256, dtype=bool))
    model, x = image_model(), smooth(3)
    for n in (1, 3):
        compress(model, x[:n], tmp_path / "a.anc")
        assert torch.equal(decompress(tmp_path / "a.anc", model=model).x, x[:n])


# Images


def make_folder(folder: Path) -> dict[str, Image.Image]:
    (folder / "deeper").mkdir(parents=True)
    x = smooth(4)
    images = {f"{i}.png": Image.fromarray(x[i, 0].numpy()) for i in range(3)}
    images["deeper/é.bmp"] = Image.fromarray(x[3, 0].numpy())
    images["colour.png"] = Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8))
    images["large.png"] = Image.fromarray(np.zeros((9, 9), np.uint8))
    images["bits.png"] = Image.fromarray(x[0, 0].numpy() > 10)
    images["lossy.jpg"] = images["0.png"]
    for name, image in images.items():
        image.save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return {name: Image.open(folder / name).copy() for name in images}


def test_a_folder_comes_back_with_names_sizes_modes_and_pixels(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "in")
    model = image_model()
    result = compress(model, tmp_path / "in", tmp_path / "a.anc")
    assert (result.count, result.files) == (4, 4)
    decompress(tmp_path / "a.anc", tmp_path / "out", model=model)
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == sorted(images)
    for name, image in images.items():
        with Image.open(tmp_path / "out" / name) as again:
            assert (again.size, again.mode) == (image.size, image.mode), name
            assert np.array_equal(np.asarray(again), np.asarray(image)), name
    assert (tmp_path / "out" / "lossy.jpg").read_bytes() == (tmp_path / "in" / "lossy.jpg").read_bytes()


@pytest.mark.parametrize(
    ("event", "mode"),
    [(Event.binary((1, *SIZE)), "1"), (Event.binary((1, *SIZE)), "L"), (Event.integers((3, *SIZE), 256), "RGB")],
    ids=["bilevel", "black and white", "colour"],
)
def test_modes_come_back(event: Event, mode: str, tmp_path: Path) -> None:
    values = smooth(2, channels=event.shape[0]).numpy()
    (tmp_path / "in").mkdir()
    for i, value in enumerate(values):
        pixels = {"1": value[0] > 10, "L": (value[0] > 10).astype(np.uint8) * 255}.get(mode, value.transpose(1, 2, 0))
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    model = image_model(event)
    result = compress(model, tmp_path / "in", tmp_path / "a.anc")
    assert (result.count, result.files) == (2, 0)
    decompress(tmp_path / "a.anc", tmp_path / "out", model=model)
    for i in range(2):
        with Image.open(tmp_path / "in" / f"{i}.png") as a, Image.open(tmp_path / "out" / f"{i}.png") as b:
            assert b.mode == a.mode == mode
            assert np.array_equal(np.asarray(a), np.asarray(b))


def test_data_without_names_become_numbered_images_or_an_array(tmp_path: Path) -> None:
    model, x, path = image_model(), smooth(3), tmp_path / "a.anc"
    compress(model, x, path)
    decompress(path, tmp_path / "out", model=model, index=[1, 2])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000001.png", "000002.png"]
    decompress(path, tmp_path / "x.npy", model=model)
    assert np.array_equal(np.load(tmp_path / "x.npy"), x.numpy())
    compress(model, tmp_path / "x.npy", tmp_path / "b.anc")
    assert torch.equal(decompress(tmp_path / "b.anc", model=model).x, x)


@pytest.mark.parametrize("name", ["../up.png", "/root.png", "a/../../up.png", "C:\\x.png", ""])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    from ancestral.verbs.image_files import NamedImage, write_images

    with pytest.raises(InvalidInput, match="leads out of its folder"):
        write_images(tmp_path / "out", smooth(1), [NamedImage(name, "L")], {}, torch.arange(1))
    with pytest.raises(InvalidInput, match="leads out of its folder"):
        write_images(tmp_path / "out", smooth(0), [], {name: b""}, torch.arange(0))
    assert not (tmp_path / "up.png").exists()


# Damage and bad input


def damage_cases(content: bytes, count: int, seed: int) -> list[bytes]:
    """Return flips, truncations, splices, doublings and noise."""
    random = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        damaged, at = bytearray(content), int(random.integers(len(content)))
        other = int(random.integers(len(content)))
        kind = i % 5
        if kind == 0:
            damaged[at] ^= 1 << int(random.integers(8))
        elif kind == 1:
            damaged = damaged[:at]
        elif kind == 2:
            damaged = damaged[:at] + damaged[other : other + 40] + damaged[at:]
        elif kind == 3:
            damaged = damaged[: min(at, other)] + damaged[max(at, other) :]
        else:
            damaged[at : at + 8] = random.bytes(8)
        cases.append(bytes(damaged))
    return cases


def check_damage(path: Path, model: Model, x: Tensor, content: bytes) -> str:
    """Damage is found, or without effect; what is recovered is right. Return what is said where nothing can be."""
    path.write_bytes(content)
    try:
        restored = decompress(path, model=model, recover=True)
    except InvalidInput as error:
        return str(error)
    assert torch.equal(restored.x, x[restored.index])
    if len(restored.x) < len(x):
        assert restored.problems
        with pytest.raises(InvalidInput, match="is damaged"):
            decompress(path, model=model)
    return ""


@pytest.fixture(params=["archive", "single"])
def small_archive(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Model, Tensor, bytes]:
    torch.manual_seed(0)
    model = create("fvsbn", Event.binary((3, 4))).eval()
    x = torch.randint(2, (40 if request.param == "archive" else 1, 3, 4), generator=generator(0)).to(torch.uint8)
    compress(model, x, tmp_path / "a.anc", chunk_size=8)
    return model, x, (tmp_path / "a.anc").read_bytes()


def test_damage_is_found_and_stays_where_it_is(small_archive: tuple[Model, Tensor, bytes], tmp_path: Path) -> None:
    model, x, content = small_archive
    for damaged in damage_cases(content, 300, seed=0):
        if damaged != content:
            said = check_damage(tmp_path / "b.anc", model, x, damaged)
            assert "\n" not in said


@pytest.mark.slow
def test_damage_is_found_ten_thousand_times(small_archive: tuple[Model, Tensor, bytes], tmp_path: Path) -> None:
    model, x, content = small_archive
    for damaged in damage_cases(content, 10_000, seed=1):
        if damaged != content:
            said = check_damage(tmp_path / "b.anc", model, x, damaged)
            assert "\n" not in said


def test_chunks_of_another_archive_are_found_out(tmp_path: Path) -> None:
    """Of the same model, at the same place, whole in themselves."""
    model = image_model()
    compress(model, smooth(8, 1), tmp_path / "a.anc", chunk_size=4)
    compress(model, smooth(8, 2), tmp_path / "b.anc", chunk_size=4)
    a, b = (tmp_path / "a.anc").read_bytes(), (tmp_path / "b.anc").read_bytes()
    (tmp_path / "c.anc").write_bytes(a[: len(a) // 2 + 12] + b[len(b) // 2 + 12 :])
    with pytest.raises(InvalidInput, match="is damaged"):
        decompress(tmp_path / "c.anc", model=model)
    restored = decompress(tmp_path / "c.anc", model=model, recover=True)
    assert torch.equal(restored.x, smooth(8, 1)[restored.index])


def test_an_archive_that_decodes_to_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    compress(model, smooth(20), path)
    with pytest.raises(InvalidInput, match=r"decodes to 600 bytes, expected at most 599: raise max_bytes"):
        decompress(path, model=model, max_bytes=599)


def test_what_does_not_decode_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose steps are off by more than the format allows for."""
    model, path = image_model(), tmp_path / "a.anc"
    path.write_text("the archive before")
    decode = ModelCoder._table

    def off(self: ModelCoder, raw: Tensor) -> np.ndarray:
        return decode(self, raw * (1.0 + 1e-4 * (len(raw) < 100)))

    monkeypatch.setattr(ModelCoder, "_table", off)
    with pytest.raises(InvalidInput, match=r"does not decode to the data.*nothing was written"):
        compress(model, drawn(model, 20), path)
    assert path.read_text() == "the archive before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.anc"]


def archived(tmp_path: Path) -> tuple[Model, Path]:
    model, path = image_model(), tmp_path / "a.anc"
    compress(model, smooth(2), path)
    return model, path


BAD: dict[str, tuple[Callable[[Model, Path], Restored], str]] = {
    "no file": (lambda model, path: decompress(path / "x", model=model), "cannot read"),
    "no model": (lambda model, path: decompress(path), "made with 'pixelcnn', which is not in the zoo: give the model"),
    "another model": (lambda model, path: decompress(path, model=image_model(layers=2)), "made with another model"),
    "no archive": (lambda model, path: decompress(path.with_suffix(".png"), model=model), "not an archive of ancestral"),
    "empty": (lambda model, path: decompress(path.with_suffix(".empty"), model=model), "not an archive of ancestral"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_decompressed_is_refused_in_words(case: str, tmp_path: Path) -> None:
    model, path = archived(tmp_path)
    path.with_suffix(".png").write_bytes(b"\x89PNG and so on")
    path.with_suffix(".empty").write_bytes(b"")
    call, words = BAD[case]
    with pytest.raises(InvalidInput, match=words):
        call(model, path)


def test_a_single_datum_needs_its_model(tmp_path: Path) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    compress(model, smooth(1), path)
    with pytest.raises(InvalidInput, match="does not name its model"):
        decompress(path)
    with pytest.raises(InvalidInput, match="made with a model whose key"):
        decompress(path, model=image_model(layers=2))


def test_models_without_exact_conditionals_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"realnvp has no exact conditionals.*made"):
        compress(create("realnvp", Event.integers((1, 4, 4), 4)), torch.zeros(1, 1, 4, 4), tmp_path / "a.anc")
    with pytest.raises(Unsupported, match="whole levels"):
        compress(create("rnade", Event.real((2,))), torch.zeros(1, 2), tmp_path / "a.anc")


def test_data_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = image_model()
    with pytest.raises(InvalidInput, match="shape"):
        compress(model, torch.zeros(3, 1, 2, 2), tmp_path / "a.anc")
    with pytest.raises(InvalidInput, match="nothing to compress"):
        compress(model, smooth(0), tmp_path / "a.anc")
    make_folder(tmp_path / "in")
    other = image_model(Event.integers((1, *SIZE), 17))
    with pytest.raises(InvalidInput, match="2 or 256 levels"):
        compress(other, tmp_path / "in", tmp_path / "a.anc")
    assert not (tmp_path / "a.anc").exists()


def test_keys_tell_models_apart() -> None:
    model = image_model()
    assert model_key(model) == model_key(image_model())
    keys = {model_key(model), model_key(image_model(positions=False)), model_key(image_model(Event.integers((1, 6, 5), 255)))}
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1e-6
    assert len({*keys, model_key(model)}) == 4


def test_a_saved_model_has_the_key_of_the_one_in_memory(tmp_path: Path) -> None:
    model = create("made", Event.binary((5,)), hidden=(4,), masks=3, orders="agnostic")
    store.save(model, tmp_path)
    assert model_key(store.load(tmp_path)[0]) == model_key(model)
    assert json.loads((tmp_path / "config.json").read_text())["model"]["name"] == "made"
