"""Law: of what RFC 8259 calls JSON, a body is read whose objects have each key once and that nests no deeper than rows do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import UsageError
from weighbridge.serving.strict_json import MOST_DEPTH, read_json

TEXTS = st.text(alphabet='ab":{}[]\\,', max_size=4)
VALUES = st.recursive(st.none() | st.integers(-9, 9) | TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner))


@given(VALUES)
def test_what_the_standard_library_writes_is_read(value: Any) -> None:
    assert read_json(json.dumps(value).encode()) == value


@given(VALUES, TEXTS, VALUES, VALUES)
def test_a_key_that_comes_twice_is_found_wherever_it_stands(around: Any, key: str, one: Any, other: Any) -> None:
    name = json.dumps(key)
    twice = f"{{{name}: {json.dumps(one)}, {name}: {json.dumps(other)}}}"
    for body in (twice, f"[{json.dumps(around)}, {twice}]", f'{{"x": {json.dumps(around)}, "y": [0, {{"z": {twice}}}]}}'):
        with pytest.raises(UsageError, match="twice"):
            read_json(body.encode())


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("beside", ["", ", 1" + ", []" * 40])
def test_a_body_nests_as_deep_as_the_limit_and_no_deeper(opens: str, closes: str, beside: str) -> None:
    def nested(depth: int) -> bytes:
        return f"[{opens * (depth - 1)}1{closes * (depth - 1)}{beside}]".encode()

    read_json(nested(MOST_DEPTH))
    with pytest.raises(UsageError, match="deeper"):
        read_json(nested(MOST_DEPTH + 1))
