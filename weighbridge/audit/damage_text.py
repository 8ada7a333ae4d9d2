"""Damage to texts: typos, case, truncation, dropped words and look-alike letters at five strengths, in any script.

A Chinese character stands for a word where words are dropped and for a letter where there are typos: swapped, dropped and doubled
characters are made, homophones (the typos of a phonetic keyboard) are not, since they need a dictionary of sounds. Control characters and
spaces are never touched, so a text keeps its lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from weighbridge.audit.damage import Kind
from weighbridge.findings import Message

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEAR: dict[str, str] = {
    letter: "".join(row[max(0, place - 1) : place] + row[place + 1 : place + 2]) for row in _ROWS for place, letter in enumerate(row)
}
_CYRILLIC = dict(zip("aeopcxyijsABEKMHOPCTXIJS", "аеорсхуіјѕАВЕКМНОРСТХІЈЅ", strict=True))
_HAN = (
    "人入 大太 天夭 未末 土士 日曰 己已 千干 午牛 王玉 刀刃 田由 白自 今令 免兔 "
    "师帅 折拆 侯候 拔拨 晴睛 市巿 鸟乌 贝见 戊戌 处外 小少 问间 住往 没设 买卖 特持"
)
ALIKE: dict[str, str] = _CYRILLIC | {one: other for pair in _HAN.split() for one, other in ((pair[0], pair[1]), (pair[1], pair[0]))}
_WIDE = {chr(code): chr(code + 0xFEE0) for code in (*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x61, 0x7B))}
_PIECES = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\s\u3400-\u9fff\uf900-\ufaff]+")
_WORDS = re.compile(r"\S+")
Change = Callable[[str, float, np.random.Generator], str]


def _each(change: Change) -> Callable[[np.ndarray, float, np.random.Generator], np.ndarray]:
    """Return the damage of a column: each text is changed alone, a missing one stays missing."""

    def apply(texts: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
        changed = [None if text is None else change(str(text), level, random) for text in texts.tolist()]
        return np.fromiter(changed, dtype=object, count=len(texts))

    return apply


def typos(text: str, share: float, random: np.random.Generator) -> str:
    """Return the text with this share of its letters mistyped: swapped with the next, left out, doubled, or the key beside it."""
    letters = list(text)
    where = [place for place, letter in enumerate(letters) if letter.isalnum()]
    for place in _drawn(where, share, random):
        way = int(random.integers(0, 4))
        letter = letters[place]
        if way == 0 and place + 1 < len(letters) and len(letters[place + 1]) == 1 and letters[place + 1].isalnum():
            letters[place], letters[place + 1] = letters[place + 1], letter
        elif way == 1:
            letters[place] = ""
        elif way == 2 or letter.lower() not in NEAR:
            letters[place] = letter * 2
        else:
            near = NEAR[letter.lower()]
            key = near[int(random.integers(0, len(near)))]
            letters[place] = key.upper() if letter.isupper() else key
    return "".join(letters)


def case(text: str, share: float, random: np.random.Generator) -> str:
    """Return the text with this share of its words in the other case: capitals, or small letters where it was all capitals."""
    spans = [found.span() for found in _WORDS.finditer(text)]
    for place in _drawn(list(range(len(spans))), share, random):
        first, last = spans[place]
        word = text[first:last]
        other = word.lower() if word.isupper() else word.upper()
        text = text[:first] + (other if len(other) == len(word) else word) + text[last:]  # a capital may be two letters
    return text


def truncate(text: str, kept: float, random: np.random.Generator) -> str:
    """Return the first `kept` share of the text's characters, one at least."""
    return text[: max(1, round(kept * len(text)))]


def drop(text: str, share: float, random: np.random.Generator) -> str:
    """Return the text without this share of its words; one at least stays. A Chinese character counts as a word."""
    spans = [found.span() for found in _PIECES.finditer(text)]
    gone = _drawn(list(range(len(spans))), share, random)[: max(0, len(spans) - 1)]
    for place in sorted(gone, reverse=True):
        first, last = spans[place]
        text = text[:first] + text[last:]
    return text


def alike(text: str, share: float, random: np.random.Generator) -> str:
    """Return the text with this share of its letters written in others that look alike: Cyrillic, wide forms, like characters."""
    letters = list(text)
    where = [place for place, letter in enumerate(letters) if letter in ALIKE or letter in _WIDE]
    for place in _drawn(where, share, random):
        letter = letters[place]
        letters[place] = ALIKE.get(letter) or _WIDE[letter]
    return "".join(letters)


def _drawn(places: list[int], share: float, random: np.random.Generator) -> list[int]:
    """Return about this share of the places, in random order: the whole part for sure, the rest by lot, so that short texts count too."""
    exact = share * len(places)
    count = int(exact) + int(random.random() < exact - int(exact))
    return [places[int(at)] for at in random.permutation(len(places))[:count]]


FEW = (0.01, 0.02, 0.05, 0.10, 0.20)
MANY = (0.05, 0.1, 0.2, 0.3, 0.5)
_LETTERS = Message("share of the letters")
_OF_WORDS = Message("share of the words")
KINDS: tuple[Kind, ...] = (
    Kind(of="text", name="typos", title=Message("typos"), levels=FEW, apply=_each(typos), unit=_LETTERS),
    Kind(of="text", name="case", title=Message("changed case"), levels=(0.2, 0.4, 0.6, 0.8, 1.0), apply=_each(case), unit=_OF_WORDS),
    Kind(
        of="text", name="truncation", title=Message("truncated texts"), levels=(0.9, 0.75, 0.5, 0.25, 0.1), apply=_each(truncate),
        unit=Message("share of the text that is kept"),
    ),
    Kind(of="text", name="dropped_words", title=Message("dropped words"), levels=MANY, apply=_each(drop), unit=_OF_WORDS),
    Kind(of="text", name="homoglyphs", title=Message("look-alike letters"), levels=FEW, apply=_each(alike), unit=_LETTERS),
)  # fmt: skip
