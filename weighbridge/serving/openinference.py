"""The dialect `infer`: the Open Inference Protocol v2 (KServe, Triton), each column of the model one tensor; JSON or binary, in and out.

Outputs: `probabilities` FP32 [n, C] (or [n, L] of a set's labels) and, where asked for, `labels` BYTES [n]; of numbers `value` FP64 [n].
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from weighbridge.errors import InputError, UsageError, did_you_mean
from weighbridge.preprocessing.feature import objects
from weighbridge.runtime import Model
from weighbridge.runtime.columns import Input
from weighbridge.runtime.model import SET_THRESHOLD
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.limits import Limits
from weighbridge.serving.metadata import OUTPUTS
from weighbridge.serving.plain import JSON, checked, refuse_many
from weighbridge.serving.strict_json import read_json
from weighbridge.serving.tensors import from_bytes, from_json, read_datatype, read_shape, to_bytes

BINARY = "application/octet-stream"
HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_ID = 200


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An output that was asked for, and whether as binary data."""

    name: str
    binary: bool


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an answer needs to know of its request; `own_id` is the caller's, returned as it came."""

    own_id: str
    name: str
    version: str
    outputs: tuple[Wanted, ...]


class OpenInference:
    """The dialect `infer`; `head` holds `name`, `id`, and `json_bytes` where binary data follows the JSON."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return the rows. Raises UsageError (400, 413), InputError (422) that names input and row."""
        text, binary = _parts(head.get("json_bytes"), body)
        asked = read_json(text)
        if not isinstance(asked, dict) or not isinstance(asked.get("inputs"), list):
            raise UsageError("the body has no inputs", do='send {"inputs": [{"name", "shape", "datatype", "data"}]}')
        wanted = _wanted(asked, model)
        columns = _columns(model, asked["inputs"], memoryview(binary), limits)
        reading = replace(model.reading, paths=False)
        rows, count = checked(model, columns, reading, limits)
        version = str(head.get("version") or model.info.package_sha256[:12])
        own = _own_id(asked.get("id", head.get("id", "")))
        return Rows(columns=rows, count=count, context=Asked(own_id=own, name=str(head.get("name", "")), version=version, outputs=wanted))

    def write(self, model: Model, context: Asked, output: np.ndarray) -> tuple[str, dict[str, str], bytes]:
        """Return the answer: JSON, or JSON with binary data behind it and the header that says where it begins."""
        described, binary = [], []
        for wanted in context.outputs:
            datatype = OUTPUTS[model.info.kind][wanted.name]
            values = _output(model, wanted.name, output)
            tensor: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": list(values.shape)}
            if wanted.binary:
                binary.append(to_bytes(values, datatype))
                described.append({**tensor, "parameters": {"binary_data_size": len(binary[-1])}})
            else:
                described.append({**tensor, "data": values.reshape(-1).tolist()})
        parameters = {"model_sha256": model.hash}
        named = {"model_name": context.name, "model_version": context.version, "id": context.own_id}
        answer = {**named, "parameters": parameters, "outputs": described}
        text = orjson.dumps(answer)
        if not binary:
            return JSON, {}, text
        return BINARY, {HEADER_LENGTH: str(len(text))}, b"".join([text, *binary])


def _parts(json_bytes: Any, body: bytes) -> tuple[bytes, bytes]:
    """Return the JSON of a body and the binary data behind it. Raises UsageError."""
    if json_bytes is None:
        return body, b""
    text = str(json_bytes)
    if not (text.isascii() and text.isdigit()) or len(text) > 12 or int(text) > len(body):
        raise UsageError(f"{HEADER_LENGTH} is {text[:40]!r} and the body has {len(body):,} bytes", do="send the length of the JSON")
    return body[: int(text)], body[int(text) :]


