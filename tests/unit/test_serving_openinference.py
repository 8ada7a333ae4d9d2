"""Law: the Open Inference Protocol gives what the package gives, in JSON and in binary; a tensor that does not fit is refused by name."""

from __future__ import annotations

import base64
import json
import struct
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
from weighbridge.serving.limits import Limits, TooLarge
from weighbridge.serving.metadata import metadata
from weighbridge.serving.openinference import HEADER_LENGTH

PIXELS = np.arange(2 * 60, dtype=np.uint8).reshape(2, 4, 5, 3)
ROWS: dict[str, Any] = {"age": [41.5, 39.0], "city": ["Oslo", "Rom"], "seen": ["2026-03-02T10:00:00", "2026-01-01"], "tags": ["a;b", "b"]}
LIMITS = Limits(rows=20)


def tensor(name: str, datatype: str, data: Any, shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data, **more}


def inputs(**more: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the four tensors of ROWS, some of them replaced or added."""
    plain = {"age": tensor("age", "FP64", ROWS["age"]), **{name: tensor(name, "BYTES", ROWS[name]) for name in ("city", "seen", "tags")}}
    return list({**plain, **more}.values())


def asked(model: Model, body: Any, binary: bytes = b"", limits: Limits = LIMITS) -> tuple[dict[str, Any], bytes]:
    """Return the JSON of an answer and the binary data behind it."""
    infer = spoken()["infer"]
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {"name": "tiny", "id": "q1", **({"json_bytes": str(len(text))} if binary else {})}
    rows = infer.read(model, head, text + binary, limits)
    _, headers, answer = infer.write(model, rows.context, model.outputs(rows.columns, rows.count))
    size = int(headers.get(HEADER_LENGTH, len(answer)))
    return json.loads(answer[:size]), answer[size:]


def expected(model: Model, **more: Any) -> np.ndarray:
    found = model.predict({**ROWS, **more}).probabilities
    assert found is not None
    return found.astype(np.float32)


def elements(values: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def test_json_tensors_give_the_answer_of_the_package_flat_or_nested(flat: Model) -> None:
    nested = tensor("age", "FP32", [[41.5], [39.0]], [2, 1])
    for sent in (inputs(), inputs(age=nested)):
        answer, _ = asked(flat, {"inputs": sent, "id": "mine"})
        assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "tiny", flat.info.package_sha256[:12])
        assert answer["parameters"]["model_sha256"] == flat.hash
        (output,) = answer["outputs"]
        assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [2, 2])
        np.testing.assert_array_equal(np.float32(output["data"]).reshape(2, 2), expected(flat))


def test_binary_tensors_in_and_out_give_the_same(model: Model) -> None:
    parts = {
        "age": ("FP64", [2], np.array(ROWS["age"]).tobytes()),
        "photo": ("UINT8", [2, 4, 5, 3], PIXELS.tobytes()),
        **{name: ("BYTES", [2, 1], elements([text.encode() for text in ROWS[name]])) for name in ("city", "seen", "tags")},
    }
    sent = [
        {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        for name, (kind, shape, raw) in parts.items()
    ]
    outputs = [{"name": "labels", "parameters": {"binary_data": True}}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    answer, binary = asked(model, {"inputs": sent, "outputs": outputs}, b"".join(raw for _, _, raw in parts.values()))
    labels, probabilities = answer["outputs"]
    want = expected(model, photo=list(PIXELS))
    size = labels["parameters"]["binary_data_size"]
    assert binary[:size] == elements([model.classes[code].encode() for code in want.argmax(axis=1)])
    np.testing.assert_array_equal(np.frombuffer(binary[size:], "<f4").reshape(probabilities["shape"]), want)


def test_images_come_as_pixels_or_as_files_in_json_and_in_binary(model: Model) -> None:
    files = [picture(image) for image in PIXELS]
    want = expected(model, photo=list(PIXELS)).tolist()
    in_json = [
        tensor("photo", "UINT8", PIXELS.tolist(), [2, 4, 5, 3]),
        tensor("photo", "UINT8", PIXELS.reshape(-1).tolist(), [2, 4, 5, 3]),
        tensor("photo", "BYTES", [base64.b64encode(file).decode() for file in files]),
        tensor("photo", "BYTES", ["data:image/png;base64," + base64.b64encode(file).decode() for file in files]),
    ]
    for sent in in_json:
        output = asked(model, {"inputs": inputs(photo=sent)})[0]["outputs"][0]
        assert np.float32(output["data"]).reshape(2, 2).tolist() == want
    raw = elements(files)
    binary = {"name": "photo", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    output = asked(model, {"inputs": inputs(photo=binary)}, raw)[0]["outputs"][0]
    assert np.float32(output["data"]).reshape(2, 2).tolist() == want


def test_missing_values_are_null_nan_or_an_empty_file(model: Model) -> None:
    photo = tensor("photo", "BYTES", ["", base64.b64encode(picture(PIXELS[1])).decode()])
    sent = inputs(age=tensor("age", "FP64", [None, 39.0]), city=tensor("city", "BYTES", [None, "Rom"]), photo=photo)
    output = asked(model, {"inputs": sent})[0]["outputs"][0]
    want = expected(model, age=[None, 39.0], city=[None, "Rom"], photo=[None, PIXELS[1]])
    assert np.float32(output["data"]).reshape(2, 2).tolist() == want.tolist()


@pytest.mark.parametrize(("kind", "name", "datatype"), [("number", "value", "FP64"), ("set", "probabilities", "FP32")])
def test_numbers_and_sets_have_their_own_outputs(tmp_path: Path, kind: str, name: str, datatype: str) -> None:
    make_package(tmp_path / "package", kind, photos=False)
    model = Model.load(tmp_path / "package", threads=1)
    rows = {one: ROWS.get(one, ["no", "yes"]) for one in model.signature}
    sent = [tensor(one, "FP64" if one == "age" else "BYTES", values) for one, values in rows.items()]
    output = asked(model, {"inputs": sent})[0]["outputs"][0]
    answer = model.predict(rows)
    want = answer.values if kind == "number" else answer.probabilities
    assert want is not None
    assert (output["name"], output["datatype"]) == (name, datatype)
    np.testing.assert_allclose(np.reshape(output["data"], want.shape), want, rtol=1e-7)


def test_metadata_names_every_input_and_output() -> None:
    facts = {
        "name": "tiny", "versions": ["abc"], "kind": "category", "classes": ["no", "yes"], "model": "f00",
        "inputs": [{"name": "age", "type": "number"}, {"name": "photo", "type": "image"}],
    }  # fmt: skip
    found = metadata(facts)
    assert found["inputs"][0] == {"name": "age", "datatype": "FP64", "shape": [-1], "parameters": {"type": "number"}}
    assert [one["name"] for one in found["outputs"]] == ["probabilities", "labels"]


AGE = tensor("age", "FP64", [1.0, 2.0])
BAD: dict[str, tuple[Any, type[UsageError], str]] = {
    "no object": ([], UsageError, "no inputs"),
    "no inputs": ({"inputs": {}}, UsageError, "no inputs"),
    "an input without a name": ({"inputs": [{}]}, UsageError, "no name"),
    "an unknown input": ({"inputs": inputs(x=tensor("agee", "FP64", [1.0]))}, UsageError, "did you mean 'age'"),
    "an input twice": ({"inputs": [AGE, AGE]}, UsageError, "comes twice"),
    "FP16": ({"inputs": [tensor("age", "FP16", [1.0])]}, UsageError, "age' is FP16"),
    "BF16": ({"inputs": [tensor("age", "BF16", [1.0])]}, UsageError, "age' is BF16"),
    "another type": ({"inputs": [tensor("age", "BYTES", ["1"])]}, UsageError, "column of type number"),
    "a type that is a list": ({"inputs": [{**AGE, "datatype": []}]}, UsageError, "column of type number"),
    "no shape": ({"inputs": [{**AGE, "shape": [-1]}]}, UsageError, "no shape"),
    "true as a side": ({"inputs": [{**AGE, "shape": [True]}]}, UsageError, "no shape"),
    "two columns in one": ({"inputs": [{**AGE, "shape": [1, 2]}]}, InputError, "not \\[rows\\]"),
    "fewer values": ({"inputs": [{**AGE, "shape": [3]}]}, UsageError, "2 values"),
    "text for a number": ({"inputs": [tensor("age", "FP64", ["a", 1])]}, InputError, "row 1: input 'age' is not FP64"),
    "a fraction for INT64": ({"inputs": [tensor("age", "INT64", [1, 1.5])]}, InputError, "row 2: input 'age' is not INT64"),
    "no data": ({"inputs": [{**AGE, "data": None}]}, UsageError, "no data"),
    "a column is missing": ({"inputs": [AGE]}, InputError, "'city' is missing"),
    "columns of other lengths": ({"inputs": inputs(age=tensor("age", "FP64", [1.0]))}, InputError, "rows"),
    "no rows": ({"inputs": [tensor(name, "FP64" if name == "age" else "BYTES", [], [0]) for name in ROWS]}, InputError, "no rows"),
    "an unknown output": ({"inputs": inputs(), "outputs": [{"name": "logits"}]}, UsageError, "no output 'logits'"),
    "an output whose name is a list": ({"inputs": inputs(), "outputs": [{"name": []}]}, UsageError, "no output"),
    "an output twice": ({"inputs": inputs(), "outputs": [{"name": "labels"}] * 2}, UsageError, "twice"),
    "classification": ({"inputs": inputs(), "outputs": [{"name": "labels", "parameters": {"classification": 3}}]}, UsageError, "spoken"),
    "an id that is a number": ({"inputs": inputs(), "id": 7}, UsageError, "id is not a text"),
    "parameters that are a list": ({"inputs": inputs(), "parameters": [1]}, UsageError, "no object"),
    "a word for a flag": ({"inputs": inputs(), "parameters": {"binary_data_output": "yes"}}, UsageError, "true or false"),
    "binary data of less": ({"inputs": [{**AGE, "data": 0, "parameters": {"binary_data_size": 16}}]}, UsageError, "data beside it"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "error", "said"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_with_its_reason(flat: Model, body: Any, error: type[UsageError], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        asked(flat, body)
    assert type(caught.value) is error


def sized(name: str, datatype: str, shape: list[int], size: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


BINARY: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "fewer bytes than said": (sized("age", "FP64", [2], 16), b"\0" * 8, "16 bytes of binary data, 8 came"),
    "more bytes than said": (sized("age", "FP64", [2], 16), b"\0" * 17, "1 bytes of binary data belong to no input"),
    "bytes of another shape": (sized("age", "FP64", [3], 16), b"\0" * 16, "16 bytes of FP64"),
    "a negative size": (sized("age", "FP64", [2], -1), b"\0", "binary_data_size"),
    "an element beyond the end": (sized("city", "BYTES", [1], 5), struct.pack("<I", 2**32 - 1) + b"a", "hold 0 elements"),
    "a length cut short": (sized("city", "BYTES", [1], 3), b"\0\0\0", "hold 0 elements"),
    "no UTF-8": (sized("city", "BYTES", [1], 5), elements([b"\xff"]), "row 1: input 'city' is not UTF-8"),
}


@pytest.mark.parametrize(("one", "binary", "said"), BINARY.values(), ids=BINARY)
def test_binary_data_that_does_not_fit_is_refused(flat: Model, one: dict[str, Any], binary: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(flat, {"inputs": [one]}, binary)


@pytest.mark.parametrize("said", ["x", "-1", "1e3", "99999", "٣"])
def test_a_header_length_that_is_none_is_refused(flat: Model, said: str) -> None:
    with pytest.raises(UsageError, match=HEADER_LENGTH):
        spoken()["infer"].read(flat, {"json_bytes": said}, b"{}", LIMITS)


def test_the_row_limit_holds_before_any_data_is_read(flat: Model) -> None:
    many = [tensor(name, "FP64" if name == "age" else "BYTES", ROWS[name][:1] * 20) for name in ROWS]
    assert asked(flat, {"inputs": many})[0]["outputs"][0]["shape"] == [20, 2]
    with pytest.raises(TooLarge, match="21 rows, at most 20"):
        asked(flat, {"inputs": [tensor("age", "FP64", [1.0] * 21)]})
    with pytest.raises(TooLarge, match="2,147,483,647 rows"):
        asked(flat, {"inputs": [tensor("age", "FP64", [1.0], [2**31 - 1])]})


def test_an_infinite_number_is_refused(flat: Model) -> None:
    sent = inputs(age=sized("age", "FP32", [2], 8))
    with pytest.raises(InputError, match="row 2: column 'age' is infinite"):
        asked(flat, {"inputs": sent}, np.array([1, np.inf], "<f4").tobytes())


PART = st.none() | st.booleans() | st.integers(-2, 9) | st.text("FP64BYTESage", max_size=6) | st.lists(st.integers(-1, 3), max_size=3)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["age", "city", "photo", ""]) | PART,
        "datatype": st.sampled_from(["FP32", "BYTES", "UINT8"]) | PART,
        "shape": PART,
        "data": PART,
        "parameters": PART | st.fixed_dictionaries({"binary_data_size": PART}),
    },
)


@settings(max_examples=150, deadline=None)
@given(sent=st.lists(FIELDS, max_size=4), outputs=PART | st.lists(FIELDS, max_size=2), binary=st.binary(max_size=40))
def test_no_tensors_give_anything_but_an_answer_or_a_refusal(model: Model, sent: Any, outputs: Any, binary: bytes) -> None:
    try:
        asked(model, {"inputs": sent, "outputs": outputs}, binary)
        status = 200
    except WeighbridgeError as error:
        status = error.http_status
    assert status in (200, 400, 413, 422)
