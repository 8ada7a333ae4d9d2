"""The dialects of encrypted rows: what a client needs, its evaluation keys, and a row that is answered without being seen.

They answer with the folder that `weigh deploy homomorphic RUN` wrote beside the run's package (RUN/deployment/homomorphic). It is not in
the package, so no signature covers it: where only signed packages are served, encrypted rows are not answered. Nor are they where the
folder belongs to another model, or TenSEAL is missing.

Keys are parsed once and kept by each worker, the ones asked for last, within `keys_bytes`. A row whose keys a worker does not know is
refused with `unknownkeys`; the front, which keeps them as bytes, then asks again and sends them along behind the row.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from weighbridge.errors import PackageError, UsageError
from weighbridge.runtime import Model
from weighbridge.runtime.circuit import CLIENT, MOST_JSON, SERVER, read_about, read_bytes
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.limits import Limits

if TYPE_CHECKING:
    from weighbridge.runtime.encrypted import EncryptedNetwork, Keys

BYTES, JSON = "application/octet-stream", "application/json"
Written = tuple[str, dict[str, str], bytes]


class NoCircuitError(UsageError):
    """This package answers no encrypted rows."""

    http_status = 404


class UnknownKeysError(UsageError):
    """The keys that a row names are not here."""

    http_status = 409


def is_offered(model: Model, name: str) -> bool:
    """Return whether encrypted rows are answered with this package; where a folder for them is there and they are not, it is said why."""
    folder = circuit_folder(model)
    if not (folder / "server" / SERVER).exists():
        return False
    why = _why_not(model, folder)
    if why:
        print(f"weigh serve: {name} answers no encrypted rows: {why}", file=sys.stderr, flush=True)
    return not why


def circuit_folder(model: Model) -> Path:
    """Return where `weigh deploy homomorphic` writes for the run of this package."""
    return model.info.folder.parent / "homomorphic"


def _why_not(model: Model, folder: Path) -> str:
    if model.info.signature is not None and model.info.signature.trusted:
        return "only signed packages are served, and no signature covers its circuit"
    if importlib.util.find_spec("tenseal") is None:
        return "TenSEAL is not installed (pip install 'weighbridge[homomorphic]')"
    try:
        about = read_about(folder / "server" / SERVER)
    except PackageError as error:
        return error.what
    return "" if about.get("model_sha256") == model.hash else "its circuit is that of another model; run weigh deploy homomorphic again"


class Kept:
    """A circuit ready to answer, and the keys of its clients; safe from several threads."""

    def __init__(self, network: EncryptedNetwork, most_bytes: int) -> None:
        first, second = network.circuit.steps
        size = network.circuit.scheme.keys_bytes(len(first) + len(second) + bool(network.circuit.hidden))
        self.network, self._most = network, max(1, most_bytes // size)
        self._keys: OrderedDict[str, Keys] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, content: bytes) -> str:
        """The keys are known; return their name, the SHA-256. Raises InputError."""
        keys, name = self.network.keys(content), hashlib.sha256(content).hexdigest()
        with self._lock:
            self._keys[name] = keys
            while len(self._keys) > self._most:
                self._keys.popitem(last=False)
        return name

    def get(self, name: str) -> Keys:
        """Return keys by their name. Raises UnknownKeysError."""
        with self._lock:
            if name not in self._keys:
                raise UnknownKeysError("there are no evaluation keys of this name", do="send them to .../encrypted/keys again")
            self._keys.move_to_end(name)
            return self._keys[name]


@lru_cache(maxsize=1)
def _opened(folder: Path, most_bytes: int) -> Kept:
    from weighbridge.runtime.encrypted import EncryptedNetwork

    return Kept(EncryptedNetwork.open(folder / "server"), most_bytes)


def circuit_of(model: Model, limits: Limits) -> Kept:
    """Return the circuit of a package, made ready by the first call. Raises NoCircuitError."""
    folder = circuit_folder(model)
    if not (folder / "server" / SERVER).exists() or _why_not(model, folder):
        raise NoCircuitError("this package answers no encrypted rows", do="weigh deploy homomorphic RUN, then serve the run's package")
    try:
        return _opened(folder, limits.keys_bytes)
    except PackageError:
        raise NoCircuitError("the circuit of this package is damaged", do="weigh deploy homomorphic RUN makes it again") from None


class Client:
    """The dialect `encrypted_client`: client.json, from which a client makes keys, encrypts rows and reads answers. It holds no weight."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return no rows. Raises NoCircuitError."""
        circuit_of(model, limits)
        return Rows(columns={}, count=0)

    def write(self, model: Model, context: Any, output: np.ndarray) -> Written:
        """Return the file."""
        return JSON, {}, read_bytes(circuit_folder(model) / "client" / CLIENT, MOST_JSON)


class Evaluation:
    """The dialect `encrypted_keys`: a client's evaluation keys, checked and kept."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return no rows, and the keys' name. Raises NoCircuitError, InputError."""
        return Rows(columns={}, count=0, context=circuit_of(model, limits).put(body))

    def write(self, model: Model, context: str, output: np.ndarray) -> Written:
        """Return the name by which rows name them."""
        return JSON, {}, orjson.dumps({"keys": context})


class Row:
    """The dialect `encrypted_row`; `head` holds the name of the `keys` and the row's `row_bytes`: keys may follow in the body."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        """Return no rows, and the ciphertext with its keys. Raises NoCircuitError, UnknownKeysError, InputError."""
        kept, size = circuit_of(model, limits), head["row_bytes"]
        if len(body) > size:
            kept.put(body[size:])
        return Rows(columns={}, count=0, context=(kept.network, body[:size], kept.get(head["keys"])))

    def write(self, model: Model, context: tuple[EncryptedNetwork, bytes, Keys], output: np.ndarray) -> Written:
        """Return the encrypted answer. Raises InputError."""
        network, row, keys = context
        return BYTES, {}, network.evaluate(row, keys)


DIALECTS["encrypted_client"], DIALECTS["encrypted_keys"], DIALECTS["encrypted_row"] = Client(), Evaluation(), Row()