def _own_id(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_ID:
        raise UsageError(f"id is not a text of at most {MOST_ID} characters", do="leave it out, or send a shorter one")
    return value


def _columns(model: Model, inputs: list[Any], binary: memoryview, limits: Limits) -> dict[str, Any]:
    """Return each column's values. Raises UsageError for binary data that no input asks for."""
    known = {one.name: one for one in model.inputs}
    columns: dict[str, Any] = {}
    at = 0
    for tensor in inputs:
        one = _known(tensor, known, columns)
        datatype, shape = read_datatype(tensor, one), read_shape(tensor, one)
        refuse_many(shape[0], limits)
        size = _binary_size(tensor, one)
        if size is None:
            columns[one.name] = _images(from_json(tensor.get("data"), datatype, shape, one), datatype, one)
            continue
        if at + size > len(binary):
            raise UsageError(f"input '{one.name}' has {size:,} bytes of binary data, {len(binary) - at:,} came", do="send them all")
        columns[one.name] = from_bytes(binary[at : at + size], datatype, shape, one)
        at += size
    if at != len(binary):
        raise UsageError(f"{len(binary) - at:,} bytes of binary data belong to no input", do="give binary_data_size with each input")
    return columns


def _known(tensor: Any, known: Mapping[str, Input], columns: Mapping[str, Any]) -> Input:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise UsageError("an input has no name", do='send {"name", "shape", "datatype", "data"} for each')
    name = tensor["name"]
    if name not in known:
        raise UsageError(f"the model has no input {name[:60]!r}{did_you_mean(name, known)}", do=f"it reads {', '.join(list(known)[:20])}")
    if name in columns:
        raise UsageError(f"input '{name}' comes twice", do="send each once")
    return known[name]


def _binary_size(tensor: Mapping[str, Any], one: Input) -> int | None:
    """Return how many bytes of binary data are a tensor's, None for one in JSON."""
    size = _parameters(tensor, f"input '{one.name}'").get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0 or "data" in tensor:
        raise UsageError(f"input '{one.name}' has no whole binary_data_size, or data beside it", do="send one of both")
    return size


def _images(values: Any, datatype: str, one: Input) -> Any:
    """Return the values; files of images and clips, which JSON has as base64 (or data: URIs, read later), as bytes. Raises InputError."""
    if one.type not in ("image", "audio") or datatype != "BYTES":
        return values
    return [_file(value, row, one) for row, value in enumerate(values, 1)]


def _file(value: str | None, row: int, one: Input) -> Any:
    if not value or value.startswith("data:"):
        return value or None
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise InputError(f"row {row}: input '{one.name}' is not base64", do="send a file as base64, or as binary data") from None


def _wanted(asked: Mapping[str, Any], model: Model) -> tuple[Wanted, ...]:
    """Return the outputs that were asked for; without any the first of the model's. Raises UsageError."""
    known = OUTPUTS[model.info.kind]
    all_binary = _flag(_parameters(asked, "the body"), "binary_data_output")
    outputs = asked.get("outputs")
    if not outputs and outputs in (None, []):
        return (Wanted(name=next(iter(known)), binary=all_binary),)
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise UsageError("outputs is not a list of objects", do='send [{"name": ...}], or leave it out')
    names = [one.get("name") for one in outputs]
    for name in names:
        if not isinstance(name, str) or name not in known or names.count(name) > 1:
            raise UsageError(f"the model has no output {str(name)[:60]!r}, or it is named twice", do=f"it has {', '.join(known)}")
    return tuple(_output_asked(one, all_binary) for one in outputs)


def _output_asked(one: Mapping[str, Any], all_binary: bool) -> Wanted:
    parameters = _parameters(one, f"output '{one['name']}'")
    if parameters.get("classification") is not None:
        raise UsageError("the classification extension is not spoken", do="ask for the outputs probabilities and labels")
    binary = _flag(parameters, "binary_data") if "binary_data" in parameters else all_binary
    return Wanted(name=str(one["name"]), binary=binary)


def _parameters(holder: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = holder.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"the parameters of {where} are no object", do="send an object, or leave them out")
    return found


def _flag(parameters: Mapping[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise UsageError(f"{name} is not true or false", do="send true or false")
    return value


def _output(model: Model, name: str, output: np.ndarray) -> np.ndarray:
    """Return one output's values: float [n] or [n, C], or an object array of texts."""
    if name == "value":
        return output
    if name == "probabilities":
        return output.astype(np.float32)
    if model.info.kind == "category":
        return objects([model.classes[code] for code in output.argmax(axis=1).tolist()])
    separator = model.encoder.learnt.separator
    return objects([separator.join(model.classes[code] for code in np.flatnonzero(row > SET_THRESHOLD)) for row in output])


DIALECTS["infer"] = OpenInference()
