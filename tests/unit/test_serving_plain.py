"""Law: `/predict` gives what the package gives, whichever way a row comes; what is no row is refused with the right 4xx and its place."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.preprocessing_tables import picture
from tests.unit.runtime_packages import make_package
from weighbridge.errors import InputError, UsageError, WeighbridgeError
from weighbridge.runtime import Model
from weighbridge.serving.dialects import spoken
from weighbridge.serving.limits import Limits, TooLarge, UnknownMedia
from weighbridge.serving.strict_json import MOST_DEPTH, read_json

PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
ROW: dict[str, Any] = {"age": 41.5, "city": "Oslo", "seen": "2026-03-02T10:00:00", "tags": ["a", "b"]}
LIMITS = Limits(rows=50, pixels=10_000)


def asked(
    model: Model, body: bytes | Any, content_type: str = "application/json", *, limits: Limits = LIMITS, **head: Any
) -> dict[str, Any]:
    """Return what the dialect answers."""
    plain = spoken()["predict"]
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    rows = plain.read(model, {"content_type": content_type, "id": "q1", **head}, raw, LIMITS)
    kind, headers, answer = plain.write(model, rows.context, model.outputs(rows.columns, rows.count))
    assert (kind, headers) == ("application/json", {})
    return dict(json.loads(answer))


def form(parts: list[tuple[str, str | None, bytes]], boundary: str = "xyz") -> tuple[bytes, str]:
    """Return a multipart body and its content-type; a part is (name, filename, content)."""
    out = io.BytesIO()
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename else ""
        out.write(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n")
    out.write(f"--{boundary}--\r\n".encode())
    return out.getvalue(), f"multipart/form-data; boundary={boundary}"


IMAGES = {
    "nested lists": PIXELS.tolist(),
    "uint8": {"uint8": base64.b64encode(PIXELS.tobytes()).decode(), "shape": [4, 5, 3]},
    "bytes": {"bytes": base64.b64encode(picture(PIXELS)).decode()},
    "data URI": "data:image/png;base64," + base64.b64encode(picture(PIXELS)).decode(),
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_an_image_sent_in_any_way_gives_the_answer_of_the_package(model: Model, image: Any) -> None:
    expected = model.predict([{**ROW, "photo": PIXELS}]).to_json()
    answer = asked(model, {"rows": [{**ROW, "photo": image}]})
    assert answer == {"id": "q1", "model": model.hash, "predictions": expected}


def test_rows_columns_and_a_bare_list_are_the_same(flat: Model) -> None:
    rows = [ROW, {**ROW, "age": None, "city": None}]
    expected = flat.predict(rows).to_json()
    columns = {name: [row[name] for row in rows] for name in ROW}
    assert [asked(flat, body)["predictions"] for body in ({"rows": rows}, rows, {"columns": columns})] == [expected] * 3


def test_a_form_with_a_file_and_a_csv_give_the_same(model: Model, flat: Model) -> None:
    body, kind = form([("age", None, b"41.5"), ("city", None, b"Oslo"), ("seen", None, b"2026-03-02T10:00:00"), ("tags", None, b"a;b"),
                       ("photo", "a.png", picture(PIXELS))])  # fmt: skip
    assert asked(model, body, kind)["predictions"] == model.predict([{**ROW, "photo": PIXELS}]).to_json()
    table = io.StringIO()
    csv.writer(table).writerows([list(ROW), ["41.5", "Oslo", "2026-03-02T10:00:00", "a;b"]])
    assert asked(flat, table.getvalue().encode(), "text/csv; charset=utf-8")["predictions"] == flat.predict([ROW]).to_json()


def test_an_empty_field_of_a_form_is_a_missing_value(flat: Model) -> None:
    body, kind = form([("age", None, b""), ("city", None, b"Oslo"), ("seen", None, b""), ("tags", None, b"")])
    assert asked(flat, body, kind)["predictions"] == flat.predict([{"age": None, "city": "Oslo", "seen": None, "tags": None}]).to_json()


def test_top_names_the_most_probable_classes(flat: Model) -> None:
    full, top = asked(flat, [ROW])["predictions"][0], asked(flat, [ROW], top="1")["predictions"][0]
    assert top == {"prediction": full["prediction"], "probabilities": {full["prediction"]: full["probabilities"][full["prediction"]]}}
    assert asked(flat, [ROW], top="9")["predictions"][0] == full


@pytest.mark.parametrize("kind", ["number", "set"])
def test_numbers_and_sets_are_answered_as_the_package_does(tmp_path: Path, kind: str) -> None:
    make_package(tmp_path / "package", kind, photos=False)
    model = Model.load(tmp_path / "package", threads=1)
    row = {name: ROW.get(name, "no") for name in model.signature}
    assert asked(model, [row])["predictions"] == model.predict([row]).to_json()


BAD: dict[str, tuple[bytes, str, type[UsageError], str]] = {
    "no JSON": (b"{rows}", "application/json", UsageError, "not JSON"),
    "NaN": (b'[{"age": NaN}]', "application/json", UsageError, "not JSON"),
    "Infinity": (b'[{"age": -Infinity}]', "application/json", UsageError, "not JSON"),
    "beyond float64": (b'[{"age": 1e400}]', "application/json", UsageError, "infinity"),
    "invalid UTF-8": (b'[{"city": "\xff"}]', "application/json", UsageError, "UTF-8"),
    "a lone surrogate": (b'[{"city": "\\ud800"}]', "application/json", UsageError, "surrogate"),
    "a key twice": (b'[{"age": 1, "age": 2}]', "application/json", UsageError, "twice"),
    "too deep": (b"[" * 40 + b"]" * 40, "application/json", UsageError, "deeper"),
    "deeper than orjson": (b"[" * 2000 + b"]" * 2000, "application/json", UsageError, "depth"),
    "a number": (b"7", "application/json", UsageError, "neither"),
    "an unknown key": (b'{"row": []}', "application/json", UsageError, "did you mean 'rows'"),
    "rows that are no list": (b'{"rows": {}}', "application/json", UsageError, "no rows of this form"),
    "no rows": (b'{"rows": []}', "application/json", InputError, "no rows"),
    "a row that is no object": (b"[1]", "application/json", InputError, "row 1"),
    "a column that is not there": (b'[{"age": 1}]', "application/json", InputError, "'city' is missing"),
    "other type": (b"plain", "text/plain", UnknownMedia, "text/plain"),
    "no boundary": (b"x", "multipart/form-data", UsageError, "boundary"),
    "a form cut short": (form([("age", None, b"4")])[0][:-8], "multipart/form-data; boundary=xyz", UsageError, "before its last"),
    "a damaged form": (b"--abc\r\n", "multipart/form-data; boundary=xyz", UsageError, "damaged"),
    "no CSV header": (b"", "text/csv", InputError, "header"),
    "CSV of another width": (b"age,city\n1\n", "text/csv", InputError, "row 1 has 1 fields"),
    "CSV that is not UTF-8": (b"age\n\xff\n", "text/csv", UsageError, "UTF-8"),
}


@pytest.mark.parametrize(("body", "kind", "error", "said"), BAD.values(), ids=BAD)
def test_what_is_no_row_is_refused_with_its_reason(flat: Model, body: bytes, kind: str, error: type[UsageError], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        asked(flat, body, kind)
    assert type(caught.value) is error


VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "a path": ({"photo": "/etc/passwd"}, "names a file or URL"),
    "an address": ({"photo": "http://127.0.0.1/a.png"}, "names a file or URL"),
    "an image cut short": ({"photo": {"bytes": base64.b64encode(picture(PIXELS)[:-30]).decode()}}, "column 'photo' row 1"),
    "no image": ({"photo": {"bytes": "aGVsbG8="}}, "column 'photo' row 1"),
    "no base64": ({"photo": {"bytes": "@"}}, "row 1: column 'photo'"),
    "another shape": ({"photo": {"uint8": "AAAA", "shape": [10**30, 1]}}, "row 1: column 'photo'"),
    "more pixels than its shape": ({"photo": {"uint8": "AAAA", "shape": [1, 2]}}, "row 1: column 'photo'"),
    "fewer pixels than its shape": ({"photo": {"uint8": "AAAA", "shape": [2, 2]}}, "row 1: column 'photo'"),
    "pixels beyond a byte": ({"photo": [[256]]}, "row 1: column 'photo'"),
    "ragged pixels": ({"photo": [[1, 2], [3]]}, "row 1: column 'photo'"),
    "a text for a number": ({"age": "old"}, "row 1: column 'age' is 'old'"),
    "true for a number": ({"age": True}, "row 1: column 'age' is True"),
    "no date": ({"seen": "yesterday"}, "row 1: column 'seen'"),
    "a date before time": ({"seen": "0001-01-01T00:00:00+23:59"}, "row 1: column 'seen'"),
    "an object for a category": ({"city": {"a": 1}}, "row 1: column 'city'"),
}


@pytest.mark.parametrize(("value", "said"), VALUES.values(), ids=VALUES)
def test_a_value_that_does_not_fit_is_refused_with_row_and_column(model: Model, value: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asked(model, [{**ROW, "photo": PIXELS.tolist(), **value}])


def test_an_infinite_number_is_refused_however_it_is_written(flat: Model) -> None:
    body, kind = form([("age", None, b"inf"), ("city", None, b"Oslo"), ("seen", None, b""), ("tags", None, b"")])
    with pytest.raises(InputError, match="row 1: column 'age' is infinite"):
        asked(flat, body, kind)


def test_limits_hold_to_the_last_row_and_pixel(model: Model, flat: Model) -> None:
    assert len(asked(flat, [ROW] * 50)["predictions"]) == 50
    for body in ([ROW] * 51, {"columns": {name: [value] * 51 for name, value in ROW.items()}}):
        with pytest.raises(TooLarge, match="51 rows, at most 50"):
            asked(flat, body)
    row = {**ROW, "photo": {"bytes": base64.b64encode(picture(np.zeros((100, 100, 3), np.uint8))).decode()}}
    asked(model, [row])
    with pytest.raises(TooLarge, match="more than 10,000 pixels"):
        asked(model, [row, {**row, "photo": [[1]]}])


def test_a_picture_that_unfolds_to_more_than_memory_is_refused_before_it_is_decoded(model: Model) -> None:
    bomb = picture(np.zeros((3000, 3000, 3), np.uint8))
    assert len(bomb) < 100_000
    with pytest.raises(TooLarge, match="pixels"):
        asked(model, [{**ROW, "photo": {"bytes": base64.b64encode(bomb).decode()}}])


def test_depth_is_counted_to_the_level_and_brackets_in_texts_do_not_count() -> None:
    read_json(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH)
    with pytest.raises(UsageError, match="deeper"):
        read_json(b"[" * (MOST_DEPTH + 1) + b"]" * (MOST_DEPTH + 1))
    assert read_json(b'{"a": "' + b"[{" * 100 + b'\\"", "b:": ":"}') == {"a": "[{" * 100 + '"', "b:": ":"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(':"\\ab', max_size=3), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(value=JSON_VALUES, ascii_only=st.booleans())
def test_every_json_value_without_a_key_twice_is_read_as_the_standard_library_does(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert read_json(text) == json.loads(text, parse_int=lambda digits: int(digits) if -(2**63) <= int(digits) < 2**64 else float(digits))


@settings(max_examples=60, deadline=None)
@given(value=st.dictionaries(st.text(':"\\ab', max_size=3), JSON_VALUES, min_size=1, max_size=4))
def test_a_key_twice_is_found_wherever_it_stands(value: dict[str, Any]) -> None:
    name = json.dumps(next(iter(value)))
    inner = json.dumps(value)[:-1] + f", {name}: 1}}"
    for body in (inner, f'[[{inner}], ":"]', f'{{"rows": [{{"x": {inner}}}]}}'):
        with pytest.raises(UsageError, match="twice"):
            read_json(body.encode())


def status(model: Model, body: Any, kind: str = "application/json") -> int:
    """Return the HTTP status of an answer or a refusal; any other exception goes through."""
    try:
        asked(model, body, kind)
    except WeighbridgeError as error:
        return error.http_status
    return 200


@settings(max_examples=100, deadline=None)
@given(value=JSON_VALUES, column=st.sampled_from([*ROW, "photo"]), place=st.booleans())
def test_no_value_of_a_column_gives_anything_but_an_answer_or_a_refusal(model: Model, value: Any, column: str, place: bool) -> None:
    row = {**ROW, "photo": PIXELS.tolist(), column: value}
    body: Any = [row] if place else {"columns": {**{name: [one] for name, one in row.items()}, column: value}}
    assert status(model, body) in (200, 400, 413, 422)


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "text/csv", "multipart/form-data; boundary=a"]))
def test_no_bytes_give_anything_but_an_answer_or_a_refusal(flat: Model, body: bytes, kind: str) -> None:
    assert status(flat, body, kind) in (200, 400, 413, 422)
