"""Translation: sentences into another language by beam search or by sampling, and BLEU on a split."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from ancestral.data import Data, PairSplit
from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.verbs.beam import beam_search
from ancestral.verbs.drawing import DrawOptions
from ancestral.verbs.inputs import Named, check_counts, evaluating, open_data, open_model, track
from ancestral.verbs.prompts import text_encoding
from ancestral.verbs.sample import draw
from ancestral.verbs.sentences import encode_sentences, filled

BATCH = 64
"""Sentences that are translated at once, where no number is given."""
RESAMPLES = 1000
"""Splits that are drawn again for the standard error of BLEU."""


@dataclass(frozen=True)
class Translation:
    """A sentence in another language.

    Args:
        source: the sentence.
        text: its translation.
        log_prob: log p(translation | sentence), nats.
        tokens: entries of the translation, its end symbol among them.
    """

    source: str
    text: str
    log_prob: float
    tokens: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class Bleu:
    """How well a split was translated.

    Args:
        bleu: corpus BLEU, from 0 to 100.
        standard_error: of it, over splits drawn again from these sentences.
        signature: how it was computed, as sacrebleu states it.
        count: sentences.
        seconds: time that translating them took.
        translations: the translations, in the split's order.
        model: the model's name.
        data: the name of the data.
        split: the split.
        how: how the translations were searched for.
    """

    bleu: float
    standard_error: float
    signature: str
    count: int
    seconds: float
    translations: list[Translation]
    model: str
    data: str
    split: str
    how: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-able values, without the translations."""
        return {name: value for name, value in asdict(self).items() if name != "translations"}

    def __str__(self) -> str:
        return (
            f"{self.model} on {self.data} ({self.split}, {self.count} sentences): BLEU {self.bleu:.2f} ±"
            f" {self.standard_error:.2f} ({self.signature}), {self.how}, {self.seconds:.1f} s"
        )


def translate(
    model: Named,
    sentences: str | Sequence[str],
    *,
    beam: int = 5,
    length_penalty: float = 1.0,
    sample: bool = False,
    crop: bool = False,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
) -> list[Translation]:
    """Translate sentences.

    Args:
        model: a model of sentences given sentences, or its zoo name, run directory or hub repository.
        sentences: one, or several.
        beam: beginnings that the search keeps; 1 takes the likeliest symbol each time.
        length_penalty: the power of the length that log-probabilities are divided by to compare them.
        sample: draw a translation from the model, in place of searching for a likely one.
        crop: cut sentences that are longer than the model's bound, which are refused else.
        seed: seed of the draws.
        batch_size: sentences translated at once; 64 where None.
        progress: show a progress bar.

    Returns:
        Their translations, in the same order.

    Raises:
        Unsupported: if the model does not draw one entry after another.
        InvalidInput: if the model does not translate, there are no sentences, or one is empty or too long.

    Warns:
        PromptWarning: if sentences have characters or words that the model does not know.
    """
    opened = open_model(model).model
    lines = [sentences] if isinstance(sentences, str) else list(sentences)
    if not lines:
        raise InvalidInput("there are no sentences to translate: give at least one")
    source, _ = _sides(opened)
    return _translated(
        opened,
        lines,
        encode_sentences(source, lines, crop=crop),
        beam=beam,
        length_penalty=length_penalty,
        sample=sample,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )


def bleu(
    model: Named,
    data: Data | str | None = None,
    split: str = "test",
    *,
    beam: int = 5,
    length_penalty: float = 1.0,
    sample: bool = False,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
) -> Bleu:
    """Translate a split, and compare with its own translations by BLEU, as sacrebleu has it.

    Args:
        model: a model of sentences given sentences, or its zoo name, run directory or hub repository.
        data: translations, their name or path; what the model was trained on where None.
        split: name of the split.
        beam: as in `translate`, and so is what follows.
        length_penalty: the power of the length.
        sample: draw, in place of searching.
        limit: sentences used, the first ones; all where None.
        seed: seed of the draws.
        batch_size: sentences translated at once.
        progress: show a progress bar.

    Raises:
        Unsupported: if the model does not draw one entry after another.
        InvalidInput: if sacrebleu is not installed, the model does not translate, or the data are no translations.

    References:
        A Call for Clarity in Reporting BLEU Scores (Post, 2018), https://arxiv.org/abs/1804.08771.
        Statistical Significance Tests for Machine Translation Evaluation (Koehn, 2004),
        https://aclanthology.org/W04-3250, for the standard error.
    """
    try:
        from sacrebleu.metrics import BLEU  # type: ignore[import-not-found,attr-defined,unused-ignore]
    except ImportError as error:
        raise InvalidInput("BLEU needs sacrebleu, which is not installed: pip install ancestral[translation]") from error
    check_counts(limit=limit)
    subject = open_model(model)
    _sides(subject.model)
    data = open_data(data, subject)
    part = data.split(split)
    if not isinstance(part, PairSplit):
        raise InvalidInput(f"BLEU is for translations, {data.name} is {data.event}: name data such as multi30k")
    count = min(limit or len(part), len(part))
    condition = part.sources.padded(torch.arange(count), part.event)
    sources, references = (side[:count] for side in part.lines)
    began = time.perf_counter()
    found = _translated(
        subject.model,
        sources,
        condition,
        beam=beam,
        length_penalty=length_penalty,
        sample=sample,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    seconds = time.perf_counter() - began
    metric, texts = BLEU(), [one.text for one in found]
    value = metric.corpus_score(texts, [references])
    resampled = BLEU()
    interval = resampled.corpus_score(texts, [references], n_bootstrap=RESAMPLES)  # of 95 percent
    told = json.loads(interval.format(signature=str(resampled.get_signature()), is_json=True))
    standard_error = told.get("confidence_var", 0.0) / NormalDist().inv_cdf(0.975)  # sacrebleu leaves out an interval at 0
    how = "sampled" if sample else f"beam {beam}, length penalty {length_penalty:g}"
    signature = str(metric.get_signature())
    return Bleu(value.score, standard_error, signature, count, seconds, found, subject.name, data.name, split, how)


def _sides(model: Model) -> tuple[Event, Event]:
    """Return what is translated, and into what.

    Raises:
        Unsupported: if the model does not draw one entry after another.
        InvalidInput: if it does not translate.
    """
    if model.condition is None or model.condition.encoding is None or model.event.encoding is None:
        raise InvalidInput(
            f"this {model.name} is of {model.event} given {model.condition}, and translates nothing: train transformer-mt,"
            " conv-s2s or bytenet-mt on translations such as multi30k"
        )
    if not isinstance(model, AutoregressiveModel):
        raise Unsupported(f"a {model.name} draws a datum whole; translating needs a model such as transformer-mt")
    return model.condition, model.event


def _translated(
    model: Model,
    lines: Sequence[str],
    condition: Tensor,
    *,
    beam: int,
    length_penalty: float,
    sample: bool,
    seed: int,
    batch_size: int | None,
    progress: bool,
) -> list[Translation]:
    check_counts(beam=beam, batch_size=batch_size)
    if not isinstance(model, AutoregressiveModel) or model.condition is None:
        raise Unsupported(f"a {model.name} does not translate: take a model such as transformer-mt")
    if sample:
        x = draw(model, len(lines), condition, DrawOptions(seed=seed, batch_size=batch_size, progress=progress)).x
        return _texts(model, lines, x, _log_probs(model, x, condition, batch_size or BATCH))
    x = torch.empty(len(lines), *model.event.shape, dtype=model.event.dtype)
    log_prob = torch.empty(len(lines), dtype=torch.float64)
    # Sentences of similar length end at about the same step.
    batches = model.condition.lengths(condition).argsort(stable=True).split(batch_size or BATCH)
    for rows in track(batches, "translating", len(batches), progress=progress):
        found = beam_search(model, condition[rows], beam=beam, length_penalty=length_penalty)
        x[rows], log_prob[rows] = found.x, found.log_prob
    return _texts(model, lines, x, log_prob)


def _log_probs(model: Model, x: Tensor, condition: Tensor, size: int) -> Tensor:
    with evaluating(model):
        parts = zip(x.split(size), condition.split(size), strict=True)
        return torch.cat([model.log_prob(a.to(model.device), c.to(model.device)).double().cpu() for a, c in parts])


def _texts(model: Model, lines: Sequence[str], x: Tensor, log_prob: Tensor) -> list[Translation]:
    event = model.event
    encoding = text_encoding(event, "a translation", "take the numbers")
    counts = event.counted(x).tolist()
    found = (encoding.decode_text(event.until_end(row).long()) for row in x)
    rows = zip(lines, found, log_prob.tolist(), counts, strict=True)
    return [Translation(line.strip(), text.strip(), value, count) for line, text, value, count in rows]


def draw_attention(model: Named, translation: Translation, path: Path | str) -> None:
    """Draw which words of a sentence each word of its translation gathers from, the mean over layers and heads.

    Args:
        model: a model with attention to its source.
        translation: from `translate`.
        path: the picture, .png, .pdf or .svg.

    Raises:
        Unsupported: if the model has no attention.
        InvalidInput: if the suffix is of no picture.
    """
    from matplotlib.figure import Figure

    from ancestral.models.autoregressive.encoder_decoder import EncoderDecoder
    from ancestral.verbs.pictures import save_figure
    from ancestral.verbs.score import check_suffix

    check_suffix(path, (".png", ".pdf", ".svg"))
    opened = open_model(model).model
    if not isinstance(opened, EncoderDecoder):
        raise Unsupported(f"a {opened.name} has no attention to a source; transformer-mt and conv-s2s have")
    source, target = _sides(opened)
    condition = encode_sentences(source, [translation.source], crop=True)
    tokens = text_encoding(target, "a translation", "take the numbers").encode(translation.text.encode())
    x = filled(target, tokens)[None]
    with evaluating(opened):
        weights = opened.attention(x.to(opened.device), condition.to(opened.device))[0].mean(0).cpu()
    across, down = (_labels(event, row[0]) for event, row in ((source, condition), (target, x)))
    figure = Figure(figsize=(1.5 + 0.32 * len(across), 1.2 + 0.28 * len(down)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(weights[: len(down), : len(across)].numpy(), cmap="Blues", vmin=0.0, aspect="auto")
    axes.set_xticks(range(len(across)), across, rotation=90)
    axes.set_yticks(range(len(down)), down)
    axes.tick_params(length=0)
    save_figure(figure, path)


def _labels(event: Event, row: Tensor) -> list[str]:
    encoding = text_encoding(event, "a label", "take the numbers")
    pieces = [encoding.decode_text(token[None].long()) for token in event.until_end(row)]
    return [*pieces, "\N{RETURN SYMBOL}"][: event.numel]
