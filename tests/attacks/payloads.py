"""Files that would run code if anything unpickled, evaluated or imported them: each would leave its canary behind, and do no other harm."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAKE = "open({!r}, 'w').close()"


@dataclass(frozen=True)
class Payload:
    """One hostile file. `naive` is the way in which careless code opens it; None where no code ran even so (it attacks a parser)."""

    name: str
    content: bytes
    naive: Callable[[bytes], Any] | None = None


class Reduced:
    """An object whose pickle calls a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


def calls(canary: Path) -> dict[str, Reduced]:
    code = MAKE.format(str(canary))
    return {
        "os.system": Reduced(os.system, f"touch '{canary}'"),
        "subprocess.call": Reduced(subprocess.call, ["touch", str(canary)]),
        "builtins.exec": Reduced(exec, code),
        "builtins.eval": Reduced(eval, code),
    }


def pickles(canary: Path) -> Iterator[Payload]:
    for how, call in calls(canary).items():
        for protocol in range(6):
            yield Payload(f"pickle {protocol} {how}", pickle.dumps(call, protocol=protocol), pickle.loads)
    call = calls(canary)["os.system"]
    bare = pickle.dumps(call)
    yield Payload("pickle nested in a dict", pickle.dumps({"state": [1, {"w": (call,)}], "epoch": 3}), pickle.loads)
    yield Payload("pickle behind a comment", b"# weights\n" + bare, lambda content: pickle.loads(content[10:]))
    yield Payload("pickle behind a safetensors length", struct.pack("<Q", len(bare)) + bare, lambda content: pickle.loads(content[8:]))
    yield Payload("pickle behind Parquet's magic", b"PAR1" + bare + b"PAR1", lambda content: pickle.loads(content[4:]))
    yield Payload("pickle behind Arrow's magic", b"ARROW1\0\0" + bare + b"ARROW1", lambda content: pickle.loads(content[8:]))
    yield Payload("pickle behind a brace", b"{" + bare, lambda content: pickle.loads(content[1:]))
    yield Payload("pickle, gzip", gzip.compress(bare), lambda content: pickle.loads(gzip.decompress(content)))
    yield Payload("pickle, bzip2", bz2.compress(bare), lambda content: pickle.loads(bz2.decompress(content)))
    two = pickle.dumps({"fine": 1}) + bare
    yield Payload("second pickle of a stream", two, lambda content: [pickle.load(stream) for stream in [io.BytesIO(content)] * 2])
    yield Payload("pickle that imports by STACK_GLOBAL", _stack_global(canary), pickle.loads)
    yield Payload("pickle by INST", b"(S'touch " + str(canary).encode() + b"'\nios\nsystem\n.", pickle.loads)
    yield Payload("pickle by OBJ", b"(cos\nsystem\nS'touch " + str(canary).encode() + b"'\no.", pickle.loads)


def _stack_global(canary: Path) -> bytes:
    text = f"touch {canary}".encode()
    return b"\x80\x04\x8c\x02os\x8c\x06system\x93X" + struct.pack("<I", len(text)) + text + b"\x85R."


def archives(canary: Path) -> Iterator[Payload]:
    """Formats that hold pickles inside, as torch, joblib and numpy write them, and programs in archives."""
    import joblib
    import torch

    call = calls(canary)["os.system"]

    def unsafe(content: bytes) -> Any:
        return torch.load(io.BytesIO(content), weights_only=False)

    for name, legacy in (("zip", False), ("legacy", True)):
        for what, held in (("object", call), ("state", {"network/weight": torch.zeros(3), "hook": call})):
            stream = io.BytesIO()
            torch.save(held, stream, _use_new_zipfile_serialization=not legacy)
            yield Payload(f"torch {name}, {what}", stream.getvalue(), unsafe)
    stream = io.BytesIO()
    joblib.dump({"model": call}, stream)
    yield Payload("joblib", stream.getvalue(), lambda content: joblib.load(io.BytesIO(content)))
    stream = io.BytesIO()
    joblib.dump(call, stream, compress=3)
    yield Payload("joblib, zlib", stream.getvalue(), lambda content: joblib.load(io.BytesIO(content)))
    objects = np.array([call], dtype=object)
    for name, save in (("npy", lambda to: np.save(to, objects, allow_pickle=True)), ("npz", lambda to: np.savez(to, weights=objects))):
        stream = io.BytesIO()
        save(stream)
        yield Payload(f"numpy {name} of objects", stream.getvalue(), _numpy_naive)
    program = f"{MAKE.format(str(canary))}\n".encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("__main__.py", program)
    yield Payload("zip with a __main__", stream.getvalue(), lambda content: exec(zipfile.ZipFile(io.BytesIO(content)).read("__main__.py")))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("data.pkl")
        info.size = len(pickle.dumps(call))
        archive.addfile(info, io.BytesIO(pickle.dumps(call)))
    yield Payload("tar with a pickle", stream.getvalue(), _tar_naive)
    yield Payload("program as a config", b"import os\n" + program, lambda content: exec(content, {}))
    notebook = {"cells": [{"cell_type": "code", "source": [program.decode()]}], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}
    yield Payload("notebook", json.dumps(notebook).encode(), lambda content: exec(json.loads(content)["cells"][0]["source"][0], {}))
    expression = json.dumps({"format": 1, "__reduce__": f"eval:{MAKE.format(str(canary))}"}).encode()
    yield Payload("expression in JSON", expression, lambda content: eval(json.loads(content)["__reduce__"].removeprefix("eval:")))


