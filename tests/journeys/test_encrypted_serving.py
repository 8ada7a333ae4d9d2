"""Law: a server answers rows that it can not read as it answers plain ones; bytes that are no such row cost an error in the one shape."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.attacks.test_ciphertexts import HUGE, bomb
from tests.faults.serving_ground import write_numbers_package
from tests.unit.serving_servers import Answer, Running, running, start
from weighbridge import data, lifecycle
from weighbridge.deployment.homomorphic import measure
from weighbridge.deployment.signing import make_key, read_private_key, sign_package
from weighbridge.errors import UsageError
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import load_recipe
from weighbridge.runtime.encrypted import EncryptedClient
from weighbridge.runtime.remote import EncryptedRemote
from weighbridge.storage.progress import silent

pytest.importorskip("tenseal", reason="encrypted rows need tenseal: pip install tenseal")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROWS = 24
MODEL = "/v2/models/digits/encrypted"
RECIPE = """
data: {source: "sklearn://digits", target: target}
training: {model: {type: mlp, hidden: [64]}, epochs: 12}
audit: {enabled: false}
evaluation: {baselines: []}
deployment: {load: false}
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a network of 64 units on pictures of 64 pixels, and what answers its encrypted rows."""
    folder = tmp_path_factory.mktemp("encrypted")
    (folder / "digits.yaml").write_text(RECIPE, encoding="utf-8")
    lifecycle.run(load_recipe(folder / "digits.yaml"), folder / "digits")
    measure(folder / "digits", rows=ROWS, command="weigh deploy homomorphic digits", progress=silent)
    return folder / "digits"


@pytest.fixture(scope="module")
def server(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    write_numbers_package(folder / "plain")
    packages = [f"digits={digits / 'deployment' / 'package'}", f"plain={folder / 'plain'}"]
    with running(packages, folder / "state", "--log", "inputs", "--limit", "hang_s=60", "--limit", "deadline_s=120") as one:
        yield one


@pytest.fixture(scope="module")
def remote(server: Running) -> EncryptedRemote:
    return EncryptedRemote.open(server.url, "digits", server.key)


def rows_of(run: Path, count: int) -> tuple[str, list[dict[str, object]]]:
    """Return the name of the picture's column, and pictures of test rows."""
    batch = next(iter(data.open_data(run / "data").test(f"{count} rows asked encrypted", "test").batches(count)))
    (name,) = [one.name for one in EncryptedClient.open(run / "deployment" / "homomorphic" / "client" / "client.json").inputs]
    return name, [{name: np.asarray(one)} for one in batch.columns[name]]


def is_refused(answer: Answer, *statuses: int) -> bool:
    told = answer.json()
    return answer.status in statuses and told.keys() == {"error", "code", "request_id"} and "Traceback" not in told["error"]


def test_encrypted_answers_are_those_of_plain_rows_within_what_was_measured(digits: Path, server: Running, remote: EncryptedRemote) -> None:
    name, rows = rows_of(digits, ROWS)
    plain = server.ask("/predict?model=digits", [{name: one[name].tolist()} for one in rows]).json()  # type: ignore[attr-defined]
    expected = np.array([list(one["probabilities"].values()) for one in plain["predictions"]])
    found = remote.predict(rows)
    assert found.probabilities is not None
    assert list(found.labels) == [one["prediction"] for one in plain["predictions"]]
    findings = read_findings(digits / "deployment" / "homomorphic" / "findings.jsonl")
    change = by_key(findings, "deployment.homomorphic.change")
    assert change is not None
    worst = float(np.abs(found.probabilities - expected).max())
    assert worst < max(0.1, 2 * float(str(change.value))), "the parabolas of other rows may move an answer a little further"
    assert found.model_hash == plain["model"]


def test_the_server_sees_no_row_and_logs_none(server: Running, digits: Path, remote: EncryptedRemote) -> None:
    before = server.ask("/v2/models/digits").headers
    _, rows = rows_of(digits, 1)
    encrypted = remote.client.encrypt_row(rows[0], remote.secret)
    answer = server.ask(f"{MODEL}/row?keys={remote._named}", encrypted, content_type="application/octet-stream")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert answer.headers["x-request-id"] != before["x-request-id"]
    journals = b"".join(path.read_bytes() for path in server.log.parent.rglob("*.jsonl"))
    assert answer.headers["x-request-id"].encode() not in journals
    assert remote.secret[100:200] not in journals + server.log.read_bytes()


def test_keys_that_a_worker_has_not_are_sent_along_and_forgotten_ones_are_asked_for_again(
    server: Running, digits: Path, remote: EncryptedRemote
) -> None:
    _, rows = rows_of(digits, 1)
    label = remote.predict(rows).labels
    for status in json.loads(server.ask("/admin/status").body)["models"].values():
        assert status["champion"]["restarts"] == 0
    workers = [int(path.parent.name) for path in Path("/proc").glob("*/cmdline") if _is_worker(path, server.process.pid)]
    assert len(workers) == 2
    for one in workers:
        os.kill(one, signal.SIGKILL)
    assert remote.predict(rows).labels == label, "a new worker gets the keys from the front"
    unknown = "0" * 64
    encrypted = remote.client.encrypt_row(rows[0], remote.secret)
    assert is_refused(server.ask(f"{MODEL}/row?keys={unknown}", encrypted), 409)
    remote._named = unknown
    assert remote.predict(rows).labels == label, "the client sends its keys again"


