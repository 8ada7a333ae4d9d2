"""A package's tokenizer is data from outside: it is small, makes no text much longer, and gives no code that the graph has no vector for.

A tokenizer is JSON and holds no code. What it can do is fill the memory: steps that replace each character by several, one after the
other, double a text until nothing else fits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from weighbridge.errors import PackageError
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.ragged import lengths_of

TEXT_ROWS = 32  # rows of like length that are answered at once: padded to the longest of 256, two thirds would be padding
MOST_CHARACTERS = 64 << 20  # of one tokenizer's JSON; 256,000 tokens take 33 MB
MOST_GROWTH = 256  # times the characters of a text, by all steps of its normalisation together
AGAIN = "build or download the package again"


def check_tokenizers(state: dict[str, Any]) -> None:
    """Return for an encoder's state whose tokenizers may be read; else raise PackageError that names the column and why."""
    features = state.get("features")
    for feature in features if isinstance(features, list) else ():
        if isinstance(feature, dict) and feature.get("type") == "text":
            reason = refusal(feature.get("tokenizer"))
            if reason:
                raise PackageError(f"the tokenizer of text column {str(feature.get('column'))[:40]!r} {reason}", do=AGAIN)


def refusal(tokenizer: Any) -> str:
    """Return why a tokenizer is not read, empty for one that may be."""
    if not isinstance(tokenizer, str):
        return "is not a JSON text"
    if len(tokenizer) > MOST_CHARACTERS:
        return f"has {len(tokenizer):,} characters, at most {MOST_CHARACTERS:,} are read"
    try:
        steps = json.loads(tokenizer)["normalizer"]
        factor = growth(steps)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "is not the JSON of a tokenizer"
    return f"could make a text {min(factor, 10**9):,} times as long, at most {MOST_GROWTH}" if factor > MOST_GROWTH else ""


def growth(step: Any) -> int:
    """Return how many times as long a normalisation can make a text, compatibility forms aside (they grow a text once only).

    Raises TypeError for what is not one.
    """
    if step is None:
        return 1
    kind = step["type"]
    if kind == "Sequence":
        found = 1
        for part in step["normalizers"]:
            found = min(found * growth(part), 10**12)
        return found
    if kind == "ByteLevel":  # a character of up to four bytes becomes four
        return 4
    if kind == "Prepend":
        return 1 + len(step["prepend"])
    if kind != "Replace":
        return 1
    pattern, content = step["pattern"], step["content"]
    literal = pattern.get("String") or ""
    return max(1, -(-len(content) // len(literal))) if literal else 1 + len(content)  # an expression may match between all characters


def highest_ids(encoder: Encoder) -> dict[str, np.ndarray]:
    """Return one row for the graph: of each text the highest code that its tokenizer gives, zeros elsewhere; empty without texts."""
    texts = [block for block in encoder.blocks if block.kind == "text"]
    row = {block.name: np.zeros((1, *block.shape), dtype=block.dtype) for block in encoder.blocks if block.kind != "text"}
    row |= {block.name: np.full((1, 1), block.cardinalities[0] - 1, dtype=np.int32) for block in texts}
    return row if texts else {}


def by_length(arrays: dict[str, np.ndarray], encoder: Encoder) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yield (places of rows, their blocks) until each row came once: texts from short to long, TEXT_ROWS at a time."""
    texts = {block.name: lengths_of(arrays[block.name]) for block in encoder.blocks if block.kind == "text"}
    rows = len(next(iter(arrays.values())))
    if not texts or rows <= TEXT_ROWS:
        yield np.arange(rows), arrays
        return
    order = np.argsort(np.sum(list(texts.values()), axis=0), kind="stable")
    for part in np.array_split(order, -(-rows // TEXT_ROWS)):
        taken = {name: values[part] for name, values in arrays.items()}
        yield part, taken | {name: taken[name][:, : max(1, int(lengths[part].max()))] for name, lengths in texts.items()}
