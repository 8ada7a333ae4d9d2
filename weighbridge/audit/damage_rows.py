"""The rows that are damaged: a sample of the test rows, raw and encoded, and what the model says of them in each condition."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit import damage_audio, damage_images, damage_table, damage_text
from weighbridge.audit.damage import Columns, Condition, Kind
from weighbridge.audit.damage_text import ALIKE
from weighbridge.preprocessing.audio import AudioFeature
from weighbridge.preprocessing.feature import objects
from weighbridge.preprocessing.ragged import ragged
from weighbridge.preprocessing.text import CHARACTERS_A_TOKEN
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject
    from weighbridge.evaluation import Predictions
    from weighbridge.preprocessing import Arrays, Encoder

ROWS = (1000, 300, 100)  # damaged rows, by what the model takes for a row
MOST_S = 40.0  # of a processor that the answers under damage may take before fewer rows are damaged
TIMED = 64  # rows whose answer is timed
TABLE = ("number", "date", "category", "set")  # types of columns that are cells of a table


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """Rows to damage, for one model.

    Attributes:
        rows: their numbers in stored order, rising.
        arrays: encoded, undamaged.
        raw: the raw columns of clips, texts and of the table.
    """

    subject: Subject
    rows: np.ndarray
    arrays: Arrays
    raw: Columns

    @classmethod
    def of(cls, subject: Subject, rows: np.ndarray) -> Damaged:
        """Return these test rows of a subject."""
        wanted = [feature.column for feature in subject.encoder.features if feature.type in ("audio", "text", *TABLE)]
        raw = {name: subject.test.column(name)[rows] for name in wanted}
        return cls(subject=subject, rows=rows, arrays=subject.arrays["test"].subset(rows), raw=raw)

    @cached_property
    def kinds(self) -> list[Kind]:
        """The kinds of damage that these rows can take, in the order image, audio, text, table."""
        found: list[Kind] = list(damage_images.KINDS) if self.subject.blocks("image") else []
        found += damage_audio.KINDS if self.columns_of("audio") else ()
        if texts := self.columns_of("text"):
            letters = {letter for name in texts for text in self.raw[name].tolist() if text for letter in text}
            idle = {"case"} if not any(letter.lower() != letter.upper() for letter in letters) else set()
            idle |= {"homoglyphs"} if not letters & set(ALIKE) else set()
            found += [kind for kind in damage_text.KINDS if kind.name not in idle]
        found += [damage_table.MISSING] if self.columns_of(*TABLE) else []
        found += [damage_table.NOISE] if self.columns_of("number") else []
        return [*found, damage_table.UNSEEN_VALUES] if self.columns_of("category") else found

    def columns_of(self, *types: str) -> list[str]:
        """Return the names of the input columns of these types."""
        return [feature.column for feature in self.subject.encoder.features if feature.type in types]

    def said(self, arrays: Arrays) -> Predictions:
        """Return what the model says of encoded rows."""
        self.subject.stop.check("finished audits are kept")
        return self.subject.predictions(self.subject.answer(arrays), arrays)

    def under(self, condition: Condition) -> Arrays:
        """Return the rows encoded after damage; equal seeds give equal damage."""
        kind = condition.kind
        random = rng(self.subject.seed, "audit", "damage", kind.key, condition.level)
        if kind.of == "image":
            names = self.subject.blocks("image")
            return self._with({name: kind.apply(self.arrays.blocks[name], condition.strength, random) for name in names})
        if kind.of == "audio":
            heard = [one for one in self.subject.encoder.features if isinstance(one, AudioFeature)]
            raw = {one.column: self.raw[one.column] for one in heard}
            return self._with(
                {
                    f"audio.{one.column}": damage_audio.damaged_clips(one, raw[one.column], kind.apply, condition.strength, random)
                    for one in heard
                }
            )
        if kind.of == "text":
            texts = {name: self._read(name) if kind.name != "truncation" else self.raw[name] for name in self.columns_of("text")}
            return self.encoded({name: kind.apply(values, condition.strength, random) for name, values in texts.items()})
        touched = {"missing": TABLE, "noise": ("number",), "unseen": ("category",)}[kind.name]
        return self.encoded(kind.apply({name: self.raw[name] for name in self.columns_of(*touched)}, condition.strength, random))

    def _read(self, name: str) -> np.ndarray:
        """Return the texts as far as the model may read them, and as much again: what is behind can be damaged at no cost."""
        feature = next(one for one in self.subject.encoder.features if one.column == name)
        most = 2 * CHARACTERS_A_TOKEN * getattr(feature, "length", 0)
        return objects([None if text is None else str(text)[:most] for text in self.raw[name].tolist()])

    def encoded(self, changed: Columns) -> Arrays:
        """Return the rows with changed raw columns: those of texts and of the table are encoded anew by the run's own encoder."""
        types = {feature.column: feature.type for feature in self.subject.encoder.features}
        texts = {name for name in changed if types[name] == "text"}
        blocks: dict[str, Any] = {}
        for part in (texts, set(self.columns_of(*TABLE)) if set(changed) - texts else set()):
            if part:
                blocks |= _some(self.subject.encoder, part).encode({**self.raw, **changed})
        return self._with({name: ragged(values) if name.startswith("text.") else values for name, values in blocks.items()})

    def _with(self, blocks: dict[str, Any]) -> Arrays:
        return replace(self.arrays, blocks={**self.arrays.blocks, **blocks})


def _some(encoder: Encoder, columns: set[str]) -> Encoder:
    """Return the encoder of some columns only."""
    steps = {name: step for name, step in encoder.steps.items() if name in columns}
    return replace(encoder, features=tuple(one for one in encoder.features if one.column in columns), target=None, steps=steps)


def cpu_seconds(subject: Subject) -> float:
    """Return about how many seconds of a processor an answer to one test row takes: a busy machine does not make it more.

    Clips are decoded for it, because their damage is done to the waveform.
    """
    few = subject.arrays["test"].subset(slice(0, TIMED))
    subject.answer(few)
    began = time.process_time()
    subject.answer(few)
    answer = (time.process_time() - began) / max(1, len(few))
    return answer + damage_audio.encode_seconds(subject.encoder, lambda name: subject.test.spread(name, damage_audio.TIMED))


def sampled(subject: Subject, sizes: Sequence[int], seconds_a_row: float, most_s: float, name: str) -> np.ndarray:
    """Return the numbers of the test rows that are measured, rising: as many as the first of `sizes` (falling) that keeps the time.

    In coarse steps, so that a machine a little slower takes the same rows. The last size is taken whatever it costs.
    """
    count = len(subject.arrays["test"])
    size = next((size for size in sizes if seconds_a_row * min(size, count) <= most_s), sizes[-1])
    return np.sort(rng(subject.seed, "audit", name).choice(count, min(size, count), replace=False))


def answers_under(
    rows: Damaged, other: Damaged | None, conditions: Sequence[Condition]
) -> Iterator[tuple[Predictions, Predictions | None]]:
    """Yield what the model says in each condition, and what the other does: of the very same rows where both read the same arrays."""
    for place, condition in enumerate(conditions):
        rows.subject.progress("damage", place, len(conditions), f"{condition.kind.key} {condition.level}")
        damaged = rows.under(condition)
        if other is None:
            yield rows.said(damaged), None
            continue
        alike = other.subject.kept.arrays == rows.subject.kept.arrays
        yield rows.said(damaged), other.said(damaged if alike else other.under(condition))
    rows.subject.progress("damage", len(conditions), len(conditions))
