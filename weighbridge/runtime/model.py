"""A verified package as a model: rows in, answers out, by the encoder that training used."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from weighbridge.errors import DataError, InputError, PackageError
from weighbridge.preprocessing.category import CategoryFeature
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.feature import Feature
from weighbridge.privacy.steps import Parents, Step
from weighbridge.runtime.columns import Input, Reading, to_columns
from weighbridge.runtime.json_file import AGAIN, parse_json
from weighbridge.runtime.package import GRAPH, PROGRAM, PackageInfo, open_package
from weighbridge.runtime.session import Session
from weighbridge.runtime.signature import Trust
from weighbridge.runtime.tokens import by_length, check_tokenizers, highest_ids

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

BATCH_ROWS = 256
SET_THRESHOLD = 0.5


class Graph(Protocol):
    """What answers encoded rows: the session of an ONNX graph, or the program of another runtime that a caller opens."""

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def run(self, blocks: Mapping[str, np.ndarray], *, failing: str = ...) -> np.ndarray: ...

    def answer(self, arrays: Arrays) -> np.ndarray: ...


Opens = Callable[[PackageInfo, Mapping[str, bytes], int | None], Graph]


def open_onnx(info: PackageInfo, contents: Mapping[str, bytes], threads: int | None) -> Graph:
    """Return the session of a package's model.onnx. Raises PackageError, for a package that holds a program of ExecuTorch too."""
    if GRAPH not in contents:
        what = f"{info.folder} holds {PROGRAM}, which ExecuTorch answers and not onnxruntime"
        raise PackageError(
            what, do="use weigh predict, or weighbridge.deployment.edge.load, which needs torch and executorch, or ExecuTorch on the device"
        )
    return Session.open(contents[GRAPH], threads=threads)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says about n rows, in their order.

    Attributes:
        probabilities: float64 [n, C] for a category (rows sum to 1), [n, L] for a set; None for a number.
        values: float64 [n] in the target's own units for a number; else None.
        classes: names of the C or L columns.
        model_hash: names the model that made it.
        ignored: columns that were given and not read.
    """

    kind: str
    model_hash: str
    classes: tuple[str, ...] = ()
    probabilities: np.ndarray | None = None
    values: np.ndarray | None = None
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        output = self.values if self.probabilities is None else self.probabilities
        return 0 if output is None else len(output)

    @property
    def labels(self) -> list[Any]:
        """The most probable class, the tuple of labels above one half, or the value, of each row."""
        if self.values is not None:
            return list(self.values.tolist())
        assert self.probabilities is not None
        if self.kind == "category":
            return [self.classes[code] for code in self.probabilities.argmax(axis=1)]
        return [tuple(self.classes[code] for code in np.flatnonzero(row > SET_THRESHOLD)) for row in self.probabilities]

    def to_json(self) -> list[dict[str, Any]]:
        """Return a dict for each row: `prediction`, and `probabilities` by class where there are any."""
        if self.probabilities is None:
            return [{"prediction": value} for value in self.labels]
        pairs = zip(self.labels, self.probabilities.tolist(), strict=True)
        return [
            {"prediction": list(label) if isinstance(label, tuple) else label, "probabilities": dict(zip(self.classes, row, strict=True))}
            for label, row in pairs
        ]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded package. Calls are safe from several threads: nothing changes after loading."""

    info: PackageInfo
    encoder: Encoder
    inputs: tuple[Input, ...]
    reading: Reading
    _session: Graph
    _golden: dict[str, Any]

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, threads: int | None = None, trust: Trust | None = None, opens: Opens = open_onnx
    ) -> Self:
        """Return the model of a package, a folder or a .zip of one, every byte of which was verified before it was used.

        `threads`: CPU threads of one call; None leaves it to onnxruntime (the physical cores). `opens`: what runs its graph.
        `trust`: public keys (PEM files, or 32 bytes each), of which one must have signed the package; None takes any package, and then
        `info.signature` says who signed it, if anybody did.
        Raises PackageError for a package that is damaged, changed, newer or hostile, and for one that is not signed as asked.
        """
        info, contents = open_package(Path(path), trust=trust)
        check_tokenizers(info.encoder)
        encoder = Encoder.from_json(info.encoder)
        inputs = inputs_of(info, encoder)
        session = opens(info, contents, threads)
        _refuse_other_inputs(session, encoder)
        _refuse_foreign_ids(session, encoder)
        golden = parse_json(contents["golden.json"], "golden.json")
        if set(golden) != {"columns", "outputs"}:
            raise PackageError("golden.json does not hold columns and outputs", do=AGAIN)
        return cls(info=info, encoder=encoder, inputs=inputs, reading=reading_of(info), _session=session, _golden=golden)

    @property
    def signature(self) -> dict[str, str]:
        """Name and type of each column that a row must have."""
        return {one.name: one.type for one in self.inputs}

    @cached_property
    def reading_outside(self) -> Reading:
        """How rows from outside are read: as `reading`, but no image is looked up by a path."""
        return replace(self.reading, paths=False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.info.classes

    @property
    def hash(self) -> str:
        return self.info.model_sha256

    def predict(self, rows: Any, *, paths: bool = True) -> Answer:
        """Return the answer for rows: a list of dicts, a dict of lists or arrays, or a pandas, polars or pyarrow table.

        All rows are checked before the first is answered. `paths=False` refuses images named by a path (for servers).
        A model that was trained on CSV reads texts as its training rows were read: "41" is a number, "?" may mean missing.
        Raises InputError that names row, column and value.
        """
        return self.answer(rows, replace(self.reading, paths=paths))

    def answer(self, rows: Any, reading: Reading) -> Answer:
        """Return the answer for rows that are read in a given way, see `predict`."""
        columns, count, ignored = to_columns(rows, self.inputs, reading)
        output = self.outputs(columns, count, first_row=reading.first_row)
        is_number = self.info.kind == "number"
        return Answer(
            kind=self.info.kind, model_hash=self.hash, classes=self.classes, ignored=ignored,
            values=output if is_number else None, probabilities=None if is_number else output,
        )  # fmt: skip

    def outputs(self, columns: Mapping[str, np.ndarray], count: int, *, first_row: int = 1) -> np.ndarray:
        """Return the network's output for canonical columns: float64 [n] or [n, C]. Raises InputError, PackageError."""
        shape = (count,) if self.info.kind == "number" else (count, len(self.classes))
        out = np.empty(shape, dtype=np.float64)
        for start in range(0, count, BATCH_ROWS):
            stop = min(start + BATCH_ROWS, count)
            part = {name: column[start:stop] for name, column in columns.items()}
            out[start:stop] = self._run(part, np.arange(start + first_row, stop + first_row), (stop - start, *shape[1:]))
        return out

    def check_golden(self, tolerance: float | None = None) -> float:
        """Return the largest difference from the answers kept in the package (numbers in deviations of the target).

        `tolerance` None: the package's own; that of integer weights is wider, since processors multiply them in different ways.
        Raises PackageError when it is above: this machine or its libraries do not run the model as it was built.
        """
        tolerance = self.info.golden_tolerance if tolerance is None else tolerance
        try:
            columns, count, _ = to_columns(self._golden["columns"], self.inputs)
            expected = np.asarray(self._golden["outputs"], dtype=np.float64)
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise PackageError(f"golden.json does not fit the signature ({error})", do=AGAIN) from None
        found = self.outputs(columns, count)
        if expected.shape != found.shape:
            raise PackageError(f"golden.json has outputs {list(expected.shape)}, the model gives {list(found.shape)}", do=AGAIN)
        scale = self.encoder.target.std if self.info.kind == "number" and self.encoder.target else 1.0
        apart = float(np.abs(found - expected).max() / scale) if count else 0.0
        if not apart <= tolerance:
            raise PackageError(f"the package answers its own rows otherwise here, by {apart:.3g} (at most {tolerance:g})", do=AGAIN)
        return apart

    def _run(self, columns: dict[str, np.ndarray], rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        arrays = self.encode(columns, rows)
        parts = list(by_length(arrays, self.encoder))
        if len(parts) == 1:
            return self.run_encoded(parts[0][1], rows, shape)
        out = np.empty(shape, dtype=np.float64)
        for part, block in parts:
            out[part] = self.run_encoded(block, rows[part], (len(part), *shape[1:]))
        return out

    def encode(self, columns: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the blocks of canonical columns; `rows` are names for errors. Raises InputError."""
        try:
            return self.encoder.encode(columns, rows)
        except InputError:
            raise
        except DataError as error:
            raise InputError(error.what, do="send PNG, JPEG, GIF, BMP, TIFF, WEBP or PPM, or None") from None

    def answer_encoded(self, arrays: Arrays) -> np.ndarray:
        """Return the network's output for encoded rows, float64 [n] or [n, C], in bounded memory. Raises PackageError."""
        output = self._session.answer(arrays)
        if not np.isfinite(output).all():
            raise PackageError("the model's output is not finite", do=AGAIN)
        return output.reshape(len(arrays)) if self.info.kind == "number" else output

    def run_encoded(self, arrays: Mapping[str, np.ndarray], rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the graph's output of this shape for blocks that the encoder gave; `rows` are names for errors. Raises PackageError."""
        output = self._session.run(arrays)
        if output.size != math.prod(shape) or output.shape[0] != shape[0]:
            raise PackageError(f"the model gives {list(output.shape)} for {shape[0]} rows, not {list(shape)}", do=AGAIN)
        if not np.isfinite(output).all():
            raise PackageError(f"the model's output is not finite in rows {rows[0]} to {rows[-1]}", do="build the package again")
        return output.reshape(shape)


def load(path: str | os.PathLike[str], *, threads: int | None = None, trust: Trust | None = None) -> Model:
    """Return the model of a package folder, ready to answer; see Model.load."""
    return Model.load(path, threads=threads, trust=trust)


def inputs_of(info: PackageInfo, encoder: Encoder) -> tuple[Input, ...]:
    """Return the signature. Raises PackageError when package.json and the encoder's state contradict each other."""
    listed, features = dict(info.inputs), {feature.column: feature for feature in encoder.features}
    if {name: feature.type for name, feature in features.items()} != listed or len(listed) != len(info.inputs):
        raise PackageError("package.json: inputs and encoder do not name the same columns", do=AGAIN)
    target = encoder.target
    if target is None or target.kind != info.kind or (info.kind != "number" and target.classes != info.classes):
        raise PackageError("package.json: kind and classes are not those of its encoder", do=AGAIN)
    return tuple(_input(name, features[name], encoder.steps.get(name)) for name in listed)


def _input(name: str, feature: Feature, step: Step | None) -> Input:
    separator, pattern = getattr(feature, "separator", ";"), getattr(feature, "pattern", "")
    known = _known(feature) | (frozenset(step.parents) if isinstance(step, Parents) else frozenset())
    return Input(name=name, type=feature.type, separator=separator, known=known, pattern=pattern)


def reading_of(info: PackageInfo) -> Reading:
    """Return how texts in rows are read: as those of the training CSV, or as they stand where there was none. Raises PackageError."""
    missing, strip = info.content.get("missing"), info.content.get("strip", True)
    if missing is None:
        return Reading()
    if not isinstance(missing, list) or not all(isinstance(text, str) for text in missing) or not isinstance(strip, bool):
        raise PackageError("package.json: missing is not a list of texts, or strip is not true or false", do=AGAIN)
    return Reading(text=True, missing=frozenset(missing), strip=strip)


def _known(feature: Feature) -> frozenset[str]:
    return frozenset(feature.values) if isinstance(feature, CategoryFeature) else frozenset()


def _refuse_other_inputs(session: Graph, encoder: Encoder) -> None:
    expected, found = {block.name for block in encoder.blocks}, set(session.inputs)
    if found != expected or "output" not in session.outputs:
        raise PackageError(f"the graph reads {sorted(found)}, its encoder gives {sorted(expected)}", do=AGAIN)


def _refuse_foreign_ids(session: Graph, encoder: Encoder) -> None:
    """Raise PackageError unless the graph has a vector for every code that its tokenizers give: better now than at some text."""
    if row := highest_ids(encoder):
        session.run(row, failing="the graph does not take all tokens of its tokenizer")
