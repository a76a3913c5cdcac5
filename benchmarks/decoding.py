"""Tokens a second of a Transformer, drawn and read: keys and values kept, beside Hugging Face's `generate` with its cache."""

import copy
import itertools
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from ancestral.distributions import Sharpening
from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.autoregressive.draws import Draws, EntryValue
from ancestral.models.base import Model
from ancestral.verbs.inputs import rounded

LAYERS, WIDTH, HEADS, LEVELS = 6, 384, 6, 256
BATCHES, THREADS = (1, 16), (1, 2)
TOKENS, PROMPT = 256, 1000
PEER = "Hugging Face generate, GPT-2"
Draw = Callable[[int, int], Any]
"""Draws so many texts of so many tokens, or reads as many and draws one."""


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the tables: contenders take turns, and a ratio is the median over turns of theirs."""
    tokens, prompt = (4, 8) if tiny else (TOKENS, PROMPT)
    drawing, reading = {}, {}
    notes = []
    try:
        drawing[PEER], reading[PEER] = _peer(tiny)
    except ImportError as error:
        notes.append(f"{PEER} was skipped: {error.name} is not installed.")
    model = _transformer(tiny, TOKENS)
    drawing |= {
        "ancestral": _steps(model),
        "ancestral, weights of half precision": _steps(rounded(model, "half")),
        "ancestral, weights of eight bits": _steps(rounded(model, "int8")),
        "ancestral, step by step": _steps(model, fused=False),
    }
    reading |= {
        "ancestral": _prefill(_transformer(tiny, prompt + 1), fused=True),
        "ancestral, token by token": _prefill(_transformer(tiny, prompt + 1), fused=False),
    }
    size = f"{LAYERS} layers of {WIDTH} features, {HEADS} heads, {LEVELS} tokens"
    return [
        _table(f"{size}, {tokens} drawn", drawing, tokens, repeats, notes),
        _table(f"{size}, a prompt of {prompt:,} read", reading, prompt, repeats, notes),
    ]


def _table(title: str, contenders: dict[str, Draw], tokens: int, repeats: int, notes: list[str]) -> dict[str, Any]:
    rows = []
    before = torch.get_num_threads()
    for batch, threads in itertools.product(BATCHES, THREADS):
        torch.set_num_threads(threads)
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(repeats + 1):
            for name, draw in contenders.items():
                begun = time.perf_counter()
                draw(batch, tokens)
                seconds[name].append(time.perf_counter() - begun)
        print(f"decoding: {title}: batch {batch}, {threads} threads: {seconds}", file=sys.stderr, flush=True)
        for name, times in seconds.items():
            rate = statistics.median(batch * tokens / t for t in times[1:])  # the first is a warm-up
            ratio = ""
            if PEER in seconds and name != PEER:
                ratio = f"{statistics.median(a / b for a, b in zip(seconds[PEER][1:], times[1:], strict=True)):.2f}x"
            rows.append([str(batch), str(threads), name, f"{rate:,.0f}", ratio])
    torch.set_num_threads(before)
    header = ["batch", "threads", "", "tokens/s", "as fast as generate"]
    return {"title": title, "header": header, "rows": rows, "notes": notes}


def _transformer(tiny: bool, length: int) -> AutoregressiveModel:
    size = {"width": 8, "layers": 1, "heads": 2} if tiny else {"width": WIDTH, "layers": LAYERS, "heads": HEADS}
    model = create("transformer", Event.integers((length,), LEVELS, ("time",)), **size).eval()
    if not isinstance(model, AutoregressiveModel):
        raise TypeError("a transformer is autoregressive")
    return model


def _steps(model: Model, *, fused: bool = True) -> Draw:
    if not isinstance(model, AutoregressiveModel):
        raise TypeError("a transformer is autoregressive")
    model = copy.copy(model)
    model.fused = fused
    value = EntryValue(model.head, Sharpening())

    def draw(batch: int, tokens: int) -> None:
        noise = torch.rand(batch, model.event.numel, value.noises, dtype=torch.float64)
        model.run(model.init_state(batch), Draws(value, noise), stop=tokens)

    return draw


def _prefill(model: AutoregressiveModel, fused: bool) -> Draw:
    model.fused = fused
    value = EntryValue(model.head, Sharpening())

    def draw(batch: int, tokens: int) -> None:
        noise = torch.rand(batch, tokens + 1, value.noises, dtype=torch.float64)
        given = torch.ones(batch, tokens + 1, dtype=torch.long)
        model.run(model.init_state(batch), Draws(value, noise, given, torch.arange(tokens + 1) < tokens))

    return draw


def _peer(tiny: bool) -> tuple[Draw, Draw]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import GPT2Config, GPT2LMHeadModel
    size = {"n_embd": 8, "n_layer": 1, "n_head": 2} if tiny else {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
    positions = max(2 * TOKENS, PROMPT + 1)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=LEVELS, n_positions=positions, bos_token_id=0, eos_token_id=None, **size)
    ).eval()

    def go_on(batch: int, given: int, tokens: int) -> None:
        start = torch.ones(batch, given, dtype=torch.long)
        options = {"do_sample": True, "top_k": 0, "pad_token_id": 0, "attention_mask": torch.ones_like(start)}
        model.generate(start, max_new_tokens=tokens, min_new_tokens=tokens, **options)

    return lambda batch, tokens: go_on(batch, 1, tokens), lambda batch, tokens: go_on(batch, tokens, 1)
