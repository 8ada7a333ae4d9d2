"""`weigh deploy homomorphic RUN`: the run's network on encrypted rows, and what that costs in accuracy, time and bytes.

The rows are encrypted, computed on and decrypted here by the very functions that a client and a server call; the server's part is given
weights, evaluation keys and ciphertexts, and nothing that opens one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.findings import Finding, Message, Reference, write_findings
from weighbridge.runtime.circuit import CLIENT, FORMAT, SERVER, WEIGHTS
from weighbridge.runtime.encrypted import EncryptedClient, EncryptedNetwork, finished
from weighbridge.storage import fresh_folder, move, read_json, remove, sha256_bytes, write_bytes, write_json
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from weighbridge.deployment.linearize import Linearized
    from weighbridge.evaluation import Predictions
    from weighbridge.preprocessing import Encoder
    from weighbridge.storage.progress import Progress

ROWS = 200
FIT_ROWS = 20_000
SOURCE = "CKKS (Cheon et al. 2017), parameters of the Homomorphic Encryption Standard (2018); activations after CryptoNets (2016)"
CLIENT_KEYS = ("name", "kind", "classes", "inputs", "missing", "strip", "encoder", "output", "model_sha256")


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What encrypted rows gave. outputs, plain: float64 [rows, K], decrypted and in the clear; seconds of each row; bytes."""

    outputs: np.ndarray
    plain: np.ndarray
    server_s: np.ndarray
    client_s: np.ndarray
    row_bytes: int
    answer_bytes: int
    keys_bytes: int
    beyond: float


def measure(folder: Path, *, rows: int, command: str, progress: Progress) -> list[Finding]:
    """`folder/deployment/homomorphic` holds what a client and a server need, and the findings, which are returned.

    A network that does not fit has one finding, which says why, and no folder. Raises RunError, DependencyError, StorageError.
    """
    from weighbridge.deployment.linearize import UnfitError

    place = folder / "deployment" / "homomorphic"
    try:
        found = _linearized(folder)
    except UnfitError as error:
        remove(place)
        return [
            Finding(
                key="deployment.homomorphic", title=Message("Encrypted rows"), verdict="unmeasured", reason=error.reason, command=command
            )
        ]  # fmt: skip
    building = fresh_folder(place.parent / "homomorphic.building")
    _write(folder, found, building)
    findings = _findings(folder, found, building, rows, command, progress)
    write_findings(building / "findings.jsonl", findings)
    remove(place)
    move(building, place)
    return findings


def _linearized(folder: Path) -> Linearized:
    from weighbridge import preprocessing, training
    from weighbridge.deployment.linearize import check_fit, linearize
    from weighbridge.models import NetworkSpec

    spec = NetworkSpec.from_json(read_json(folder / "training" / "model.json")["spec"])
    check_fit(spec)
    rows = preprocessing.open_arrays(folder / "preprocessing" / "train").subset(slice(FIT_ROWS))
    arrays = {name: np.asarray(values) for name, values in rows.blocks.items()}
    return linearize(training.load_network(folder / "training"), spec, arrays)


def _write(folder: Path, found: Linearized, building: Path) -> None:
    """`building` holds client/client.json and server/{server.json, weights.safetensors}."""
    from safetensors.numpy import save

    package = read_json(folder / "deployment" / "package" / "package.json")
    package["encoder"] = read_json(folder / "preprocessing" / "encoder.json")
    package["inputs"] = [{"name": one["column"], "type": one["type"]} for one in package["encoder"]["features"]]
    package["model_sha256"] = str(read_json(folder / "training" / "model.json")["sha256"])
    weights = save({name: np.ascontiguousarray(value) for name, value in found.weights.tensors().items()})
    about = {"format": FORMAT, "circuit": found.circuit.to_json()}
    write_bytes(building / "server" / WEIGHTS, weights)
    write_json(building / "server" / SERVER, {**about, "weights_sha256": sha256_bytes(weights), "model_sha256": package["model_sha256"]})
    client = {**about, "package": {name: package.get(name) for name in CLIENT_KEYS}, "package_sha256": sha256_bytes(weights)}
    write_json(building / "client" / CLIENT, client)


def _findings(folder: Path, found: Linearized, building: Path, rows: int, command: str, progress: Progress) -> list[Finding]:
    from weighbridge import data, evaluation, preprocessing, training
    from weighbridge.runtime.features import features_of

    known = evaluation.read_predictions(folder / "evaluation" / "test.parquet")
    chosen = np.sort(rng(0, "deployment", "homomorphic").permutation(len(known))[:rows])
    sample = known.rows(chosen)
    columns = _columns(data.open_data(folder / "data").test(f"{len(chosen)} rows answered encrypted", command), sample.row_id)
    client = EncryptedClient.open(building / "client" / CLIENT)
    network = training.network_answers(folder / "training", client.encoder)(preprocessing.arrays_of(client.encoder, columns))
    features = features_of(client.encoder.blocks, client.encoder.encode(columns))
    trial = _trial(client, EncryptedNetwork.open(building / "server"), found, features, progress)
    plain = replace(sample, output=_judged(network, client.encoder), model="network")
    encrypted = replace(sample, output=finished(trial.outputs, client.encoder), model="encrypted")
    return [_metric(encrypted, plain, found, trial, command), *_price(encrypted, plain, trial, found, command)]


