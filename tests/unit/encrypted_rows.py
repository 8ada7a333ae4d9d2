"""Small circuits with random weights, and clients for them: what the tests of encrypted rows stand on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from tests.unit.runtime_packages import encoder_of
from weighbridge.runtime.circuit import CLIENT, FORMAT, SERVER, WEIGHTS, Circuit, Weights
from weighbridge.runtime.ckks import Scheme
from weighbridge.runtime.encrypted import EncryptedClient, EncryptedNetwork
from weighbridge.storage import sha256_bytes

ONE = Scheme(degree=8192, bits=(60, 40, 60), scale_bits=40)
TWO = Scheme(degree=8192, bits=(41, 34, 34, 34, 34, 41), scale_bits=34)


def circuit_of(features: int, hidden: int, outputs: int, along: int, *, output_scale: float = 8.0) -> Circuit:
    scheme = TWO if hidden else ONE
    return Circuit(scheme=scheme, features=features, hidden=hidden, outputs=outputs, along=along, output_scale=output_scale)


def weights_of(circuit: Circuit, seed: int = 0) -> Weights:
    random = np.random.default_rng(seed)
    n, units, outputs = circuit.features, circuit.hidden or circuit.outputs, circuit.outputs
    first, bias = random.normal(0, 1 / np.sqrt(n), (units, n)), random.normal(size=units)
    if not circuit.hidden:
        return Weights(first=first, first_bias=bias)
    return Weights(
        first=first, first_bias=bias, square=random.normal(0, 0.3, units), slope=random.normal(0, 0.5, units),
        second=random.normal(0, 1 / np.sqrt(units), (outputs, units)), second_bias=random.normal(size=outputs),
    )  # fmt: skip


def write_beside(package: Path, model_sha256: str) -> bytes:
    """A small circuit lies where that of the package's run would lie; return evaluation keys for it."""
    circuit = circuit_of(features=5, hidden=0, outputs=2, along=4)
    place = package.parent / "homomorphic"
    client, _ = write_folder(place / "server", circuit, weights_of(circuit))
    about = place / "server" / SERVER
    about.write_text(json.dumps(json.loads(about.read_text(encoding="utf-8")) | {"model_sha256": model_sha256}), encoding="utf-8")
    (place / "client").mkdir()
    (place / "server" / CLIENT).rename(place / "client" / CLIENT)
    return client.make_keys()[1]


def write_folder(folder: Path, circuit: Circuit, weights: Weights) -> tuple[EncryptedClient, EncryptedNetwork]:
    """`folder` holds a client's and a server's files; the features of the circuit are those of its encoder only where they fit."""
    encoder, _ = encoder_of(photos=False)
    content = save({name: np.ascontiguousarray(value) for name, value in weights.tensors().items()})
    about = {"format": FORMAT, "circuit": circuit.to_json()}
    package = {
        "name": "tiny", "kind": "category", "classes": list(encoder.learnt.classes), "output": "probabilities", "model_sha256": "0" * 64,
        "inputs": [{"name": feature.column, "type": feature.type} for feature in encoder.features], "encoder": encoder.to_json(),
        "missing": None, "strip": True,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(content)
    (folder / SERVER).write_text(json.dumps({**about, "weights_sha256": sha256_bytes(content)}), encoding="utf-8")
    (folder / CLIENT).write_text(json.dumps({**about, "package": package, "package_sha256": "1" * 64}), encoding="utf-8")
    return EncryptedClient.open(folder / CLIENT), EncryptedNetwork.open(folder)
