"""Rows that are answered without being seen: a client encrypts them, a server computes on what it can not read, the client decrypts.

One linear map, or two with a polynomial of degree 2 between them, on one ciphertext a row (circuit.py says how). The secret key never
leaves the client; the server has weights and evaluation keys, which turn and shrink ciphertexts and open none.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from weighbridge.errors import PackageError
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.runtime.circuit import (
    AGAIN,
    MOST_WEIGHTS,
    SERVER,
    WEIGHTS,
    Circuit,
    Weights,
    by_column,
    by_row,
    padded,
    parse_about,
    read_about,
    read_bytes,
    read_weights,
)  # fmt: skip
from weighbridge.runtime.ckks import Ring, refused
from weighbridge.runtime.columns import Input, Reading, to_columns
from weighbridge.runtime.features import features_of
from weighbridge.runtime.model import Answer, inputs_of, reading_of
from weighbridge.runtime.package import PackageInfo
from weighbridge.storage import sha256_bytes

KEYS_MAGIC, KEYS_HEADER = b"WBEK\x01", struct.Struct("<5sQQ")


class Keys:
    """What the server may have of a client: keys for rotations and for shrinking a square. They open nothing."""

    def __init__(self, ring: Ring, circuit: Circuit, content: bytes) -> None:
        """Raises InputError for bytes that are not such keys, for these parameters and rotations."""
        what = "the evaluation key"
        if len(content) < KEYS_HEADER.size:
            raise refused(what, f"it has {len(content)} bytes")
        magic, first, second = KEYS_HEADER.unpack_from(content)
        if magic != KEYS_MAGIC or KEYS_HEADER.size + first + second != len(content) or bool(first) != bool(circuit.hidden):
            raise refused(what, "its parts do not have the lengths that its header says")
        steps, most = [*circuit.steps[0], *circuit.steps[1]], circuit.scheme.keys_bytes
        body = content[KEYS_HEADER.size :]
        self.relinearize = (
            ring.loaded(ring.seal.RelinKeys(), body[:first], most=most(1), what="the relinearization key") if circuit.hidden else None
        )
        self.galois = ring.loaded(ring.seal.GaloisKeys(), body[first:], most=most(len(steps)), what="the rotation key") if second else None
        if steps and (self.galois is None or not all(self.galois.has_key(ring.element(step)) for step in steps)):
            raise refused(what, "a rotation that this folder needs is missing")


class EncryptedNetwork:
    """The server's side: weights, encoded once. It holds no key of anybody; calls are safe from several threads."""

    def __init__(self, circuit: Circuit, weights: Weights) -> None:
        self.circuit, self.ring = circuit, Ring(circuit.scheme)
        ring, scale, along = self.ring, self.ring.scale, circuit.along
        self._dropped = [ring.primes[-2 - level] for level in range(circuit.depth)]  # a product at a level is divided by this prime
        part = 1.0 if circuit.hidden else circuit.output_scale
        self._first = ring.plaintext(by_column(circuit, weights.first / part), level=0, scale=self._dropped[0])
        self._first_bias = ring.plaintext(np.tile(padded(weights.first_bias / part, along), circuit.across), level=1, scale=scale)
        if weights.second is None or weights.square is None or weights.slope is None or weights.second_bias is None:
            return
        second = weights.second / circuit.output_scale
        wanted = scale * self._dropped[2]  # the square's and the slope's product get one scale, so that they can be added
        self._square = ring.plaintext(by_row(circuit, second * weights.square), level=2, scale=wanted / (scale**2 / self._dropped[1]))
        self._slope = ring.plaintext(by_row(circuit, second * weights.slope), level=2, scale=wanted / scale)
        mask, bias = np.zeros(circuit.scheme.slots), np.zeros(circuit.scheme.slots)
        mask[circuit.answer_slots], bias[circuit.answer_slots] = 1.0, weights.second_bias / circuit.output_scale
        self._mask, self._second_bias = ring.plaintext(mask, level=3, scale=self._dropped[3]), ring.plaintext(bias, level=4, scale=scale)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Return the network of a folder that `weigh deploy homomorphic` wrote. Raises PackageError when it is damaged."""
        about, content = read_about(folder / SERVER), read_bytes(folder / WEIGHTS, MOST_WEIGHTS)
        try:
            circuit = Circuit.from_json(about["circuit"])
        except (KeyError, TypeError, ValueError) as error:
            raise PackageError(f"{folder / SERVER} is damaged ({error})", do=AGAIN) from None
        if about.get("weights_sha256") != sha256_bytes(content):
            raise PackageError(f"{folder / WEIGHTS} is not the file that {SERVER} lists: its content was changed", do=AGAIN)
        return cls(circuit, read_weights(circuit, content, folder / WEIGHTS))

    def keys(self, content: bytes) -> Keys:
        """Return a client's evaluation keys, checked; to be kept for all its rows. Raises InputError."""
        return Keys(self.ring, self.circuit, content)

    def evaluate(self, ciphertext: bytes, keys: Keys) -> bytes:
        """Return the encrypted answer to one encrypted row. Raises InputError for bytes that are no fresh ciphertext."""
        ring, what = self.ring, "the encrypted row"
        row = ring.ciphertext(ciphertext, level=0, scale=ring.scale, what=what)
        try:
            units = ring.folded(ring.times(row, self._first), self.circuit.steps[0], keys.galois)
            ring.evaluator.add_plain_inplace(units, self._first_bias)
            return ring.saved(self._second(units, keys) if self.circuit.hidden else units)
        except (ValueError, RuntimeError, IndexError) as error:  # SEAL's word that these numbers can not be computed with
            raise refused(what, str(error)) from None

    def _second(self, units: Any, keys: Keys) -> Any:
        ring = self.ring
        squared = ring.seal.Ciphertext()
        ring.evaluator.square(units, squared)
        ring.evaluator.relinearize_inplace(squared, keys.relinearize)
        ring.evaluator.rescale_to_next_inplace(squared)
        ring.evaluator.mod_switch_to_inplace(units, ring.levels[2])
        out = ring.times(squared, self._square)
        ring.evaluator.add_inplace(out, ring.times(units, self._slope))
        out = ring.times(ring.folded(out, self.circuit.steps[1], keys.galois), self._mask)
        ring.evaluator.add_plain_inplace(out, self._second_bias)
        return out


