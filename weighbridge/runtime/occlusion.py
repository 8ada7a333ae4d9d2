"""Occlusion (Zeiler 2014): by how much an answer falls when one part of its row is switched off and all others stay.

The same for the audit of a model and for one answer of a served one. One answer's explanation comes with its faithfulness: parts are taken
out in the order that it names, and in random orders. If the order told nothing it would be one of them, and fall fastest of all with
probability 1 / (ORDERS + 1): 19 random orders are what a test at 5 % needs, and all one answer costs is some 200 questions to the model.

n rows, U parts of a row, O orders.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from weighbridge.errors import InputError, PackageError
from weighbridge.preprocessing import Arrays
from weighbridge.preprocessing.ragged import Ragged, ragged
from weighbridge.preprocessing.text import TextFeature
from weighbridge.runtime.columns import to_columns
from weighbridge.runtime.curves import Shares, deletion_curves, order_of
from weighbridge.runtime.explained import Answer, Explained
from weighbridge.runtime.parts import Part, runs, word_runs
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weighbridge.runtime.model import Model

ORDERS = 19
FEW_PARTS, STEPS = 16, 8  # up to so many parts are taken out one by one, more in so many steps
PIECE_ROWS = 32  # that are answered between two looks at the clock
MOST_REFERENCE = 64  # rows that a package's reference may have
LEAST_LEAD = 0.01  # of the answer's probability (or deviations of the target), below which no reader gains anything
BY_CHANCE = 0.05
Attributions = list[np.ndarray]  # a row each, float64 [U]
Status = Literal["holds", "fails", "open"]


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Whether taking out the parts that an explanation names lowers the answer faster than taking out parts at random.

    Attributes:
        named, random: the answer's probability (for a number its distance from the answer without any part, in deviations of the target),
            the mean while parts are taken out one after the other, in the named order and in random ones.
        slower: random orders that are slower than the named one, of `orders`.
        chance: with what probability an order that tells nothing would do as well.
    """

    named: float
    random: float
    slower: int
    orders: int

    @property
    def lead(self) -> float:
        return self.random - self.named

    @property
    def chance(self) -> float:
        return (1 + self.orders - self.slower) / (1 + self.orders)

    @property
    def status(self) -> Status:
        """Holds beyond chance; fails where nothing is gained; open where it can not be told, as with two or three parts."""
        if self.lead < LEAST_LEAD:
            return "fails"
        return "holds" if self.chance <= BY_CHANCE else "open"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why one answer came out as it did.

    Attributes:
        choice: the class or label that is explained, the likeliest; 0 for a number.
        answer, nothing: the model's probability of it (or value), of the row and of a row without any of its parts.
        without: float64 [U] the same of the row without each part alone.
        strength: float64 [U] by how much its log odds fall without the part (for a number its value, in deviations of the target, in the
            direction in which the answer lies); positive speaks for the answer.
        owner: the part that each pixel [H, W] of an image block or each token [L] of a text block belongs to; U: to none.
        pieces: by text block, the text as the model reads it and where in it each token begins and ends.
        faithfulness: None where the row has fewer than two parts: there is nothing to rank.
    """

    parts: tuple[Part, ...]
    choice: int
    answer: float
    nothing: float
    without: np.ndarray
    strength: np.ndarray
    owner: Mapping[str, np.ndarray]
    pieces: Mapping[str, Spelled]
    faithfulness: Faithfulness | None

    @cached_property
    def ranked(self) -> np.ndarray:
        """The parts from the one that weighs most, by size."""
        return np.argsort(-np.abs(self.strength), kind="stable")


@dataclass(frozen=True, kw_only=True)
class Spelled:
    """A text as the model reads it, and where in it each token begins and ends."""

    text: str
    spans: tuple[tuple[int, int], ...]


def occlusion(rows: Explained) -> Attributions:
    """Return by how much the answer falls when a part is switched off and all others stay; positive speaks for the answer."""
    found = []
    for place in range(len(rows)):
        strength = rows.answers(place, _each_off(len(rows.layouts[place]))).strength
        found.append(strength[0] - strength[1:])
    return found


def faithfulness(shares: Shares, strength: np.ndarray) -> Faithfulness | None:
    """Return how faithful an explanation (float [U]) of one answer is; None for fewer than two parts; the same each time."""
    size = len(strength)
    if size < 2:
        return None
    generator = rng(0, "runtime", "occlusion", "orders", strength.tobytes().hex())
    orders = np.stack([order_of(strength, generator), *(generator.permutation(size) for _ in range(ORDERS))])
    said, gone = deletion_curves(shares, orders, size if size <= FEW_PARTS else STEPS)
    areas = np.trapezoid(said, gone / size, axis=1)
    several = gone != 1  # which part lowers the answer most when it goes alone is what the order was made from: no test of it
    tested = np.trapezoid(said[:, several], gone[several] / size, axis=1)
    slower = int((tested[1:] > tested[0] + 1e-12).sum())
    return Faithfulness(named=float(areas[0]), random=float(areas[1:].mean()), slower=slower, orders=ORDERS)


def explain(model: Model, columns: Mapping[str, np.ndarray], count: int, *, until_s: float = math.inf) -> list[Explanation]:
    """Return why the model answers each of these rows (canonical columns, few of them) as it does; equal rows give equal explanations.

    Memory is bounded; the time is that of some 2 U + 150 rows each, times 6 where there are columns of a table, U at most 64 an image or
    text. Raises InputError, PackageError; TimeoutError when it goes on past `until_s` (of time.monotonic), by a piece at most.
    """
    arrays = _arrays(model, columns, count)
    spelled = [_spelled(model, columns, place) for place in range(count)]
    words = [{name: _words(model, name, one, arrays, place) for name, one in row.items()} for place, row in enumerate(spelled)]
    answer = partial(_in_time, model.answer_encoded, until_s)
    rows = Explained.of(model.encoder, answer, arrays, background(model), words=words)
    return [_explanation(rows, place, spelled[place]) for place in range(count)]


def background(model: Model) -> dict[str, np.ndarray]:
    """Return the blocks of a table's columns, K rows, that stand for columns which are switched off.

    They are the package's `reference`, values of each column by itself; a package that carries none has one row of missing values.
    Raises PackageError for a reference that does not fit the signature.
    """
    kept = model.info.content.get("reference")
    try:
        values = {one.name: [] if kept is None else list(kept.get(one.name, ())) for one in model.inputs}
        most = max([1, *map(len, values.values())])
        if most > MOST_REFERENCE:
            raise ValueError(f"{most} rows, at most {MOST_REFERENCE}")
        filled, count, _ = to_columns({name: part or [None] * most for name, part in values.items()}, model.inputs)
    except (InputError, ValueError, TypeError, AttributeError) as error:
        raise PackageError(f"package.json: reference does not fit the signature ({error})", do="build the package again") from None
    blocks = model.encode(filled, np.arange(1, count + 1))
    return {block.name: blocks[block.name] for block in model.encoder.blocks if block.kind in ("number", "category")}


def _explanation(rows: Explained, place: int, spelled: Mapping[str, Spelled]) -> Explanation:
    layout = rows.layouts[place]
    size = len(layout)
    said = rows.answers(place, np.concatenate([_each_off(size), np.zeros((1, size), bool)]))
    strength = said.strength[0] - said.strength[1:-1]
    answers = rows.in_units(place, said.share)
    return Explanation(
        parts=layout.parts, choice=int(rows.choice[place]), answer=float(answers[0]), nothing=float(answers[-1]), without=answers[1:-1],
        strength=strength, owner={name: owner for name, owner in layout.owner.items() if owner.ndim == 2 or name in spelled},
        pieces=spelled, faithfulness=faithfulness(lambda keep: rows.answers(place, keep).share, strength),
    )  # fmt: skip


def _in_time(answer: Answer, until_s: float, arrays: Arrays) -> np.ndarray:
    """Return the answers, a few rows at a time. Raises TimeoutError."""
    found = []
    for start in range(0, len(arrays), PIECE_ROWS):
        if time.monotonic() > until_s:
            raise TimeoutError
        found.append(answer(arrays.subset(slice(start, start + PIECE_ROWS))))
    return np.concatenate(found)


def _each_off(size: int) -> np.ndarray:
    """Return masks bool [1 + U, U]: all parts kept, then all but one."""
    return np.concatenate([np.ones((1, size), bool), ~np.eye(size, dtype=bool)])


def _arrays(model: Model, columns: Mapping[str, np.ndarray], count: int) -> Arrays:
    blocks: dict[str, np.ndarray | Ragged] = dict(model.encode(columns, np.arange(1, count + 1)))
    texts = [block.name for block in model.encoder.blocks if block.kind == "text"]
    blocks |= {name: ragged(np.asarray(blocks[name])) for name in texts}
    return Arrays(blocks=blocks, target=None, stored_ids=np.empty(count, dtype="S1"))


def _spelled(model: Model, columns: Mapping[str, np.ndarray], place: int) -> dict[str, Spelled]:
    """Return the texts of a row by block, as the encoder's steps leave them."""
    found = {}
    for block in model.encoder.blocks:
        if block.kind == "text":
            name = block.columns[0]
            column = columns[name][place : place + 1]
            value = (model.encoder.steps[name].apply(column) if name in model.encoder.steps else column)[0]
            text, spans = _feature(model, name).spans(value)
            found[block.name] = Spelled(text=text, spans=tuple(spans))
    return found


def _words(model: Model, block: str, spelled: Spelled, arrays: Arrays, place: int) -> np.ndarray:
    """Return the run that each token of a text belongs to: words, or runs of equal length where it is no prose."""
    tokens = len(arrays.blocks[block][place])
    is_prose = _feature(model, block.removeprefix("text.")).tokens != "character"
    return word_runs(spelled.text, spelled.spans) if is_prose and len(spelled.spans) == tokens else runs(tokens)


def _feature(model: Model, column: str) -> TextFeature:
    return next(one for one in model.encoder.features if isinstance(one, TextFeature) and one.column == column)
