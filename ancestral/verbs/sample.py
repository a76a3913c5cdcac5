"""Sampling: any number of data, in batches, and the files they are written to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ancestral.errors import InvalidInput, Unsupported
from ancestral.event import Event
from ancestral.files import replacing
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.verbs import pictures
from ancestral.verbs.audio_files import AUDIO_FILES, save_audio
from ancestral.verbs.drawing import Drawn, DrawOptions, Method, Watch, draw_entries
from ancestral.verbs.inputs import Named, auto_batch_size, check_counts, evaluating, open_model, track
from ancestral.verbs.prompts import Prompt, make_course, text_encoding
from ancestral.verbs.sentences import encode_sentences

FILES = (".png", ".pdf", ".svg", ".npy", ".csv", ".parquet", ".txt", *AUDIO_FILES)
"""Suffixes of the files that samples are written to."""
Condition = Tensor | Sequence[float] | int | float | str | None
"""What is given for a condition; see `conditions_for`."""


def sample(
    model: Named,
    n: int,
    condition: Condition = None,
    *,
    prompt: Prompt = None,
    length: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    bias: float = 0.0,
    method: Method = "sequential",
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool = False,
    watch: Watch | None = None,
) -> Tensor:
    """Draw data from a model.

    Data of autoregressive models are drawn from noise of their own, which depends on `seed` and the number of the datum
    alone: datum 5 is the same whatever `n`, `batch_size` and `method` are. That is so up to rounding: in single
    precision a batch of another size may round a probability differently by 1e-7, and where the noise of an entry is
    as near to the edge between two values, that datum takes another course from there on.

    A prompt is the beginning of the data, and is returned with them. What follows it depends on it and on the noise of the
    entries that follow: if it is how a datum would have begun, that datum goes on as it would have. Sequences can be of any
    length: where that is beyond what the model is made for (`SequenceModel.longest`), it reads them in windows, and
    each entry is drawn given the last half of a window at least; see `ancestral.models.autoregressive.windows.windows`.

    Args:
        model: the model, or its zoo name, run directory or hub repository.
        n: number of data.
        condition: for conditional models: one for all (3), one for each ((n, *shape)), or "all" for each class in turn; of
            models that are given sentences, the text of one.
        prompt: what the data begin with: text, for models of text; or values of the first entries, (entries,) for all data
            or (n, entries); of drawings the first points, (points, 3) or (n, points, 3), such as a hand to go on in.
            Autoregressive models of data with one axis and of drawings, that draw the first entry first.
        length: entries that are drawn after the prompt, of sequences; as many as the event has where None. Other data have
            the entries of the event in all.
        temperature: below 1 sharpens the conditionals of the entries, above 1 evens them out: other than 1, draws are not
            from the model's distribution any more. Discrete data and autoregressive models only, as `top_k` and `top_p`.
        top_k: values of an entry that can be drawn, the likeliest ones; all where None.
        top_p: the fewest values of an entry can be drawn that have this probability together; all where None.
        bias: above 0 makes the mixtures of Gaussians of real entries narrower, exp(bias) times, and their weights sharper:
            draws are tidier, and not from the model's distribution any more. Autoregressive models of real entries and of
            drawings.
        method: sequential (one entry after another) or parallel (all at once, again and again, until nothing changes):
            the same data at another cost.
        seed: seed of the draws; the same seed gives the same data on the same kind of device.
        batch_size: data drawn at once; a size that fits in memory where None.
        progress: show a progress bar.
        watch: called after each step with the data so far and whether each entry is known, (n, *event.shape) both.

    Returns:
        (n, *event.shape), of type `event.dtype`, on the CPU; of sequences (n, prompt and length together) where either is
        given.

    Raises:
        Unsupported: if the model cannot be sampled, or not in the way that is asked for.
        InvalidInput: if the condition is missing, superfluous or out of range, or an option is, or the prompt does not fit.

    Warns:
        PromptWarning: if the prompt has words that the model does not know.
    """
    options = DrawOptions(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        bias=bias,
        method=method,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
        watch=watch,
    )
    return draw(model, n, condition, options, prompt=prompt, length=length).x


def draw(
    model: Named,
    n: int,
    condition: Condition = None,
    options: DrawOptions | None = None,
    *,
    prompt: Prompt = None,
    length: int | None = None,
) -> Drawn:
    """Draw data as `sample` does, and say how often the network was called.

    Args:
        model: as in `sample`, and so are `n` and `condition`.
        n: number of data.
        condition: for conditional models.
        options: how; the defaults of `sample` where None.
        prompt: as in `sample`, and so is `length`.
        length: entries that are drawn after it.

    Returns:
        The data with the number of calls.

    Raises:
        Unsupported: if the model cannot be sampled, or not in the way that is asked for.
        InvalidInput: if the condition is missing, superfluous or out of range, or the prompt does not fit.

    >>> from ancestral.models import create
    >>> model = create("fvsbn", Event.binary((6,)))
    >>> drawn = draw(model, 2, options=DrawOptions(method="parallel"))
    >>> bool((drawn.x == draw(model, 2).x).all()), drawn.steps
    (True, 6)
    """
    check_counts(n=n)
    options = options or DrawOptions()
    model = open_model(model).model
    conditions = conditions_for(model, n, condition)
    if isinstance(model, AutoregressiveModel):
        return draw_entries(make_course(model, n, prompt, length), conditions, options)
    parts = {
        "prompt": prompt is not None,
        "length": length is not None,
        str(options.sharpening): not options.sharpening.exact,
        "method": options.method != "sequential",
        "watch": options.watch is not None,
    }
    for what, asked in parts.items():
        if asked:
            raise Unsupported(
                f"{what}: a {model.name} draws a datum whole; only autoregressive models draw its entries one by one:"
                " leave it out"
            )
    return _draw_whole(model, n, conditions, options)


def _draw_whole(model: Model, n: int, conditions: Tensor | None, options: DrawOptions) -> Drawn:
    generator = torch.Generator(device=model.device).manual_seed(options.seed)
    size = options.batch_size or auto_batch_size(model.event)
    x = []
    with evaluating(model):
        for start in track(range(0, n, size), "sampling", -(-n // size), progress=options.progress):
            given = None if conditions is None else conditions[start : start + size].to(model.device)
            x.append(model.sample(min(size, n - start), given, generator=generator).cpu())
    return Drawn(torch.cat(x), model.event, calls=len(x), steps=0)


def conditions_for(model: Model, n: int, condition: Condition) -> Tensor | None:
    """Return a condition for each of `n` data.

    Args:
        model: the model.
        n: number of data.
        condition: as in `sample`; text is "all", or numbers with commas between them, or where the model is given
            sentences, one.

    Raises:
        InvalidInput: if it is missing, superfluous, of another shape or out of range.
    """
    event = model.condition
    if event is None or condition is None:
        if event is not None and event.shape == () and condition is None:
            raise InvalidInput(
                f"this {model.name} needs a condition, got none: give a class from 0 to {(event.levels or 1) - 1}, or all"
            )
        return model.check_condition(None if condition is None else torch.zeros(n), n)
    if condition == "all":
        return pictures.example_conditions(event, n)
    if isinstance(condition, str) and event.end and event.encoding is not None:
        condition = encode_sentences(event, [condition])[0]
    elif isinstance(condition, str):
        try:
            numbers = [float(part) for part in condition.split(",")]
        except ValueError:
            raise InvalidInput(f"the condition {condition!r} is not a number, numbers with commas, or all") from None
        condition = numbers[0] if event.shape == () and len(numbers) == 1 else numbers
    value = condition if isinstance(condition, Tensor) else torch.tensor(condition)
    if value.dim() == len(event.shape):
        if tuple(value.shape) != event.shape and value.numel() == event.numel:
            value = value.view(event.shape)
        value = value.expand(n, *value.shape)
    event.check(value, "condition")
    return model.check_condition(value.to(event.dtype), n)


def save(x: Tensor, event: Event, path: Path | str, names: tuple[str, ...] = ()) -> None:
    """Write data to a file by its suffix: a picture, .npy, a table with one row for each datum, text .txt, sound .wav.

    Args:
        x: data, (n, *event.shape).
        event: what a datum is.
        path: the file; it is whole or not changed at all.
        names: of the columns of a table; by axis and number where not given.

    Raises:
        InvalidInput: for another suffix, .txt where the data are no text, or .wav or .flac where they are no sounds.
    """
    import pandas

    from ancestral.verbs.score import check_suffix, save_table
    from ancestral.verbs.writing import save_texts, texts

    check_suffix(path, FILES)
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        with replacing(path) as temporary:
            np.save(temporary, x.numpy(), allow_pickle=False)
    elif suffix in (".csv", ".parquet"):
        columns = list(names) or column_names(event)
        save_table(pandas.DataFrame(x.flatten(1).numpy(), columns=columns), path)
    elif suffix == ".txt":
        text_encoding(event, "the suffix .txt", "choose another")
        save_texts(texts(event, x), path)
    elif suffix in AUDIO_FILES:
        save_audio(x, event, path)
    else:
        pictures.samples(event, x, path, names)


def column_names(event: Event) -> list[str]:
    """Return a name for each entry of an event.

    >>> column_names(Event.binary((1, 2, 2)))
    ['c0_h0_w0', 'c0_h0_w1', 'c0_h1_w0', 'c0_h1_w1']
    """
    short = [axis if len(event.shape) == 1 else axis[0] for axis in event.axes]
    if len(set(short)) < len(short):
        short = [f"{axis}_" for axis in event.axes]
    return ["_".join(f"{axis}{i}" for axis, i in zip(short, index, strict=True)) for index in np.ndindex(event.shape)]
