"""Dynamic evaluation: figures of a model that learns from what it has scored."""

import math
from pathlib import Path

import pytest
import torch

from ancestral.cli.main import main
from ancestral.cli.parsing import add_verb, make_parser, parse
from ancestral.data import ArraySplit, Data, load
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.sequence import SequenceModel
from ancestral.verbs.compress import compress
from ancestral.verbs.evaluate import evaluate

TEXT = b"that hat sat on a rat; a hen, that hat and the rat ran. "


@pytest.fixture
def novel(tmp_path: Path) -> Data:
    (tmp_path / "a.txt").write_bytes(TEXT * 30)
    return load(str(tmp_path / "a.txt"), level="character", length=24, test=0.2)


@pytest.fixture
def model(novel: Data) -> SequenceModel:
    torch.manual_seed(0)
    made = create("transformer", novel.event, width=12, layers=1, heads=1)
    assert isinstance(made, SequenceModel)
    return made.double().eval()


def test_a_model_learns_from_what_it_reads(novel: Data, model: SequenceModel) -> None:
    weights = [p.clone() for p in model.parameters()]
    still = evaluate(model, novel, context=12)
    moved = evaluate(model, novel, dynamic=1e-2)
    assert moved.nats is not None
    assert still.nats is not None
    assert moved.nats < 0.8 * still.nats
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


@pytest.mark.parametrize("options", [{"dynamic": 3e-3}, {"cache": True}, {"dynamic": 3e-3, "cache": True, "segment": 5}])
def test_the_figure_is_that_of_the_archive(
    options: dict[str, float], novel: Data, model: SequenceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ancestral.verbs.text_archive.zlib.compress", lambda content, _: bytes(9 * len(content)))
    found = evaluate(model, novel, **options)  # type: ignore[arg-type]
    made = compress(model, novel, tmp_path / "a.anc", verify=False, **options)  # type: ignore[arg-type]
    assert found.bits_per_dim == pytest.approx(made.nats / made.count / math.log(2.0), rel=1e-3)


def test_other_data_are_learned_datum_by_datum() -> None:
    event = Event.binary((6,))
    x = torch.tensor([[1, 0, 1, 1, 0, 0]], dtype=torch.uint8).expand(40, 6).contiguous()
    data = Data("same", event, {"test": ArraySplit(x)})
    model = create("made", event, hidden=(8,)).eval()
    still, moved, slow = (
        evaluate(model, data, **options)  # type: ignore[arg-type]
        for options in ({}, {"dynamic": 1e-2}, {"dynamic": 1e-2, "segment": 20})
    )
    assert moved.nats is not None
    assert slow.nats is not None
    assert still.nats is not None
    assert moved.nats < slow.nats < still.nats
    assert moved.count == 40


def test_what_cannot_learn_says_so(novel: Data, model: SequenceModel) -> None:
    data = Data("two", Event.real((2,)), {"test": ArraySplit(torch.zeros(3, 2))})
    with pytest.raises(Unsupported, match="take an autoregressive model"):
        evaluate(create("vae", Event.real((2,)), hidden=(4,), latent=1), data, dynamic=True)
    with pytest.raises(InvalidInput, match="leave them out, or dynamic"):
        evaluate(model, novel, dynamic=True, context=3)


def test_counts_of_the_training_text_are_given_by_name(novel: Data, model: SequenceModel, tmp_path: Path) -> None:
    from ancestral.verbs.dynamic import given_tokens
    from ancestral.verbs.inputs import Subject

    text = novel.event.encoding.decode(novel.split("train").tokens)  # type: ignore[union-attr,attr-defined]
    (tmp_path / "train.txt").write_bytes(text)
    subject = Subject(model, "it", str(tmp_path / "a.txt"), {"level": "character", "length": 24, "test": 0.2})
    by_name, by_file = given_tokens(subject, "train"), given_tokens(subject, tmp_path / "train.txt")
    assert by_name is not None
    assert by_file is not None
    assert torch.equal(by_name, by_file)
    warm = evaluate(subject, novel, cache=True, given="train")
    cold = evaluate(subject, novel, cache=True)
    assert (warm.nats or 0.0) < (cold.nats or 0.0)


def test_a_switch_stands_alone_or_takes_a_rate(tmp_path: Path) -> None:
    parser = make_parser("evaluate", "", "")
    add_verb(parser, evaluate, skip={"model", "data"})
    for argv, expected in (
        (["--dynamic"], True),
        (["--dynamic", "--seed", "3"], True),
        (["--dynamic", "1e-3"], 1e-3),
        (["--dynamic", "false"], False),
        (["--dynamic=0.5"], 0.5),
    ):
        assert parse(parser, argv).dynamic == expected
    for argv, expected in ((["--cache"], True), (["--cache", "--seed", "3"], True), (["--cache", "false"], False)):
        assert parse(parser, argv).cache == expected

    assert main(["evaluate", str(tmp_path), "--dynamic", "x"]) == 2