def _numpy_naive(content: bytes) -> Any:
    held = np.load(io.BytesIO(content), allow_pickle=True)
    return held["weights"] if hasattr(held, "files") else held


def _tar_naive(content: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = archive.extractfile("data.pkl")
        assert member is not None
        return pickle.load(member)


def recipes(canary: Path) -> Iterator[Payload]:
    """YAML whose tags build Python objects, alone and inside a recipe that is right otherwise."""
    import yaml

    touch, code = f"touch {canary}", json.dumps(MAKE.format(str(canary)))
    tags = {
        "apply os.system": f'!!python/object/apply:os.system ["{touch}"]',
        "apply exec": f"!!python/object/apply:builtins.exec [{code}]",
        "apply eval": f"!!python/object/apply:builtins.eval [{code}]",
        "apply subprocess": f'!!python/object/apply:subprocess.call [["touch", "{canary}"]]',
        "new with a list": f'!!python/object/new:os.system ["{touch}"]',
        "apply with kwds": f'!!python/object/apply:subprocess.call {{args: [["touch", "{canary}"]], kwds: {{shell: false}}}}',
        "deferred by map": f'!!python/object/new:tuple [!!python/object/new:map [!!python/name:os.system , ["{touch}"]]]',
    }
    for name, tag in tags.items():
        yield Payload(f"YAML {name}", f"data: {{source: a.csv, target: y}}\nname: {tag}\n".encode(), yaml.unsafe_load)
        yield Payload(f"YAML {name}, alone", f"{tag}\n".encode(), yaml.unsafe_load)


def parsers(canary: Path) -> Iterator[Payload]:
    """Files that attack the parsers: nothing to execute, everything to refuse."""
    yield Payload("JSON nested 200,000 deep", b'{"a":' + b"[" * 200_000)
    yield Payload("YAML of a billion laughs", _laughs().encode())
    yield Payload("YAML nested 3,000 deep", b"[" * 3_000)
    for name, header in {
        "overlapping offsets": _tensors({"a": [0, 8], "b": [4, 12]}, 12),
        "offsets beyond the end": _tensors({"a": [0, 1 << 40]}, 8),
        "negative offsets": _tensors({"a": [-8, 8]}, 8),
        "a hole": _tensors({"a": [0, 4], "b": [8, 12]}, 12),
        "a header of 2^63 bytes": struct.pack("<Q", 1 << 63) + b"{}",
        "a header longer than the file": struct.pack("<Q", 1 << 20) + b"{}",
        "a key twice": _raw(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8
        ),
        "an unknown dtype": _raw(b'{"a":{"dtype":"os.system","shape":[1],"data_offsets":[0,4]}}', 4),
        "a shape of 2^62": _raw(b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}', 4),
    }.items():
        yield Payload(f"safetensors with {name}", header)
    yield Payload("Arrow with a pickled extension type", _extension(canary))
    yield Payload("Parquet with a pickled extension type", _extension(canary, parquet=True))


def _laughs() -> str:
    lines = ['a0: &a0 ["ha","ha","ha","ha","ha","ha","ha","ha","ha"]']
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines) + "\n"


def _raw(header: bytes, size: int) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(size)


def _tensors(offsets: dict[str, list[int]], size: int) -> bytes:
    entries = {
        name: {"dtype": "F32", "shape": [(end - start) // 4], "data_offsets": [start, end]} for name, (start, end) in offsets.items()
    }
    return _raw(json.dumps(entries).encode(), size)


def _extension(canary: Path, *, parquet: bool = False) -> bytes:
    """A table without rows that names pyarrow's old extension type, whose parameters were a pickle."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pickled = pickle.dumps(calls(canary)["os.system"], protocol=4)
    field = pa.field(
        "target", pa.int64(), metadata={"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickled}
    )
    table = pa.table([pa.array([], pa.int64())], schema=pa.schema([field]))
    stream = io.BytesIO()
    if parquet:
        pq.write_table(table, stream)
    else:
        with pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
    return stream.getvalue()


def corpus(canary: Path) -> list[Payload]:
    """Return all of them; their names are distinct."""
    found = [*pickles(canary), *archives(canary), *recipes(canary), *parsers(canary)]
    assert len({payload.name for payload in found}) == len({payload.content for payload in found}) == len(found)
    return found