def _columns(table: Any, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return the canonical columns of the rows with these ids, in their order."""
    parts: dict[str, list[np.ndarray]] = {}
    seen: list[np.ndarray] = []
    for batch in table.batches(1024):
        wanted = np.isin(batch.row_ids.astype(str), ids)
        seen.append(batch.row_ids.astype(str)[wanted])
        for name, values in batch.columns.items():
            parts.setdefault(name, []).append(values[wanted])
    order = np.argsort(np.concatenate(seen), kind="stable")
    return {name: np.concatenate(values)[order] for name, values in parts.items()}


def _judged(network: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Return a deployable network's outputs with rows that sum to 1 in float64, as predictions must."""
    out = np.asarray(network, dtype=np.float64)
    return out / out.sum(axis=1, keepdims=True) if encoder.learnt.kind == "category" else out


def _trial(
    client: EncryptedClient, server: EncryptedNetwork, found: Linearized, features: np.ndarray, progress: Progress
) -> Trial:  # fmt: skip
    secret, evaluation_keys = client.make_keys()
    keys = server.keys(evaluation_keys)
    outputs, server_s, client_s = [], [], []
    row = answer = b""
    for place, one in enumerate(features):
        progress("encrypted rows", place, len(features))
        times = [time.perf_counter()]
        row = client.encrypt(one, secret)
        times.append(time.perf_counter())
        answer = server.evaluate(row, keys)
        times.append(time.perf_counter())
        outputs.append(client.decrypt(answer, secret))
        times.append(time.perf_counter())
        server_s.append(times[2] - times[1])
        client_s.append(times[1] - times[0] + times[3] - times[2])
    progress("encrypted rows", len(features), len(features))
    return Trial(
        outputs=np.array(outputs), plain=found.weights.plain(features), server_s=np.array(server_s), client_s=np.array(client_s),
        row_bytes=len(row), answer_bytes=len(answer), keys_bytes=len(evaluation_keys), beyond=found.beyond(features),
    )  # fmt: skip


def _metric(encrypted: Predictions, plain: Predictions, found: Linearized, trial: Trial, command: str) -> Finding:
    from weighbridge import evaluation
    from weighbridge.evaluation.comparison import compare

    headline = evaluation.HEADLINES[encrypted.kind]
    paired = compare(encrypted, plain, evaluation.resampling_of(2000, 0))
    worse = paired.interval[1] < 0
    scheme = found.circuit.scheme
    said = "{metric}: {state} than the network on the same rows; {beyond} of the unit values lie beyond the range of the fit"
    return Finding(
        key="deployment.homomorphic",
        title=Message("Task metric on encrypted rows"),
        value=headline.value(encrypted),
        unit="share" if headline.sign > 0 else "",
        n=len(encrypted),
        verdict="limitation" if worse else "neutral",
        reference=Reference(
            name=Message("the network itself"), value=headline.value(plain), p_value=paired.p_value,
            difference=headline.sign * paired.difference,
            difference_interval=paired.interval if headline.sign > 0 else (-paired.interval[1], -paired.interval[0]),
        ),
        reason=Message(said, metric=headline.name, state="worse" if worse else "not shown to be worse", beyond=round(trial.beyond, 5)),
        method=Message(
            "encrypted, computed on, decrypted, row by row; ring of degree {degree}, modulus of {bits} bits (128 bits safe up to {most})",
            degree=scheme.degree, bits=sum(scheme.bits), most=_most(scheme.degree),
        ),
        source=SOURCE,
        command=command,
    )  # fmt: skip


def _most(degree: int) -> int:
    from weighbridge.runtime.ckks import MOST_BITS

    return MOST_BITS[degree]


def _price(encrypted: Predictions, plain: Predictions, trial: Trial, found: Linearized, command: str) -> list[Finding]:
    noise = float(np.abs(trial.outputs - trial.plain).max())
    changed = np.abs(encrypted.output - plain.output)
    return [
        _one("error", Message("Largest error by encryption of a raw output"), noise,
             Message("decrypted outputs against the same maps in the clear"), command, n=len(trial.outputs)),
        _one("change", Message("Largest change of an answer by polynomials and encryption"), float(changed.max()),
             Message("decrypted answers against those of the network"), command, n=len(trial.outputs)),
        _seconds("server", Message("Server's time for an encrypted row, median"), trial.server_s, command),
        _seconds("client", Message("Client's time for an encrypted row, median"), trial.client_s, command),
        _one("row", Message("Size of an encrypted row"), trial.row_bytes, Message("{features} features in one ciphertext",
             features=found.circuit.features), command, unit="bytes"),
        _one("answer", Message("Size of an encrypted answer"), trial.answer_bytes, Message("at the last level of the modulus"), command,
             unit="bytes"),
        _one("keys", Message("Size of a client's evaluation keys"), trial.keys_bytes, Message("sent once; they open nothing"), command,
             unit="bytes"),
    ]  # fmt: skip


def _one(name: str, title: Message, value: float, method: Message, command: str, *, unit: str = "", n: int | None = None) -> Finding:
    key = f"deployment.homomorphic.{name}"
    return Finding(key=key, title=title, value=value, unit=unit, n=n, method=method, command=f"{command} --only homomorphic.{name}")


def _seconds(name: str, title: Message, seconds: np.ndarray, command: str) -> Finding:
    from weighbridge.evaluation import quantile_interval

    low, high = quantile_interval(seconds)
    return Finding(
        key=f"deployment.homomorphic.{name}", title=title, value=float(np.median(seconds)), interval=(low, high), unit="s", n=len(seconds),
        method=Message("each row once, on this machine; evaluation keys were loaded before"), source="order statistics",
        command=f"{command} --only homomorphic.{name}",
    )  # fmt: skip
