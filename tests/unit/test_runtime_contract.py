"""Law: a contract is read exactly as it was written; anything that is not one is refused in one line that names the place."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.errors import PackageError
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

SPEED = Measured(value=900.0, interval=(850.0, 950.0), n=20)
MACHINE = {"cores": 2, "cpu": "some cpu", "accelerator": None}
CONTRACT = Contract(
    kind="category", classes=("no", "yes"), model_sha256="a" * 64, recipe_sha256="b" * 64, data_sha256="c" * 64, headline="accuracy",
    metrics={"accuracy": Measured(value=0.9, interval=(0.88, 0.92), n=800), "log_loss": Measured(value=0.3, n=800)},
    calibration=(Bin(stated=0.2, seen=0.25, interval=(0.2, 0.3), n=53),), predicted=Frequencies(counts={"no": 500, "yes": 300}),
    true=Frequencies(counts={"no": 490, "yes": 306}, other=4), output=Histogram(edges=(0.6, 0.9), counts=(100, 300, 400)),
    conformal=Conformal(level=0.95, limit=0.7, rows=400),
    price=Price(latency_s=SPEED, rows_per_s=SPEED, first_answer_s=SPEED, machine=MACHINE),
    inputs=(
        ColumnSketch(name="age", type="number", rows=400, missing=20, traits={"value": Histogram(edges=(30.5,), counts=(180, 200))}),
        ColumnSketch(name="town", type="category", rows=400, missing=0, values=Frequencies(counts={"Ulm": 300}, other=100)),
    ),
    embedding=Embedding(
        tensor="36", column="", mean=(0.5, -1.0), axes=((0.6, 0.8),), traits={"embedding 1": Histogram(edges=(0.0,), counts=(200, 200))}
    ),
    load=Load(requests_per_s=SPEED, rows_per_s=SPEED, rows=64, share=0.8, p50_s=SPEED, p99_s=SPEED, machine=MACHINE),
)  # fmt: skip


TEXT = json.dumps(CONTRACT.to_json(), allow_nan=False)


def written() -> dict[str, Any]:
    """Return the contract as a file would hold it."""
    return dict(json.loads(TEXT))


def test_what_was_written_is_read_equal() -> None:
    assert Contract.from_json(written()) == CONTRACT
    assert CONTRACT.promise.value == 0.9
    assert CONTRACT.column("town").values == Frequencies(counts={"Ulm": 300}, other=100)


def test_a_contract_of_the_first_format_has_no_embedding() -> None:
    first = {name: value for name, value in written().items() if name != "embedding"} | {"format": 1}
    assert Contract.from_json(first) == replace(CONTRACT, embedding=None)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"column": "street"}, "embedding.column"), ({"axes": [[0.6, 0.8, 0.0]]}, "embedding.axes"), ({"axes": []}, "embedding.axes")],
)
def test_an_embedding_of_no_column_or_of_another_length_is_refused(change: dict[str, Any], named: str) -> None:
    told = written()
    told["embedding"] |= change
    with pytest.raises(PackageError, match=named):
        Contract.from_json(told)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a tree of JSON."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in parts for found in places(part, (*path, key)))]


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), -1, True, 10**400, "x" * 20_000, [[]], {"x": {}}], ids=lambda bad: repr(bad)[:9]
)
def test_a_value_of_a_wrong_kind_anywhere_is_refused(bad: Any) -> None:
    let_pass = []
    for path in places(written())[1:]:
        tree = written()
        put(tree, path, bad)
        try:
            Contract.from_json(tree)
        except PackageError:
            continue
        let_pass.append(path)
    assert let_pass == [] or bad == -1  # a number below zero is a value where numbers are
    assert len(let_pass) < 40


@pytest.mark.parametrize("path", [(), ("price",), ("inputs", 0), ("output",), ("metrics", "accuracy"), ("load",), ("conformal",)])
def test_a_key_too_many_or_too_few_is_refused(path: tuple[Any, ...]) -> None:
    more = written()
    put(more, (*path, "further"), 1)
    with pytest.raises(PackageError, match=r"contract\.json"):
        Contract.from_json(more)
    fewer = written()
    inner = fewer
    for key in path:
        inner = inner[key]
    del inner[sorted(inner)[0]]
    with pytest.raises(PackageError, match=r"contract\.json"):
        Contract.from_json(fewer)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("format",), 3, "format 3.*install a newer"), (("format",), True, "names no format"), (("headline",), "f1", "headline"),
        (("kind",), "number", "class mix"), (("inputs", 1, "name"), "age", "different names"), (("inputs", 0, "missing"), 401, "missing"),
        (("output", "edges"), [0.9, 0.6], "rising"), (("output", "counts"), [1, 2], "rising"),
        (("conformal", "level"), 1.0, "between 0 and 1"),
        (("metrics", "accuracy", "interval"), [0.92, 0.88], "lower first"),
    ],
)  # fmt: skip
def test_parts_that_contradict_each_other_are_named(path: tuple[Any, ...], value: Any, line: str) -> None:
    tree = written()
    put(tree, path, value)
    with pytest.raises(PackageError, match=line):
        Contract.from_json(tree)


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
    )
)
def test_no_json_at_all_makes_anything_but_a_refusal(value: Any) -> None:
    with pytest.raises(PackageError):
        Contract.from_json(value)


def test_a_bin_holds_its_upper_edge() -> None:
    assert Histogram(edges=(1.0, 2.0), counts=(0, 0, 0)).places(np.array([0.0, 1.0, 1.5, 2.0, 9.0])).tolist() == [0, 0, 1, 1, 2]
