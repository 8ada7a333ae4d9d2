"""How many tokens a second one core encodes: raw texts to the arrays that a network reads, cleaning and cutting included."""

from __future__ import annotations

import csv
import os
import time
from typing import Any

import numpy as np
from contest import Rate, spread
from text_tasks import TEXTS

BATCH_ROWS = 1024
MOST_ROWS = 500
FIT_ROWS = 300
KINDS = ("bpe", "character", "word")
VOCABULARY = 8000


def column_of(texts: str) -> np.ndarray:
    """Return the raw texts, object [n]."""
    name = TEXTS[texts][0]
    csv.field_size_limit(1 << 30)
    with open(f".data/{texts}/{texts}.csv", newline="", encoding="utf-8") as file:
        rows = [row[name] for _, row in zip(range(MOST_ROWS), csv.DictReader(file), strict=False)]
    return np.array(rows, dtype=object)


def encode_rates(repeats: int) -> list[dict[str, Any]]:
    """Print tokens a second a core for each set of texts and kind of token, and return them."""
    from weighbridge.preprocessing.text import TextFit

    os.environ["RAYON_NUM_THREADS"] = "1"  # of the tokenizers library
    fitted = {}
    for texts, (_, _, length) in TEXTS.items():
        column = column_of(texts)
        for kind in KINDS:
            generator = np.random.default_rng(0)
            fit = TextFit(texts, tokens=kind, vocabulary=VOCABULARY, length=length, normalize="nfkc", lowercase=True, generator=generator)
            fit.add(column[:FIT_ROWS])
            fitted[texts, kind] = fit.finish(), column
    rates: dict[tuple[str, str], list[Rate]] = {key: [] for key in fitted}
    for number in range(repeats + 1):
        for key, (feature, column) in fitted.items():
            rate = _one(feature, column)
            rates[key] += [rate] if number else []
    print(f"\nencode: one core, {repeats} turns, batches of {BATCH_ROWS} rows, cut to the recipe's length\n")
    print("| texts | tokens | length | tokens/s: median (min-max) | tokens a CPU second |\n| --- | --- | --- | --- | --- |")
    for (texts, kind), found in rates.items():
        wall, cpu = ([getattr(one, name) for one in found] for name in ("wall", "cpu"))
        print(f"| {texts} | {kind} | {TEXTS[texts][2]} | {spread(wall, ',.0f')} | {spread(cpu, ',.0f')} |", flush=True)
    return [
        {"part": "encode", "texts": key[0], "tokens": key[1], "rates": {"weigh": [vars(one) for one in found]}}
        for key, found in rates.items()
    ]


def _one(feature: Any, column: np.ndarray) -> Rate:
    tokens, start, used = 0, time.perf_counter(), time.process_time()
    for place in range(0, len(column), BATCH_ROWS):
        tokens += int((feature.encode(column[place : place + BATCH_ROWS]) != 0).sum())
    return Rate(wall=tokens / (time.perf_counter() - start), cpu=tokens / (time.process_time() - used))
