"""The rows that are explained, before a model of which only the answers are read: what it still says with some parts switched off.

n rows, U parts of a row, M masks, K background rows, C classes or labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from weighbridge.preprocessing import Arrays, Ragged
from weighbridge.runtime.parts import Layout, Row, layout_of, row_of, switched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weighbridge.preprocessing import Encoder

Answer = Callable[[Arrays], np.ndarray]
FURTHEST = 30.0  # log odds beyond it are the rounding of float32
AT_ONCE_BYTES = 32 << 20  # of switched rows that are answered together


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the model says under M masks, float64 [M], the mean over K backgrounds.

    `strength` is what an explanation shares out: the log odds of the class or label that is explained, or the value in deviations of the
    target, counted in the direction in which the row's answer lies from the answer without any part. `share` is what is drawn: the
    probability, or the strength itself for numbers.
    """

    strength: np.ndarray
    share: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Rows to explain, encoded, in memory.

    Attributes:
        choice: int [n] the class or label that is explained: the one that the model thinks likeliest. Zeros for numbers.
        sign: float [n] 1, or -1 where a number's answer is lower than the answer without any part.
        none: float [n] a number's answer without any part, in deviations of the target; zeros otherwise.
        words: of each row, by text block, the run that each token belongs to; runs of equal length where None.
    """

    encoder: Encoder
    answer: Answer
    arrays: Arrays
    background: Mapping[str, np.ndarray]
    choice: np.ndarray
    sign: np.ndarray
    none: np.ndarray
    words: Sequence[Mapping[str, np.ndarray]] | None = None

    @classmethod
    def of(
        cls, encoder: Encoder, answer: Answer, arrays: Arrays, background: Mapping[str, np.ndarray],
        words: Sequence[Mapping[str, np.ndarray]] | None = None,
    ) -> Self:  # fmt: skip
        """Return the rows with what is explained of each."""
        output, n = np.asarray(answer(arrays), dtype=np.float64), len(arrays)
        is_number = encoder.learnt.kind == "number"
        choice = np.zeros(n, int) if is_number else output.argmax(1)
        made = cls(encoder=encoder, answer=answer, arrays=arrays, background=background, choice=choice, sign=np.ones(n), none=np.zeros(n),
                   words=words)  # fmt: skip
        if not is_number:
            return made
        none = np.array([made.answers(place, np.zeros((1, len(made.layouts[place])), bool)).strength[0] for place in range(n)])
        return replace(made, none=none, sign=np.where(output.reshape(n) / encoder.learnt.std < none, -1.0, 1.0))

    def __len__(self) -> int:
        return len(self.arrays)

    @cached_property
    def rows(self) -> list[Row]:
        return [row_of(self.arrays, place) for place in range(len(self))]

    @cached_property
    def layouts(self) -> list[Layout]:
        """The parts of each row; rows without texts share one."""
        if self.words is not None:
            return [layout_of(self.encoder, row, words) for row, words in zip(self.rows, self.words, strict=True)]
        texts = any(isinstance(values, Ragged) for values in self.arrays.blocks.values())
        first = layout_of(self.encoder, self.rows[0])
        return [layout_of(self.encoder, row) if texts else first for row in self.rows]

    def subset(self, places: np.ndarray) -> Self:
        """Return some of the rows."""
        words = None if self.words is None else [self.words[place] for place in places]
        return replace(
            self, arrays=self.arrays.subset(places), choice=self.choice[places], sign=self.sign[places], none=self.none[places], words=words
        )

    def answers(self, place: int, keep_MU: np.ndarray) -> Answers:
        """Return what the model says of a row with only these parts kept (bool)."""
        layout, row = self.layouts[place], self.rows[place]
        backgrounds = max([len(values) for values in self.background.values()], default=1)
        size = max(1, AT_ONCE_BYTES // max(1, backgrounds * sum(value.nbytes for value in row.values())))
        parts = [
            np.asarray(self.answer(switched(self.encoder, row, layout, keep_MU[start : start + size], self.background)), dtype=np.float64)
            for start in range(0, len(keep_MU), size)
        ]
        output = np.concatenate(parts)
        return self._read(output.reshape(len(keep_MU), backgrounds, -1), place)

    def in_units(self, place: int, share: np.ndarray) -> np.ndarray:
        """Return `Answers.share` of a row as the model's own answer: a probability as it is, a number in the target's units."""
        if self.encoder.learnt.kind != "number":
            return share
        return np.asarray((self.none[place] + self.sign[place] * share) * self.encoder.learnt.std)

    def _read(self, output_MKC: np.ndarray, place: int) -> Answers:
        kind, choice = self.encoder.learnt.kind, self.choice[place]
        if kind == "number":
            moved = self.sign[place] * (output_MKC[..., 0].mean(1) / self.encoder.learnt.std - self.none[place])
            return Answers(strength=moved, share=moved)
        chosen = output_MKC[..., choice]
        others = np.delete(output_MKC, choice, axis=2).sum(2) if kind == "category" else 1 - chosen  # the sum: exact where it is tiny
        with np.errstate(divide="ignore"):
            odds = np.log(np.maximum(chosen, 0)) - np.log(np.maximum(others, 0))
        return Answers(strength=np.clip(odds, -FURTHEST, FURTHEST).mean(1), share=chosen.mean(1))
