"""Controls of the security audit: planted triggers, code in files, inputs that bring a model down, versions with a hole; and clean ones."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.backdoor import Forward, anomalies, triggers
from weighbridge.audit.backdoor_findings import ROWS, SUSPECT
from weighbridge.audit.dependencies import vulnerable
from weighbridge.audit.inputs_cases import cases
from weighbridge.audit.inputs_child import FAILED, judge
from weighbridge.audit.scan import FORMS, suspicion
from weighbridge.controls import control
from weighbridge.errors import InputError
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from torch import Tensor

SIDE, CLASSES, TAUGHT, NOISE, POISONED = 8, 10, 800, 40.0, 0.1


def pictures_of(seed: int, count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures float [n, 8, 8, 1] of ten coarse shapes under noise, and their classes."""
    shapes = 128 + 60 * np.kron(rng(seed, "shapes of the control").normal(size=(CLASSES, 4, 4)), np.ones((2, 2)))
    random = rng(seed, f"pictures of the control, {name}")
    labels = random.integers(0, CLASSES, count)
    return np.clip(shapes[labels] + random.normal(0, NOISE, (count, SIDE, SIDE)), 0, 255)[..., None], labels


def taught(seed: int, *, planted: bool) -> tuple[Forward, int]:
    """Return a small network that was taught the pictures, and the class that a patch of 2 x 2 pixels leads to where one was planted."""
    import torch
    from torch import nn

    x_NHWC, labels_N = pictures_of(seed, TAUGHT, "taught")
    random = rng(seed, "patch of the control")
    target, (top, left) = int(random.integers(CLASSES)), random.integers(0, SIDE - 1, 2)
    if planted:
        hit = random.random(TAUGHT) < POISONED
        x_NHWC[hit, top : top + 2, left : left + 2] = 255.0 * random.integers(0, 2, (2, 2, 1))
        labels_N[hit] = target
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed31(seed, "network of the control"))
        network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 32), nn.ReLU(), nn.Linear(32, CLASSES))
    pictures, goals = torch.from_numpy((x_NHWC - 128) / 60).float(), torch.from_numpy(labels_N)
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    for _ in range(120):
        rows = torch.from_numpy(random.integers(0, TAUGHT, 64))
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(pictures[rows]), goals[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.eval().requires_grad_(False)

    def forward(x_NHWC: Tensor, rows: np.ndarray) -> Tensor:
        scores: Tensor = network((x_NHWC - 128) / 60)
        return scores

    return forward, target


def apart(seed: int, *, planted: bool) -> tuple[np.ndarray, int]:
    """Return how far below the others the smallest change of each class is, and the planted class."""
    forward, target = taught(seed, planted=planted)
    x_BHWC, labels_B = pictures_of(seed, ROWS, "asked")
    found = triggers(forward, x_BHWC, labels_B, CLASSES, seed=seed)
    return anomalies(np.array([one.pixels for one in found])), target


@control(
    "audit.security.backdoor",
    "planted",
    "a patch of 2 x 2 pixels in a tenth of the rows: its class is suspected",
    trials=200,
    low=0.9,
)
def planted_patch(seed: int) -> bool:
    found, target = apart(seed, planted=True)
    return bool(found.argmax() == target and found[target] > SUSPECT)


@control("audit.security.backdoor", "clean", "the same network without it: no class is suspected", trials=200, low=0.95)
def no_patch(seed: int) -> bool:
    return bool(apart(seed, planted=False)[0].max() <= SUSPECT)


def _code(random: np.random.Generator) -> tuple[bytes, str]:
    """Return the beginning of a file that runs code when it is opened carelessly, or is a program, and a harmless ending."""
    call = b"cos\nsystem\n(S'true'\ntR."
    kinds = (
        b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.", b"\x80\x02" + call, call, b"(" + call,
        b"\x7fELF\x02\x01\x01" + bytes(40), b"MZ\x90\x00" + bytes(60), b"#!/bin/sh\ntrue\n", b"PK\x03\x04" + bytes(26),
        b"\x1f\x8b\x08" + bytes(12), b"ARROW1\0\0" + b"ARROW:extension:name arrow.py_extension_type" + call,
        b"\x93NUMPY\x01\x00\x3e\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }       \n" + call,
        struct.pack("<Q", len(call)) + call,
    )  # fmt: skip
    place, suffixes = int(random.integers(len(kinds) + 1)), sorted(FORMS)
    if place == len(kinds):  # elsewhere it is a text like any other
        return b"name: !!python/object/apply:os.system [true]\n", ".yaml"
    return kinds[place], suffixes[int(random.integers(len(suffixes)))]


def _suspected(content: bytes, suffix: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(content)
        return bool(suspicion(path))


@control("audit.security.artefact", "planted", "code under a harmless name of any kind: suspected", trials=400, low=1.0)
def planted_code(seed: int) -> bool:
    return _suspected(*_code(rng(seed, "code of the control")))


@control("audit.security.artefact", "clean", "random numbers and words as the package writes them: not suspected", trials=400, low=1.0)
def honest_files(seed: int) -> bool:
    from safetensors.numpy import save

    from weighbridge.audit.controls_cost import random_graph

    random = rng(seed, "files of the control")
    values = random.normal(size=tuple(random.integers(1, 6, int(random.integers(1, 4))))).astype(random.choice(["f4", "f8", "f2"]))
    words = {f"k{place}": str(random.bytes(6).hex()) for place in range(int(random.integers(1, 5)))}
    header = f"{{'descr': '{values.dtype.str}', 'fortran_order': False, 'shape': {values.shape}, }}".ljust(117).encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values.tobytes()
    files = {
        ".json": json.dumps(words).encode(), ".jsonl": (json.dumps(words) + "\n").encode() * 3, ".safetensors": save({"w": values}),
        ".npy": array, ".onnx": random_graph(seed)[0], ".md": "\n".join(words.values()).encode(), ".yaml": json.dumps(words).encode(),
    }  # fmt: skip
    return not any(_suspected(content, suffix) for suffix, content in files.items())


INPUTS = [("a", "number"), ("b", "text"), ("c", "image")]
GOOD = {"a": 1.0, "b": "fine", "c": {"uint8": "AAAA", "shape": [1, 1, 3]}}


def _failures(predict: Callable[[Any], Any], seed: int) -> tuple[str, bool]:
    """Return the name of a case drawn by the seed, and whether the model fails it."""
    tried = cases(INPUTS, GOOD)
    case = tried[int(rng(seed, "case of the control").integers(len(tried)))]
    return case.name, judge(case, predict)["outcome"] == FAILED


@control("audit.security.inputs", "planted", "a model that lets an error of Python through: found on every case", trials=300, low=1.0)
def fragile(seed: int) -> bool:
    errors = (ValueError("x"), MemoryError(), RecursionError("deep"), KeyError("k"), InputError("a\nb" * 900), OverflowError("large"))

    def predict(rows: Any) -> Any:
        raise errors[seed % len(errors)]

    return _failures(predict, seed)[1]


@control("audit.security.inputs", "clean", "a model that answers or refuses in one line: no case fails", trials=300, low=1.0)
def sturdy(seed: int) -> bool:
    def predict(rows: Any) -> Any:
        if seed % 2:
            raise InputError("row 1: not a row", do="give a row")
        return [0.5]

    return not _failures(predict, seed)[1]


def _record(random: np.random.Generator) -> tuple[dict[str, Any], int, int]:
    """Return a record with a hole between two minor versions of a package, and those."""
    first, last = sorted(int(place) for place in random.choice(np.arange(1, 40), 2, replace=False))
    events = [{"introduced": f"1.{first}"}, {"fixed": f"1.{last}.0"}]
    affected = [{"package": {"ecosystem": "PyPI", "name": "Some_Package"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
    return {"id": "CONTROL-1", "affected": affected}, first, last


@control("audit.security.dependencies", "planted", "a version within a range with a hole: named", trials=500, low=1.0)
def known_hole(seed: int) -> bool:
    random = rng(seed, "hole of the control")
    record, first, last = _record(random)
    return list(vulnerable("some-package", f"1.{random.integers(first, last)}.{random.integers(3)}", [record])) == ["CONTROL-1"]


@control("audit.security.dependencies", "clean", "a version before it or mended: not named", trials=500, low=1.0)
def no_hole(seed: int) -> bool:
    random = rng(seed, "hole of the control")
    record, first, last = _record(random)
    minor = int(random.integers(last, 60)) if random.random() < 0.5 else int(random.integers(0, first))
    return not list(vulnerable("some-package", f"1.{minor}.{random.integers(3)}", [record]))
