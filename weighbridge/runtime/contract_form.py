"""Reading contract.json: exactly the form that was written, within limits, or one line that names the place that is not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from weighbridge.errors import PackageError
from weighbridge.runtime.json_file import AGAIN, refuse_newer
from weighbridge.runtime.package import KINDS

if TYPE_CHECKING:
    from weighbridge.runtime.contract import (
        Bin,
        ColumnSketch,
        Conformal,
        Contract,
        Embedding,
        Frequencies,
        Histogram,
        Load,
        Measured,
        Price,
    )

MOST_COLUMNS = 100_000
MOST_ENTRIES = 100_000  # of one mapping, list or histogram
MOST_TEXT = 10_000
MOST_VALUES, MOST_AXES = 2048, 64  # of an embedding
MOST_ROWS = 2**53  # whole numbers up to here are the same in any JSON reader
TYPES = ("number", "category", "date", "image", "audio", "text", "set")

Part = TypeVar("Part")
Read = Callable[[Any, str], Part]


def contract_of(made: type[Contract], value: Any) -> Contract:
    """Return the contract that JSON states; see Contract.from_json."""
    from weighbridge.runtime.contract import FORMAT

    if not isinstance(value, Mapping):
        raise _refused("it", "an object")
    refuse_newer(value, "contract.json", newest=FORMAT)
    told = {name: one for name, one in value.items() if name != "format"}
    part = _exact({"embedding": None, **told} if value["format"] == 1 else told, made, "contract")
    contract = made(
        **{name: _text(part[name], name) for name in ("kind", "model_sha256", "recipe_sha256", "data_sha256", "headline")},
        classes=_list(part["classes"], "classes", _text), metrics=_mapping(part["metrics"], "metrics", measured),
        calibration=_list(part["calibration"], "calibration", reliability_bin), conformal=_maybe(part["conformal"], "conformal", conformal),
        predicted=_maybe(part["predicted"], "predicted", frequencies), true=_maybe(part["true"], "true", frequencies),
        output=histogram(part["output"], "output"), target=_maybe(part["target"], "target", histogram),
        inputs=_list(part["inputs"], "inputs", column_sketch, most=MOST_COLUMNS), price=price(part["price"], "price"),
        embedding=_maybe(part["embedding"], "embedding", embedding), load=_maybe(part["load"], "load", load),
    )  # fmt: skip
    return _whole(contract)


def _whole(contract: Contract) -> Contract:
    """Return a contract whose parts agree. Raises PackageError."""
    names = [one.name for one in contract.inputs]
    if contract.embedding is not None and contract.embedding.column not in (*names, ""):
        raise _refused("embedding.column", "the name of an input column, or empty")
    if contract.kind not in KINDS:
        raise _refused("kind", f"one of {', '.join(KINDS)}")
    if contract.headline not in contract.metrics:
        raise _refused("headline", "the name of one of its metrics")
    if len(set(names)) < len(names):
        raise _refused("inputs", "columns of different names")
    if (contract.kind == "number") != (contract.predicted is None) or (contract.predicted is None) != (contract.true is None):
        raise _refused("predicted and true", "the class mix of a model with classes, and of no other")
    return contract


def measured(value: Any, where: str) -> Measured:
    from weighbridge.runtime.contract import Measured

    part = _exact(value, Measured, where)
    return Measured(
        value=_number(part["value"], f"{where}.value"),
        interval=_maybe(part["interval"], f"{where}.interval", _interval),
        n=_count(part["n"], f"{where}.n"),
    )


def reliability_bin(value: Any, where: str) -> Bin:
    from weighbridge.runtime.contract import Bin

    part = _exact(value, Bin, where)
    return Bin(
        stated=_number(part["stated"], f"{where}.stated"),
        seen=_number(part["seen"], f"{where}.seen"),
        interval=_interval(part["interval"], f"{where}.interval"),
        n=_count(part["n"], f"{where}.n"),
    )


def histogram(value: Any, where: str) -> Histogram:
    from weighbridge.runtime.contract import Histogram

    part = _exact(value, Histogram, where)
    edges, counts = _list(part["edges"], f"{where}.edges", _number), _list(part["counts"], f"{where}.counts", _count)
    if len(counts) != len(edges) + 1 or any(low >= high for low, high in itertools.pairwise(edges)):
        raise _refused(where, "rising edges and one count more than edges")
    return Histogram(edges=edges, counts=counts)


def frequencies(value: Any, where: str) -> Frequencies:
    from weighbridge.runtime.contract import Frequencies

    part = _exact(value, Frequencies, where)
    return Frequencies(counts=_mapping(part["counts"], f"{where}.counts", _count), other=_count(part["other"], f"{where}.other"))


def column_sketch(value: Any, where: str) -> ColumnSketch:
    from weighbridge.runtime.contract import ColumnSketch

    part = _exact(value, ColumnSketch, where)
    kind, rows, missing = _text(part["type"], f"{where}.type"), _count(part["rows"], f"{where}.rows"), _count(part["missing"], where)
    if kind not in TYPES or missing > rows:
        raise _refused(where, "a column of a known type with at most as many missing values as rows")
    return ColumnSketch(
        name=_text(part["name"], f"{where}.name"), type=kind, rows=rows, missing=missing,
        traits=_mapping(part["traits"], f"{where}.traits", histogram), values=_maybe(part["values"], f"{where}.values", frequencies),
    )  # fmt: skip


def embedding(value: Any, where: str) -> Embedding:
    from weighbridge.runtime.contract import Embedding

    part = _exact(value, Embedding, where)
    mean = _list(part["mean"], f"{where}.mean", _number, most=MOST_VALUES)
    axes = _list(part["axes"], f"{where}.axes", lambda one, place: _list(one, place, _number, most=MOST_VALUES), most=MOST_AXES)
    if not axes or any(len(axis) != len(mean) for axis in axes):
        raise _refused(f"{where}.axes", "one axis or more, each as long as the mean")
    return Embedding(
        tensor=_text(part["tensor"], f"{where}.tensor"), column=_text(part["column"], f"{where}.column"), mean=mean, axes=axes,
        traits=_mapping(part["traits"], f"{where}.traits", histogram),
    )  # fmt: skip


def conformal(value: Any, where: str) -> Conformal:
    from weighbridge.runtime.contract import Conformal

    part = _exact(value, Conformal, where)
    level = _number(part["level"], f"{where}.level")
    if not 0 < level < 1:
        raise _refused(f"{where}.level", "between 0 and 1")
    return Conformal(level=level, limit=_number(part["limit"], f"{where}.limit"), rows=_count(part["rows"], f"{where}.rows"))


def price(value: Any, where: str) -> Price:
    from weighbridge.runtime.contract import Price

    part = _exact(value, Price, where)
    figures = {name: measured(part[name], f"{where}.{name}") for name in ("latency_s", "rows_per_s", "first_answer_s")}
    return Price(**figures, machine=_mapping(part["machine"], f"{where}.machine", _fact))


def load(value: Any, where: str) -> Load:
    from weighbridge.runtime.contract import Load

    part = _exact(value, Load, where)
    figures = {name: measured(part[name], f"{where}.{name}") for name in ("requests_per_s", "rows_per_s", "p50_s", "p99_s")}
    share, rows = _number(part["share"], f"{where}.share"), _count(part["rows"], f"{where}.rows")
    return Load(**figures, share=share, rows=rows, machine=_mapping(part["machine"], f"{where}.machine", _fact))


def _exact(value: Any, made: type[Any], where: str) -> Mapping[str, Any]:
    names = {one.name for one in fields(made)}
    if not isinstance(value, Mapping) or set(value) != names:
        raise _refused(where, f"an object of {', '.join(sorted(names))}")
    return value


def _list(value: Any, where: str, read: Read[Part], *, most: int = MOST_ENTRIES) -> tuple[Part, ...]:
    if not isinstance(value, list | tuple) or len(value) > most:
        raise _refused(where, f"a list of at most {most:,} entries")
    return tuple(read(one, f"{where}[{place}]") for place, one in enumerate(value))


def _mapping(value: Any, where: str, read: Read[Part]) -> dict[str, Part]:
    if not isinstance(value, Mapping) or len(value) > MOST_ENTRIES:
        raise _refused(where, f"an object of at most {MOST_ENTRIES:,} entries")
    return {_text(name, where): read(one, f"{where}.{name[:60]}") for name, one in value.items()}


def _maybe(value: Any, where: str, read: Read[Part]) -> Part | None:
    return None if value is None else read(value, where)


def _interval(value: Any, where: str) -> tuple[float, float]:
    bounds = _list(value, where, _number, most=2)
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise _refused(where, "two numbers, the lower first")
    return bounds[0], bounds[1]


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300 or not math.isfinite(value):
        raise _refused(where, "a finite number")
    return float(value)


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_ROWS:
        raise _refused(where, "a count")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise _refused(where, f"a text of at most {MOST_TEXT:,} characters")
    return value


def _fact(value: Any, where: str) -> str | int | None:
    if value is None or isinstance(value, str):
        return value if value is None else _text(value, where)
    return _count(value, where)


def _refused(where: str, rule: str) -> PackageError:
    return PackageError(f"contract.json: {where[:120]} is not {rule}", do=AGAIN)
