"""The unit of figures: what an event says, in every verb that prints or writes one."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ancestral.data import ArraySplit, Data, load
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.base import Model
from ancestral.pcm import PCM
from ancestral.verbs.compare import compare
from ancestral.verbs.compress import compress
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.score import score

TEXT = b"the cat sat on the mat, and the rat sat on the cat. " * 12


def data_of(kind: str, folder: Path) -> Data:
    generator = torch.Generator().manual_seed(0)
    if kind == "drawings":
        points = np.array([[3, 0, 0], [0, -4, 1], [5, 5, 1], [1, 2, 0], [2, 1, 1]], np.int16)
        lengths = np.array([3, 2], np.int32)
        arrays = {
            f"{split}_{what}": x for split in ("train", "test") for what, x in (("strokes", points), ("lengths", lengths))
        }
        np.savez(folder / "a.npz", **arrays)  # type: ignore[arg-type]
        return load(str(folder / "a.npz"), validation=0)
    if kind == "sentences":
        for language, word in (("en", "cat"), ("de", "katze")):
            (folder / f"train.{language}").write_text("".join(f"{word * (1 + i % 3)}\n" for i in range(40)))
        return load(str(folder), level="byte", languages="en-de", length=18)
    if kind in ("byte", "character"):
        (folder / "a.txt").write_bytes(TEXT)
        return load(str(folder / "a.txt"), level=kind, length=16, test=150)
    event = Event.audio(8, PCM(8000)) if kind == "sounds" else Event.integers((1, 2, 4), 256)
    x = torch.randint(256, (30, *event.shape), generator=generator).to(torch.uint8)
    return Data(kind, event, {split: ArraySplit(x) for split in ("train", "test")}, about=kind)


MODELS: dict[str, tuple[str, dict[str, object]]] = {
    "images": ("made", {"hidden": (4,)}),
    "sounds": ("wavenet", {"channels": 4, "skip": 4, "sets": 1, "max_dilation": 2}),
    "byte": ("lstm-lm", {"width": 4, "layers": 1}),
    "character": ("lstm-lm", {"width": 4, "layers": 1}),
    "sentences": ("transformer-mt", {"width": 8, "layers": 1, "heads": 1}),
    "drawings": ("handwriting-rnn", {"hidden": 4, "layers": 1, "components": 2}),
}
UNITS = {
    "images": "bits/dim", "sounds": "bits/sample", "byte": "bits/byte", "character": "bits/character",
    "sentences": "bits/token", "drawings": "nats/point",
}  # fmt: skip


def model_of(kind: str, data: Data) -> Model:
    name, options = MODELS[kind]
    torch.manual_seed(0)
    return create(name, data.event, data.condition, **options).eval()


def units_of(data: Data) -> torch.Tensor:
    """How many of what figures are per each datum of the test split has, counted one by one."""
    part = data.split("test")
    x, _ = part.batch(torch.arange(len(part)))
    if data.event.is_drawing:
        return torch.tensor([next(i for i, point in enumerate(one, 1) if point[2] == 2 or i == len(one)) for one in x])
    if data.event.end:
        ends = [row.index(data.event.end_symbol) if data.event.end_symbol in row else len(row) - 1 for row in x.tolist()]
        return torch.tensor(ends) + 1
    return torch.full((len(x),), data.event.numel)


@pytest.mark.parametrize("kind", MODELS)
def test_one_unit_in_every_verb(kind: str, tmp_path: Path) -> None:
    data = data_of(kind, tmp_path)
    model, unit = model_of(kind, data), UNITS[kind]
    log = 1.0 if unit.startswith("nats") else math.log(2.0)
    column, units = unit.replace("/", "_per_"), units_of(data)
    assert data.event.unit == unit

    table = score(model, data)
    np.testing.assert_allclose(table[column], -table["log_prob"] / units.numpy() / log)
    assert list(table.columns)[-1] == column

    nats = -float(table["log_prob"].mean())
    compared = compare([model, model], data)
    assert compared.unit == unit
    assert compared.table[column][0] == pytest.approx(nats / float(units.double().mean()) / log)

    found = evaluate(model, data)
    assert found.unit == unit
    assert f" {unit}" in str(found)
    assert str(found).count("bits/") + str(found).count("nats/") == (2 if kind in ("character", "sentences") else 1)
    if kind not in ("byte", "character"):  # a text is read whole, not by its windows alone
        assert f"{nats / float(units.double().mean()) / log:.4f}" in str(found)


@pytest.mark.parametrize("kind", ["images", "sounds", "sentences"])
def test_archives_are_in_the_unit_of_the_data(kind: str, tmp_path: Path) -> None:
    data = data_of(kind, tmp_path)
    done = compress(model_of(kind, data), data, tmp_path / "a.anc", verify=False)
    assert done.unit == UNITS[kind]
    assert done.bits_per_dim == pytest.approx(8 * done.bytes / int(units_of(data).sum()))