def test_keys_are_read_up_to_their_limit_and_not_beyond(digits: Path, tmp_path: Path) -> None:
    with running([f"digits={digits / 'deployment' / 'package'}"], tmp_path / "state", "--limit", "keys_bytes=100000") as small:
        for size, code in ((100_000, "invalid_rows"), (100_001, "too_large")):
            answer = small.ask(f"{MODEL}/keys", bytes(size), content_type="application/octet-stream")
            assert is_refused(answer, 413, 422)
            assert answer.json()["code"] == code


def _is_worker(path: Path, parent: int) -> bool:
    try:
        status = (path.parent / "status").read_text()
        return f"PPid:\t{parent}\n" in status and b"weighbridge.serving.worker" in path.read_bytes()
    except OSError:
        return False


def test_garbage_is_refused_in_the_one_shape_and_a_right_row_is_still_answered(
    server: Running, digits: Path, remote: EncryptedRemote
) -> None:
    _, rows = rows_of(digits, 1)
    good, random = remote.client.encrypt_row(rows[0], remote.secret), np.random.default_rng(3)
    bodies = [b"", b"\0", b"{}", b"WBEK\x01" + bytes(16), good[:16], good[:-1], good + b"x", remote.secret, bomb(50), random.bytes(100_000)]
    bodies += [make(good) for make in HUGE.values()]
    for place in range(64):
        changed = bytearray(good)
        changed[place if place < 32 else int(random.integers(len(good)))] ^= 1 << int(random.integers(8))
        bodies.append(bytes(changed))
    answers = [server.ask(f"{MODEL}/row?keys={remote._named}", body) for body in bodies]
    wrong = [one.status for one in answers if one.status != 200 and not is_refused(one, 413, 422)]
    assert wrong == []
    assert sum(one.status == 422 for one in answers) > 40
    hostile = [b"", b"WBEK\x01", remote.evaluation[:-1], remote.evaluation[:1000], good, random.bytes(1_000_000)]
    changed = bytearray(remote.evaluation)
    changed[30] ^= 1
    assert all(is_refused(server.ask(f"{MODEL}/keys", body), 422) for body in (*hostile, bytes(changed)))
    assert remote.predict(rows).labels


@pytest.mark.parametrize("query", ["", "?keys=", "?keys=x", f"?keys={'A' * 64}", f"?keys={'0' * 64}&keys={'0' * 64}", "?key=1"])
def test_a_row_that_names_no_keys_is_refused(server: Running, query: str) -> None:
    assert is_refused(server.ask(f"{MODEL}/row{query}", b"x"), 400)


@pytest.mark.parametrize(("path", "body"), [("client", None), ("keys", b"x"), (f"row?keys={'0' * 64}", b"x")])
def test_a_package_without_a_circuit_and_a_model_of_no_name_are_not_found(server: Running, path: str, body: bytes | None) -> None:
    answer = server.ask(f"/v2/models/plain/encrypted/{path}", body)
    assert is_refused(answer, 404)
    assert answer.json()["code"] == "no_circuit"
    assert is_refused(server.ask(f"/v2/models/none/encrypted/{path}", body), 404)
    with pytest.raises(UsageError, match=r"refuses \(404\): this package answers no encrypted rows"):
        EncryptedRemote.open(server.url, "plain", server.key)


def test_without_a_key_nothing_is_told(server: Running) -> None:
    assert is_refused(server.ask(f"{MODEL}/client", key="wrong"), 401)
    with pytest.raises(UsageError, match=r"refuses \(401\)"):
        EncryptedRemote.open(server.url, "digits", "wrong")


def test_keys_beyond_their_limit_are_refused_before_they_are_read(digits: Path, tmp_path: Path) -> None:
    with running([f"digits={digits / 'deployment' / 'package'}"], tmp_path / "state", "--limit", "keys_bytes=100000") as server:
        assert is_refused(server.ask(f"{MODEL}/keys", bytes(100_001)), 413)


@pytest.mark.parametrize("what", ["another model", "damaged", "signed"])
def test_a_circuit_that_is_not_of_this_package_is_not_answered_with_and_it_is_said(digits: Path, tmp_path: Path, what: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(digits / "deployment", run / "deployment")
    about = run / "deployment" / "homomorphic" / "server" / "server.json"
    options: list[str] = []
    if what == "another model":
        about.write_text(json.dumps(json.loads(about.read_text()) | {"model_sha256": "0" * 64}), encoding="utf-8")
    elif what == "damaged":
        about.write_bytes(b"{")
    else:
        pair = make_key(tmp_path / "key")
        sign_package(run / "deployment" / "package", read_private_key(pair.private))
        options = ["--trust", str(pair.public)]
    server = start([f"digits={run / 'deployment' / 'package'}"], tmp_path / "state", *options)
    try:
        assert is_refused(server.ask(f"{MODEL}/client"), 404)
        assert "digits answers no encrypted rows: " in server.log.read_text()
    finally:
        server.process.terminate()
        server.process.wait()
