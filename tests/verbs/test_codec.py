"""Compression: everything comes back, in the bytes that the model says, elsewhere too; damage does no more than it must."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ancestral.coding import coder as coder_module
from ancestral.coding.coder import ModelCoder, model_key
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import Model, create, store
from ancestral.verbs.compress import compress
from ancestral.verbs.decompress import Restored, decompress
from tests.contracts.cases import Case, contract, generator

SIZE = (6, 5)


def coded(case: Case) -> bool:
    whole = case.event.levels is not None and (case.condition is None or case.condition.levels is not None)
    return case.autoregressive and whole


def image_model(event: Event | None = None, condition: Event | None = None, **options: object) -> Model:
    torch.manual_seed(0)
    event = event or Event.integers((1, *SIZE), 256)
    return create("pixelcnn", event, condition, **{"channels": 6, "layers": 1, **options}).eval()


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
        "import sys, numpy as np, torch; torch.set_num_threads(2); from ancestral import decompress;"
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
        monkeypatch.setattr("ancestral.coding.decoding.DECODE_BATCH", batch)
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


def test_each_member_of_a_mixture_is_run_once_in_passes_of_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create("made", Event.binary((5,)), hidden=(9,), masks=3, orders="agnostic").eval()
    x, passes = drawn(model, 20), []
    forward = type(model).member_forward

    def counted(self: Model, member: int, x: Tensor, condition: Tensor | None = None) -> Tensor:
        passes.append((member, len(x)))
        return forward(self, member, x, condition)

    monkeypatch.setattr(type(model), "member_forward", counted)
    monkeypatch.setattr(coder_module, "_PASS", 8 * 5)
    compress(model, x, tmp_path / "a.anc", verify=False)
    assert passes == [(member, n) for member in range(3) for n in (8, 8, 4)]


def test_bars_count_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: dict[str, tuple[int, int]] = {}

    def track(items: Iterable[object], what: str, total: int, *, progress: bool) -> Iterator[object]:
        for item in items:
            bars[what] = (bars.get(what, (0, 0))[0] + 1, total)
            yield item

    monkeypatch.setattr("ancestral.verbs.decompress.track", track)
    model, path = image_model(), tmp_path / "a.anc"
    compress(model, smooth(23), path, chunk_size=4)
    decompress(path, model=model)
    decompress(path, model=model, index=[5])
    assert bars == {"compressing": (23, 23), "checking": (23, 23), "decompressing": (23 + 4, 4)}


def test_time_is_told_of_encoding_checking_and_decoding(tmp_path: Path) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    assert compress(model, smooth(3), path, verify=False).verify_seconds == 0
    result = compress(model, smooth(3), path)
    assert min(result.encode_seconds, result.verify_seconds, decompress(path, model=model).seconds) > 0


# Bad input


def test_what_does_not_decode_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose steps are off by more than the format allows for."""
    model, path = image_model(), tmp_path / "a.anc"
    path.write_text("the archive before")
    decode = ModelCoder.table

    def off(self: ModelCoder, raw: Tensor) -> np.ndarray:
        return decode(self, raw * (1.0 + 1e-4 * (len(raw) < 100)))

    monkeypatch.setattr(ModelCoder, "table", off)
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


def test_a_single_datum_has_place_0_alone(tmp_path: Path) -> None:
    model, path = image_model(), tmp_path / "a.anc"
    compress(model, smooth(1), path)
    assert torch.equal(decompress(path, model=model, index=0).x, smooth(1))
    with pytest.raises(InvalidInput, match="no datum 5, expected 0 to 0"):
        decompress(path, model=model, index=5)


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
    assert not (tmp_path / "a.anc").exists()


def test_conditions_that_would_not_be_used_are_refused(tmp_path: Path) -> None:
    model, condition = image_model(), torch.zeros(3, dtype=torch.uint8)
    np.save(tmp_path / "x.npy", smooth(3).numpy())
    for source in (smooth(3), tmp_path / "x.npy"):
        with pytest.raises(InvalidInput, match="without a condition"):
            compress(model, source, tmp_path / "a.anc", condition=condition)
    with pytest.raises(InvalidInput, match="a data set has conditions of its own"):
        compress(create("made", Event.integers((1, 8, 8), 17)), "digits", tmp_path / "a.anc", condition=condition)


@pytest.mark.parametrize("count", [1, 3])
def test_a_model_that_gives_nan_is_refused(count: int, tmp_path: Path) -> None:
    model = create("fvsbn", Event.binary((4,)))
    with torch.no_grad():
        model.bias.view(-1)[2] = float("nan")
    with pytest.raises(InvalidInput, match="fvsbn gives NaN: its weights are not usable"):
        compress(model, torch.zeros(count, 4), tmp_path / "a.anc")
    assert list(tmp_path.iterdir()) == []


def test_what_is_decoded_at_once_is_bounded_by_what_the_model_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = create("lstm-lm", Event.integers((5,), 3, ("time",)), hidden=8).eval(), tmp_path / "a.anc"
    x, decoded, decode = drawn(model, 20), [], ModelCoder.decode
    compress(model, x, path, chunk_size=2)

    def counted(self: ModelCoder, member: int, chunks: list[tuple[int, int, bytes]]) -> object:
        decoded.append(len(chunks))
        return decode(self, member, chunks)

    monkeypatch.setattr(ModelCoder, "decode", counted)
    state = model.double().init_state(1)
    one = sum(tensor.nbytes for tensor in (state.x, *state.memory))
    for many, groups in ((1, [1] * 10), (7, [3, 3, 3, 1])):
        decoded.clear()
        monkeypatch.setattr("ancestral.coding.decoding.DECODE_BYTES", many * one)
        assert torch.equal(decompress(path, model=model).x, x)
        assert decoded == groups


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
