"""What is watched without labels, one stream of bins each: numbers made of a column's value or of its embedding, gaps, the answers.

A contract's sketch gives each stream its bins and how many reference rows lie in each. n rows, S streams, B bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats, Kind
from weighbridge.evaluation.selective import sureness_of
from weighbridge.runtime.contract import ColumnSketch, Contract, Embedding, Frequencies, Histogram
from weighbridge.runtime.inner import Inner, watched, without_steps
from weighbridge.runtime.traits import is_known, traits_of

if TYPE_CHECKING:
    from weighbridge.preprocessing import Encoder
    from weighbridge.preprocessing.feature import Feature

OUTPUT = ""  # the name that stands for what the model answers, in the place of a column's
MISSING, VALUES, ANSWER, ANSWERED = "missing", "values", "answer", "answered"
NONE = -1  # the bin of a row that has none
HALF = 0.5  # from which a label is answered


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Reference rows in each bin of one trait of a column (`column` "": of the answers).

    Numbers have `edges`, as a Histogram; names have a bin each in the order of `names`, and one more for all others. `ordered`: whether
    bins that lie beside each other are alike.
    """

    column: str
    trait: str
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def ordered(self) -> bool:
        return bool(self.edges)

    def places(self, values: Array) -> Array:
        """Return int64 [n] bins of numbers, -1 for NaN, or of names, -1 for None."""
        known = is_known(values)
        found = np.full(len(values), NONE, dtype=np.int64)
        if self.edges:
            found[known] = Histogram(edges=self.edges, counts=self.counts).places(values[known])
        else:
            bins = {name: place for place, name in enumerate(self.names)}
            found[known] = [bins.get(value, len(self.names)) for value in values[known].tolist()]
        return found


def streams_of(contract: Contract) -> tuple[Stream, ...]:
    """Return the streams of every input column and of the answers; those with one bin only can not move and are left out."""
    found = [stream for sketch in contract.inputs for stream in _of_column(sketch)]
    found += [*_of_embedding(contract.embedding), *_of_answers(contract)]
    return tuple(one for one in found if len(one.counts) > 1)


def _of_column(sketch: ColumnSketch) -> Iterator[Stream]:
    for trait, histogram in sketch.traits.items():
        yield Stream(column=sketch.name, trait=trait, counts=histogram.counts, edges=histogram.edges)
    present = sketch.rows - sketch.missing
    if sketch.values is not None:
        yield from _of_names(sketch.name, VALUES, sketch.values, present if sketch.type == "set" else None)
    yield _yes_or_no(sketch.name, MISSING, present, sketch.missing)


def _of_embedding(embedding: Embedding | None) -> Iterator[Stream]:
    if embedding is None:
        return
    for trait, histogram in embedding.traits.items():
        yield Stream(column=embedding.column, trait=trait, counts=histogram.counts, edges=histogram.edges)


def _of_names(column: str, trait: str, values: Frequencies, rows: int | None) -> Iterator[Stream]:
    """One stream of a category's names; of labels, one that says yes or no for each, since a row has several: `rows` have labels."""
    names = tuple(values.counts)
    if rows is None:
        yield Stream(column=column, trait=trait, counts=(*(values.counts[name] for name in names), values.other), names=names)
        return
    for name in names:
        yield _yes_or_no(column, f"{trait} {name}", max(rows - values.counts[name], 0), values.counts[name])


def _yes_or_no(column: str, trait: str, no: int, yes: int) -> Stream:
    return Stream(column=column, trait=trait, counts=(no, yes), edges=(HALF,))


def _of_answers(contract: Contract) -> Iterator[Stream]:
    yield Stream(column=OUTPUT, trait=ANSWER, counts=contract.output.counts, edges=contract.output.edges)
    if contract.predicted is not None:
        yield from _of_names(OUTPUT, ANSWERED, contract.predicted, contract.output.n if contract.kind == "set" else None)


def bins_of(streams: Sequence[Stream], traits: Mapping[tuple[str, str], Array], n: int) -> Array:
    """Return int64 [n, S] the bin of each row in each stream, -1 where it has none (a trait that is not given: in all rows)."""
    found = np.full((n, len(streams)), NONE, dtype=np.int64)
    for place, one in enumerate(streams):
        values = traits.get((one.column, one.trait))
        if values is not None:
            found[:, place] = one.places(values)
    return found


def input_traits(streams: Sequence[Stream], features: Sequence[Feature], columns: Mapping[str, Array]) -> dict[tuple[str, str], Array]:
    """Return what the streams of input columns watch, of canonical columns as the encoder's steps leave them. Raises DataError."""
    wanted = {(one.column, one.trait) for one in streams}
    found: dict[tuple[str, str], Array] = {}
    for feature in features:
        column = columns.get(feature.column)
        if column is None:
            continue
        found |= {(feature.column, trait): values for trait, values in traits_of(feature, column).items()}
        found[feature.column, MISSING] = (~is_known(column)).astype(np.float64)
        if feature.type == "category":
            found[feature.column, VALUES] = column
        if feature.type == "set":
            found |= _labels(wanted, feature.column, column)
    return found


def _labels(wanted: set[tuple[str, str]], name: str, column: Array) -> dict[tuple[str, str], Array]:
    found = {}
    for asked, trait in wanted:
        if asked == name and trait.startswith(f"{VALUES} "):
            label = trait[len(VALUES) + 1 :]
            found[name, trait] = np.array([np.nan if value is None else float(label in value) for value in column.tolist()])
    return found


def embedding_traits(
    embedding: Embedding, inner: Inner, encoder: Encoder, columns: Mapping[str, Array], n: int
) -> dict[tuple[str, str], Array]:
    """Return what the streams of the embedding watch, of canonical columns [n] as the encoder's steps leave them; NaN without a value.

    Raises InputError, DataError, PackageError.
    """
    vectors = inner.vectors(without_steps(encoder), columns, n)
    known = is_known(columns[embedding.column]) if embedding.column else np.ones(n, dtype=bool)
    return {(embedding.column, name): np.where(known, values, np.nan) for name, values in watched(embedding, vectors).items()}


def answer_traits(kind: Kind, classes: Sequence[str], output: Floats) -> dict[tuple[str, str], Array]:
    """Return what the streams of the answers watch, of outputs [n] or [n, C]."""
    if kind == "number":
        return {(OUTPUT, ANSWER): output}
    found: dict[tuple[str, Any], Array] = {(OUTPUT, ANSWER): sureness_of(kind, output)}
    if kind == "category":
        found[OUTPUT, ANSWERED] = np.array(classes, dtype=object)[output.argmax(axis=1)]
    else:
        found |= {(OUTPUT, f"{ANSWERED} {name}"): (output[:, code] > HALF).astype(np.float64) for code, name in enumerate(classes)}
    return found
