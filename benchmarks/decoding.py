"""Tokens a second of a Transformer: steps with keys and values kept, beside Hugging Face's `generate` with its cache."""

import itertools
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

from ancestral.event import Event
from ancestral.models import create
from ancestral.models.autoregressive.base import AutoregressiveModel
from ancestral.models.base import Model
from ancestral.verbs.inputs import rounded

LAYERS, WIDTH, HEADS, LEVELS = 6, 384, 6, 256
BATCHES, THREADS = (1, 16), (1, 2)
TOKENS = 256
PEER = "Hugging Face generate, GPT-2"
Draw = Callable[[int, int], Any]
"""Draws so many texts of so many tokens."""


def measure(tiny: bool, repeats: int) -> list[dict[str, Any]]:
    """Return the table: contenders take turns, and a ratio is the median over turns of theirs."""
    tokens = 4 if tiny else TOKENS
    contenders, notes = _contenders(tiny)
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
        print(f"decoding: batch {batch}, {threads} threads: {seconds}", file=sys.stderr, flush=True)
        for name, times in seconds.items():
            rate = statistics.median(batch * tokens / t for t in times[1:])  # the first is a warm-up
            ratio = ""
            if PEER in seconds and name != PEER:
                ratio = f"{statistics.median(a / b for a, b in zip(seconds[PEER][1:], times[1:], strict=True)):.2f}x"
            rows.append([str(batch), str(threads), name, f"{rate:,.0f}", ratio])
    torch.set_num_threads(before)
    return [
        {
            "title": f"{LAYERS} layers of {WIDTH} features, {HEADS} heads, {LEVELS} tokens, {tokens} drawn",
            "header": ["batch", "threads", "", "tokens/s", "as fast as generate"],
            "rows": rows,
            "notes": notes,
        }
    ]


def _contenders(tiny: bool) -> tuple[dict[str, Draw], list[str]]:
    size = {"width": 8, "layers": 1, "heads": 2} if tiny else {"width": WIDTH, "layers": LAYERS, "heads": HEADS}
    model = create("transformer", Event.integers((TOKENS,), LEVELS, ("time",)), **size).eval()
    found = {"ancestral": _steps(model), "ancestral, weights of eight bits": _steps(rounded(model, "int8"))}
    try:
        peer = _peer(tiny)
    except ImportError as error:
        return found, [f"{PEER} was skipped: {error.name} is not installed."]
    return {PEER: peer, **found}, []


def _steps(model: Model) -> Draw:
    if not isinstance(model, AutoregressiveModel):
        raise TypeError("a transformer is autoregressive")
    generator = torch.Generator().manual_seed(0)

    def draw(batch: int, tokens: int) -> None:
        model.run(model.init_state(batch), lambda entry, raw: model.head(raw).draw(generator), stop=tokens)

    return draw


def _peer(tiny: bool) -> Draw:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import GPT2Config, GPT2LMHeadModel
    size = {"n_embd": 8, "n_layer": 1, "n_head": 2} if tiny else {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=LEVELS, n_positions=2 * TOKENS, bos_token_id=0, eos_token_id=None, **size)
    ).eval()

    def draw(batch: int, tokens: int) -> None:
        start = torch.ones(batch, 1, dtype=torch.long)
        options = {"do_sample": True, "top_k": 0, "pad_token_id": 0, "attention_mask": torch.ones_like(start)}
        model.generate(start, max_new_tokens=tokens, min_new_tokens=tokens, **options)

    return draw
