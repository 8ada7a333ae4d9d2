"""Controls of the leak gate on columns of text: planted near copies stop the data stage and are named, clean sets of eight kinds pass.

A trial runs the whole data stage on a file. Words come as often as in a language (Zipf 1949), so that honest texts share most of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from weighbridge.controls import control
from weighbridge.data.controls_leaks import TRIALS, Columns, outcome
from weighbridge.storage.seeds import rng

PAIR = re.compile(r"row ([\d,]+) \(\w+\) = row ([\d,]+) \(\w+\)")
SYLLABLES = "sel mir tan vol kep dru fal nis ark bel oum zet pra lin gos hut wek jad cor ruf".split()
IDEOGRAPHS = [chr(code) for code in range(0x4E00, 0x4E00 + 900)]
MARKS = "，。！？"
FOOTER = (
    "This message and all that is attached to it are meant for the person named above alone and may hold what is confidential; whoever"
    " has it by mistake is asked to tell the sender and to remove it. Opinions in it are those of the writer and not those of the company."
)
N, PLANTED = 240, 24


def prose(random: np.random.Generator, words: int) -> str:
    """Return a sentence of that many made words, the n-th commonest of 2,000 with a frequency of 1 / n."""
    return " ".join(_word(rank) for rank in _ranks(random, 2000, words))


def chinese(random: np.random.Generator, characters: int) -> str:
    """Return a text of ideographs with marks between clauses and no space."""
    clauses, left = [], characters
    while left > 0:
        size = min(int(random.integers(4, 12)), left)
        clauses.append(
            "".join(IDEOGRAPHS[rank] for rank in _ranks(random, len(IDEOGRAPHS), size)) + MARKS[int(random.integers(len(MARKS)))]
        )
        left -= size
    return "".join(clauses)


def _word(rank: int) -> str:
    return SYLLABLES[rank % 20] + (SYLLABLES[rank // 20 % 20] if rank >= 20 else "") + (SYLLABLES[rank // 400] if rank >= 400 else "")


def _ranks(random: np.random.Generator, size: int, n: int) -> list[int]:
    found: list[int] = np.searchsorted(_shares(size), random.random(n)).tolist()
    return found


@cache
def _shares(size: int) -> np.ndarray:
    """Return the share of words that are one of the n commonest, for n from 1 to `size`."""
    weights = 1 / np.arange(1, size + 1)
    return np.asarray(np.cumsum(weights / weights.sum()))


def _set(texts: Sequence[str]) -> Columns:
    return {"text": list(texts), "y": [str(number % 2) for number in range(len(texts))]}


def _named(texts: list[str], change: Callable[[str], str]) -> bool:
    """Say whether the stage stops for changed copies of the first PLANTED texts alone, and each pair that it names is one of them."""
    message, _ = outcome(_set(texts + [change(text) for text in texts[:PLANTED]]), columns={"text": "text"})
    pairs = [{int(row.replace(",", "")) for row in pair} for pair in PAIR.findall(message)]
    planted = all(max(pair) - min(pair) == len(texts) for pair in pairs)
    return message.startswith("leak near_duplicates: ") and message.count("leak ") == 1 and len(pairs) == 3 and planted


@control("data.leak.near_duplicates", "planted", "texts with 3 of 60 words changed, under a split by hash", trials=TRIALS, low=1)
def _edited(seed: int) -> bool:
    random = rng(seed, "controls.texts.edited")

    def change(text: str) -> str:
        words = text.split()
        for place in random.choice(len(words), 3, replace=False):
            words[place] = "other"
        return "  ".join(words).upper()

    return _named([prose(random, 60) for _ in range(N)], change)


@control(
    "data.leak.near_duplicates", "planted", "Chinese texts with two characters changed and marks of another width", trials=TRIALS, low=1
)
def _edited_chinese(seed: int) -> bool:
    random = rng(seed, "controls.texts.chinese")

    def change(text: str) -> str:
        marks = list(text)
        for place in random.choice(len(marks), 2, replace=False):
            marks[place] = "你"
        return "".join(marks).replace("，", ",").replace("！", "!")

    return _named([chinese(random, 80) for _ in range(N)], change)


@control("data.leak.near_duplicates", "planted", "short texts with a mark at the end or in other case", trials=TRIALS, low=1)
def _short_copies(seed: int) -> bool:
    random = rng(seed, "controls.texts.short")
    texts = [prose(random, int(random.integers(7, 10))) if number % 2 else chinese(random, 24) for number in range(N)]
    return _named(texts, lambda text: text.title() + "!")


@control("data.leak.near_duplicates", "planted", "texts in a common frame, with 2 of 40 words changed", trials=TRIALS, low=1)
def _framed_copies(seed: int) -> bool:
    random = rng(seed, "controls.texts.framed")
    texts = [f"Dear reader, {prose(random, 40)} {FOOTER}" for _ in range(N)]
    return _named(texts, lambda text: " ".join(["Hello", *text.split()[1:20], "other", *text.split()[21:]]))


@control("data.leak.near_duplicates", "planted", "texts changed a little leave the training rows of a given split", trials=TRIALS, low=1)
def _given(seed: int) -> bool:
    random = rng(seed, "controls.texts.given")
    texts = [prose(random, 50) for _ in range(N)]
    copies = [f"{text} indeed" for text in texts[:PLANTED]]
    part = ["test"] * 40 + ["validation"] * 30 + ["train"] * (N - 70) + ["train"] * PLANTED
    message, findings = outcome(_set(texts + copies) | {"part": part}, columns={"text": "text"}, split={"column": "part"})
    found = {finding.key: finding.value for finding in findings}
    return not message and (found["data.leak.near_duplicates"], found["data.rows"]) == (PLANTED, N)


@control("data.leak.duplicates", "planted", "half of the rows are copies, and the recipe does not say what to do", trials=TRIALS, low=1)
def _half(seed: int) -> bool:
    """The stage stops and names the key; with the key it passes."""
    random = rng(seed, "controls.texts.half")
    texts = [chinese(random, int(random.integers(10, 60))) for _ in range(N)]
    columns = {name: values * 2 for name, values in _set(texts).items()}
    message, _ = outcome(columns, columns={"text": "text"})
    after, findings = outcome(columns, columns={"text": "text"}, clean={"duplicates": "drop"})
    named = message.startswith(f"leak duplicates: {N} of {2 * N} rows") and f"row {N + 1} (" in message and message.count("leak ") == 1
    return named and not after and {finding.key: finding.value for finding in findings}["data.rows"] == N


@control("data.leak.near_duplicates", "clean", "texts of eight kinds: short, framed, forms, quotes, sequences", trials=2 * TRIALS, low=1)
def _clean(seed: int) -> bool:
    """No stop; and nothing is even suspected, but for sequences, of which many are alike by nature."""
    make = CLEAN[seed % len(CLEAN)]
    message, findings = outcome(_set(make(rng(seed, "controls.texts.clean"))), columns={"text": "text"})
    found = {finding.key: finding.value for finding in findings}
    return not message and (make is _molecules or found["data.leak.near_duplicates"] == 0)


def _plain(random: np.random.Generator) -> list[str]:
    return [prose(random, int(random.integers(15, 80))) for _ in range(N)]


def _dense(random: np.random.Generator) -> list[str]:
    return [chinese(random, int(random.integers(15, 120))) for _ in range(N)]


def _short(random: np.random.Generator) -> list[str]:
    """Three to eight words of sixty."""
    return [" ".join(_word(rank) for rank in _ranks(random, 60, int(random.integers(3, 9)))) for _ in range(N)]


def _short_dense(random: np.random.Generator) -> list[str]:
    """A few of forty phrases of two ideographs."""
    phrases = [IDEOGRAPHS[2 * rank] + IDEOGRAPHS[2 * rank + 1] for rank in range(40)]
    return ["".join(str(random.choice(phrases)) for _ in range(random.integers(3, 8))) for _ in range(N)]


def _framed(random: np.random.Generator) -> list[str]:
    """Most of each text is a greeting and a footer that all have."""
    return [f"Dear reader, {prose(random, int(random.integers(6, 25)))} Yours faithfully. {FOOTER}" for _ in range(N)]


def _forms(random: np.random.Generator) -> list[str]:
    """One form, filled in: what differs is a few digits and a place."""
    places = [_word(rank).title() for rank in range(30, 70)]
    return [
        f"Order {random.integers(10**5)}: {random.integers(1, 40)} boxes of {random.integers(1, 500)} kg leave {random.choice(places)} on"
        f" day {random.integers(1, 366)} and are expected in {random.choice(places)} within {random.integers(1, 30)} days. {FOOTER}"
        for _ in range(N)
    ]


def _quotes(random: np.random.Generator) -> list[str]:
    """Each answer quotes the one before it, which makes up half of the text."""
    texts = [prose(random, 30)]
    while len(texts) < N:
        own = prose(random, 30)
        texts.append(f"{own} > {' '.join(texts[-1].split()[:30])}")
    return texts


def _molecules(random: np.random.Generator) -> list[str]:
    """Chains with a side group: neighbours of a series differ in one character."""
    groups = ["O", "N", "Cl", "Br", "C(=O)O", "c1ccccc1", "S"]
    return [
        "C" * int(random.integers(10, 40)) + f"({random.choice(groups)})" + "C" * int(random.integers(6, 40)) + str(random.choice(groups))
        for _ in range(N)
    ]


CLEAN: Sequence[Callable[[np.random.Generator], list[str]]] = (
    _plain, _dense, _short, _short_dense, _framed, _forms, _quotes, _molecules,
)  # fmt: skip
