"""Translating: sentences in, sentences out, by the model's own probabilities; and BLEU."""

from pathlib import Path

import pytest
import torch

from ancestral.cli.main import main
from ancestral.data import Data, load
from ancestral.encoding import TextEncoding
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models import Model, create
from ancestral.models.autoregressive.encoder_decoder import EncoderDecoder
from ancestral.verbs.beam import beam_search
from ancestral.verbs.evaluate import evaluate
from ancestral.verbs.fit import fit
from ancestral.verbs.prompts import PromptWarning
from ancestral.verbs.score import score
from ancestral.verbs.sentences import encode_sentences
from ancestral.verbs.translate import bleu, draw_attention, translate

SENTENCES = ["a man", "two dogs run", "a girl sits", "the man runs", "dogs run", "the girl"]
TRANSLATIONS = ["ein Mann", "zwei Hunde laufen", "ein Mädchen sitzt", "der Mann läuft", "Hunde laufen", "das Mädchen"]
SMALL = {
    "transformer-mt": {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "dropout": 0.0, "smoothing": 0.0},
    "conv-s2s": {"width": 16, "channels": 16, "layers": 2, "dropout": 0.0, "smoothing": 0.0},
    "bytenet-mt": {"width": 16, "sets": 1, "max_dilation": 2, "dropout": 0.0},
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split in ("train", "test"):
        (tmp_path / f"{split}.en").write_text("".join(f"{line}\n" for line in SENTENCES))
        (tmp_path / f"{split}.de").write_text("".join(f"{line}\n" for line in TRANSLATIONS))
    return load(tmp_path, languages="en-de", level="character", validation=0)


def learned(name: str, data: Data, steps: int = 250) -> Model:
    """Return a small model that knows the sentences by heart."""
    torch.manual_seed(0)
    model = create(name, data.event, data.condition, **SMALL[name]).train()
    x, condition = data.split("train").batch(torch.arange(len(SENTENCES)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(x, condition)["loss"].backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("name", SMALL)
def test_what_is_known_by_heart_is_translated(name: str, data: Data) -> None:
    model = learned(name, data)
    found = translate(model, SENTENCES, batch_size=4)
    assert [one.text for one in found] == TRANSLATIONS
    x, condition = data.split("train").batch(torch.arange(len(SENTENCES)))
    with torch.no_grad():
        expected = model.log_prob(x, condition)
    torch.testing.assert_close(torch.tensor([one.log_prob for one in found]), expected, rtol=1e-4, atol=1e-4)
    assert [one.tokens for one in found] == [len(line) + 1 for line in TRANSLATIONS]
    drawn = translate(model, SENTENCES, sample=True, seed=1)
    assert sum(one.text == text for one, text in zip(drawn, TRANSLATIONS, strict=True)) >= 3
    assert translate(model, "a man")[0].text == "ein Mann"


def test_figures_are_per_token_and_ends_are_counted(data: Data) -> None:
    model = learned("transformer-mt", data, 30)
    x, condition = data.split("test").batch(torch.arange(len(SENTENCES)))
    with torch.no_grad():
        nats = -model.log_prob(x, condition).double()
    tokens = torch.tensor([len(line) + 1 for line in TRANSLATIONS]).double()
    found = evaluate(model, data)
    assert found.nats == pytest.approx(float(nats.mean()))
    assert found.perplexity == pytest.approx(float((nats.sum() / tokens.sum()).exp()))
    assert found.bits_per_dim == pytest.approx(float(nats.sum() / tokens.sum() / torch.tensor(2.0).log()))
    size = sum(len(line.encode()) for line in TRANSLATIONS)
    assert found.bits_per_byte == pytest.approx(float(nats.sum()) / size / float(torch.tensor(2.0).log()))
    assert evaluate(model, data, limit=2).perplexity == pytest.approx(float((nats[:2].sum() / tokens[:2].sum()).exp()))
    table = score(model, data)
    assert table["tokens"].tolist() == tokens.tolist()
    assert table["log_prob"].sum() == pytest.approx(-float(nats.sum()))


def test_bleu_is_that_of_sacrebleu(data: Data) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    model = learned("transformer-mt", data, 60)
    found = bleu(model, data)
    expected = sacrebleu.corpus_bleu([one.text for one in found.translations], [TRANSLATIONS])
    assert found.bleu == pytest.approx(expected.score)
    assert found.count == len(SENTENCES)
    assert "tok:13a" in found.signature
    assert "BLEU" in str(found)
    with pytest.raises(InvalidInput, match="no split 'validation'"):
        bleu(model, data, "validation")


def test_attention_is_of_the_source(data: Data, tmp_path: Path) -> None:
    x, condition = data.split("train").batch(torch.arange(3))
    for name, layers in (("transformer-mt", 1), ("conv-s2s", 2)):
        model = learned(name, data, 1)
        assert isinstance(model, EncoderDecoder)
        weights = model.attention(x, condition)
        assert weights.shape == (3, layers, int(data.event.counted(x).max()), int(data.event.counted(condition).max()))
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
        assert float(weights[0, :, :, len("a man") + 1 :].sum()) == 0.0
        draw_attention(model, translate(model, "a man", beam=1)[0], tmp_path / "attention.png")
        assert (tmp_path / "attention.png").stat().st_size > 1000
    model = create("bytenet-mt", data.event, data.condition, **SMALL["bytenet-mt"])
    with pytest.raises(Unsupported, match="has no attention to its source"):
        model.attention(x, condition)


def test_what_cannot_be_translated_is_refused(data: Data) -> None:
    model = learned("transformer-mt", data, 1)
    with pytest.raises(InvalidInput, match="sentence 2 of 2 is empty"):
        translate(model, ["a man", "  "])
    with pytest.raises(InvalidInput, match="no sentences"):
        translate(model, [])
    bound = data.event.numel
    with pytest.raises(InvalidInput, match=f"has {bound + 1} tokens, the model reads {bound} at most"):
        translate(model, "a" * (bound + 1))
    assert len(translate(model, "a" * (bound + 1), crop=True)) == 1
    with pytest.warns(PromptWarning, match="does not know 'q'"):
        translate(model, "a q man")
    with pytest.raises(InvalidInput, match="translates nothing"):
        translate(create("lstm-lm", Event.binary((3,))), "a man")
    for name in SMALL:
        with pytest.raises(InvalidInput, match="predicts a sequence given another"):
            create(name, data.event)
    other = Event.sentences(5, 7)
    with pytest.raises(InvalidInput, match="tied='all' takes one vocabulary"):
        create("transformer-mt", data.event, other, width=8, heads=2)


def test_label_smoothing_is_of_the_training_loss_alone(data: Data) -> None:
    x, condition = data.split("train").batch(torch.arange(6))
    models = [
        create("transformer-mt", data.event, data.condition, **{**SMALL["transformer-mt"], "smoothing": a}) for a in (0.0, 0.2)
    ]
    models[1].load_state_dict(models[0].state_dict())
    plain, smoothed = (model.eval().loss(x, condition) for model in models)
    torch.testing.assert_close(plain["loss"], -models[0].log_prob(x, condition).mean())
    torch.testing.assert_close(smoothed["nats"], plain["loss"].detach())
    logits = models[1](x, condition)
    counts = data.event.counted(x)
    expected = sum(
        torch.nn.functional.cross_entropy(logits[i, :n], x[i, :n].long(), label_smoothing=0.2, reduction="sum")
        for i, n in enumerate(counts.tolist())
    )
    torch.testing.assert_close(smoothed["loss"], expected / 6)
    assert set(plain) == {"loss"}


def test_bytenet_unfolds_beyond_its_source() -> None:
    """Positions up to 1.2 times the source's are read from it, later ones follow from what is written alone."""
    event, source = Event.sentences(12, 2), Event.sentences(6, 3)
    torch.manual_seed(0)
    model = create("bytenet-mt", event, source, width=8, sets=1, max_dilation=1, tied="output", unfold=1.5).double().eval()
    condition = torch.tensor([[0, 1, 2, 3, 3, 3]])  # 4 with the end: 6 are read
    read = model.read(condition)
    assert read.values.shape[1] == 6
    x = torch.zeros(1, 12, dtype=torch.long)
    other = torch.tensor([[2, 1, 0, 3, 3, 3]])
    with torch.no_grad():
        change = (model(x, condition) - model(x, other)).abs().amax(-1)[0]
    assert bool((change[:5] > 0.0).all())
    assert bool((change[9:] == 0.0).all())  # beyond the source, and beyond what three causal taps carry on


def test_sources_are_encoded_once_for_a_beam(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    model = learned("transformer-mt", data, 1)
    assert isinstance(model, EncoderDecoder)
    sizes: list[int] = []
    read = model.read
    monkeypatch.setattr(model, "read", lambda condition: (sizes.append(len(condition)), read(condition))[1])
    beam_search(model, encode_sentences(data.event, ["a man", "dogs"]), beam=4)
    assert sizes[0] == 2


# The command


def test_the_command_translates(data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    options = {**SMALL["transformer-mt"], "steps": 60, "epochs": None, "loggers": ("csv",), "learning_rate": 0.01, "ema": 0.0}
    options |= {"warmup_steps": 0}
    fit(
        "transformer-mt",
        str(tmp_path),
        output=run,
        data_options={"languages": "en-de", "level": "character", "validation": 0},
        progress=False,
        **options,
    )
    assert main(["translate", str(run), "a man", "--beam", "2", "--length-penalty", "0.6", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert text == translate(str(run), "a man", beam=2, length_penalty=0.6)[0].text + "\n"
    lines = tmp_path / "in.txt"
    lines.write_text("a man\ndogs run\n")
    written = tmp_path / "out.txt"
    assert main(["translate", str(run), "--file", str(lines), "-o", str(written), "--quiet"]) == 0
    assert len(written.read_text().splitlines()) == 2
    assert main(["translate", str(run), "a man", "--json", "--sample", "--attention", str(tmp_path / "a.png"), "--quiet"]) == 0
    assert '"log_prob"' in capsys.readouterr().out
    assert (tmp_path / "a.png").is_file()
    pytest.importorskip("sacrebleu")
    assert main(["translate", str(run), "--data", str(tmp_path), "--split", "test", "--limit", "3", "--quiet"]) == 0
    assert "BLEU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a man", "--file", "x"], "got both sentences and --file"),
        (["a man", "--data", "multi30k"], "got both --data and sentences"),
        (["a man", "--split", "test"], "--split is for --data"),
        (["a man", "--attention", "a.txt"], "cannot write a.txt"),
    ],
)
def test_arguments_that_clash_are_refused(
    arguments: list[str], message: str, data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ancestral.models import store

    store.save(learned("transformer-mt", data, 1), tmp_path / "run")
    assert main(["translate", str(tmp_path / "run"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_encoded_sentences_are_data() -> None:
    event = Event.sentences(4, TextEncoding.fit("byte"))
    x = encode_sentences(event, ["ab", " abcd "])
    event.check(x)
    assert x.tolist() == [[97, 98, 256, 256], [97, 98, 99, 100]]