@dataclass(frozen=True, kw_only=True)
class EncryptedClient:
    """The client's side: how columns become features, and how an answer is read. It knows no weight."""

    info: PackageInfo
    encoder: Encoder
    inputs: tuple[Input, ...]
    reading: Reading
    circuit: Circuit

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return the client of a client.json. Raises PackageError when it is damaged."""
        return cls._of(read_about(path), path)

    @classmethod
    def from_json(cls, content: bytes, name: str) -> Self:
        """Return the client of the content of a client.json. Raises PackageError when it is damaged."""
        return cls._of(parse_about(content, name), Path(name))

    @classmethod
    def _of(cls, about: dict[str, Any], path: Path) -> Self:
        try:
            content = about["package"]
            info = PackageInfo(
                folder=path.parent, name=str(content["name"]), kind=content["kind"], classes=tuple(content["classes"]), content=content,
                inputs=tuple((one["name"], one["type"]) for one in content["inputs"]), output=content["output"], encoder=content["encoder"],
                package_sha256=str(about["package_sha256"]), model_sha256=str(content["model_sha256"]),
            )  # fmt: skip
            circuit = Circuit.from_json(about["circuit"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PackageError(f"{path} is damaged ({type(error).__name__}: {error})", do=AGAIN) from None
        encoder = Encoder.from_json(info.encoder)
        return cls(info=info, encoder=encoder, inputs=inputs_of(info, encoder), reading=reading_of(info), circuit=circuit)

    @cached_property
    def ring(self) -> Ring:
        return Ring(self.circuit.scheme)

    def make_keys(self) -> tuple[bytes, bytes]:
        """Return a new secret key, to be kept by the client alone, and the evaluation keys for the server."""
        ring, seal = self.ring, self.ring.seal
        maker = seal.KeyGenerator(ring.context)
        relinearize = b""
        if self.circuit.hidden:
            key = seal.RelinKeys()
            maker.create_relin_keys(key)
            relinearize = ring.saved(key)
        galois = b""
        if steps := [*self.circuit.steps[0], *self.circuit.steps[1]]:
            turning = seal.GaloisKeys()
            maker.create_galois_keys([ring.element(step) for step in steps], turning)
            galois = ring.saved(turning)
        return ring.saved(maker.secret_key()), KEYS_HEADER.pack(KEYS_MAGIC, len(relinearize), len(galois)) + relinearize + galois

    def encrypt_row(self, row: Mapping[str, Any], secret: bytes) -> bytes:
        """Return one row, by column name, as a ciphertext. Raises InputError that names column and value."""
        columns, _, _ = to_columns([row], self.inputs, self.reading)
        return self.encrypt(features_of(self.encoder.blocks, self.encoder.encode(columns))[0], secret)

    def encrypt(self, features: np.ndarray, secret: bytes) -> bytes:
        """Return features float [n] as a ciphertext."""
        ring, circuit = self.ring, self.circuit
        slots = np.repeat(padded(features, circuit.across), circuit.along)
        out = ring.seal.Ciphertext()
        encryptor = ring.seal.Encryptor(ring.context, self._secret(secret))
        encryptor.encrypt_symmetric(ring.plaintext(slots, level=0, scale=ring.scale), out)
        return ring.saved(out)

    def decrypt(self, answer: bytes, secret: bytes) -> np.ndarray:
        """Return the network's raw outputs float64 [K] of an encrypted answer. Raises InputError."""
        ring, circuit = self.ring, self.circuit
        ciphertext = ring.ciphertext(answer, level=circuit.depth, scale=ring.scale, what="the encrypted answer")
        plaintext = ring.seal.Plaintext()
        ring.seal.Decryptor(ring.context, self._secret(secret)).decrypt(ciphertext, plaintext)
        slots = np.asarray(ring.encoder.decode_double(plaintext), dtype=np.float64)
        return np.asarray(slots[circuit.answer_slots] * circuit.output_scale)

    def answer(self, outputs: np.ndarray) -> Answer:
        """Return the answers that raw outputs [rows, K] stand for: probabilities, or values in the target's own units."""
        kind, found = self.info.kind, finished(outputs, self.encoder)
        return Answer(
            kind=kind, model_hash=self.info.model_sha256, classes=self.info.classes,
            values=found if kind == "number" else None, probabilities=None if kind == "number" else found,
        )  # fmt: skip

    def _secret(self, content: bytes) -> Any:
        return self.ring.loaded(self.ring.seal.SecretKey(), content, most=self.circuit.scheme.keys_bytes(1), what="the secret key")


def finished(outputs: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Return probabilities [rows, K] or values [rows] of raw outputs [rows, K]."""
    target = encoder.learnt
    if target.kind == "number":
        return np.asarray(outputs[:, 0] * target.std + target.mean, dtype=np.float64)
    if target.kind == "set":
        return np.asarray(1.0 / (1.0 + np.exp(-outputs.clip(-500, 500))))
    weights = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
