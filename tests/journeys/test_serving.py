"""Law: `weigh serve PACKAGE` speaks the protocols that clients already speak, starts safely, and says in one line why it does not start."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.preprocessing_tables import picture
from tests.unit.runtime_packages import make_package
from tests.unit.serving_servers import ROOT, Running, command, running
from weighbridge.runtime import load

PIXELS = np.arange(2 * 60, dtype=np.uint8).reshape(2, 4, 5, 3)
ROWS: dict[str, Any] = {"age": [41.5, 39.0], "city": ["Oslo", "Rom"], "seen": ["2026-03-02T10:00:00", "2026-01-01"], "tags": ["a;b", "b"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serving")
    make_package(folder / "tiny")
    make_package(folder / "flat", photos=False)
    make_package(folder / "number", "number", photos=False)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    options = ["--packages", str(folder), "--log", "inputs"]
    with running([f"tiny={folder / 'tiny'}", f"number={folder / 'number'}"], folder / "state", *options) as one:
        yield one


def tensors(client: Any, *, binary: bool) -> list[Any]:
    """Return the inputs of tritonclient for ROWS and PIXELS."""
    arrays = {"age": np.array(ROWS["age"]), "photo": PIXELS}
    arrays |= {name: np.array([text.encode() for text in ROWS[name]], dtype=np.object_) for name in ("city", "seen", "tags")}
    kinds = {"age": "FP64", "photo": "UINT8"}
    found = []
    for name, values in arrays.items():
        found.append(client.InferInput(name, list(values.shape), kinds.get(name, "BYTES")))
        found[-1].set_data_from_numpy(values, binary_data=binary)
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_client_of_triton_gets_what_the_package_gives(server: Running, folder: Path) -> None:
    client = pytest.importorskip("tritonclient.http")
    headers = {"x-api-key": server.key}
    expected = load(folder / "tiny").predict({**ROWS, "photo": list(PIXELS)})
    assert expected.probabilities is not None
    with client.InferenceServerClient(f"127.0.0.1:{server.port}") as triton:
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready("tiny", headers=headers)
        assert "binary_tensor_data" in triton.get_server_metadata(headers=headers)["extensions"]
        about = triton.get_model_metadata("tiny", headers=headers)
        assert {one["name"]: one["datatype"] for one in about["inputs"]} == {
            "age": "FP64", "city": "BYTES", "seen": "BYTES", "tags": "BYTES", "photo": "UINT8",
        }  # fmt: skip
        for binary in (True, False):
            outputs = [client.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "labels")]
            for asked in (outputs, None):
                for version in ("", about["versions"][0]):
                    answer = triton.infer(
                        "tiny",
                        tensors(client, binary=binary),
                        outputs=asked,
                        headers=dict(headers),
                        request_id="mine",
                        model_version=version,
                    )
                    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected.probabilities, rtol=1e-6)
                    assert answer.get_response()["id"] == "mine"
                    if asked:
                        labels = [text.decode() if isinstance(text, bytes) else text for text in answer.as_numpy("labels").tolist()]
                        assert labels == expected.labels
        with pytest.raises(client.InferenceServerException, match="no input 'agee'"):
            triton.infer(
                "tiny", [client.InferInput("agee", [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))], headers=dict(headers)
            )
        with pytest.raises(client.InferenceServerException, match="without content-encoding"):
            triton.infer("tiny", tensors(client, binary=True), headers=dict(headers), request_compression_algorithm="gzip")


@pytest.mark.slow
def test_a_person_with_curl_sends_a_row_a_form_and_a_label(server: Running, folder: Path) -> None:
    row = {**{name: values[0] for name, values in ROWS.items()}, "tags": ["a", "b"]}
    photo = folder / "photo.png"
    photo.write_bytes(picture(PIXELS[0]))
    fields = [f"{name}={value}" for name, value in {**row, "tags": "a;b"}.items()]
    arguments = [
        "-sS",
        "-H",
        f"x-api-key: {server.key}",
        *(part for one in (*fields, f"photo=@{photo}") for part in ("-F" if "@" in one else "--form-string", one)),
    ]
    done = subprocess.run(["curl", *arguments, f"{server.url}/predict?model=tiny"], capture_output=True, check=True)
    by_form = json.loads(done.stdout)
    answer = server.ask("/predict?model=tiny", [{**row, "photo": PIXELS[0].tolist()}])
    expected = load(folder / "tiny").predict([{**row, "photo": PIXELS[0]}]).to_json()
    assert by_form["predictions"] == answer.json()["predictions"] == expected
    assert answer.headers["x-model"] == answer.json()["model"]
    assert answer.headers["x-request-id"] == answer.json()["id"]
    told = server.ask("/feedback", {"labels": [{"id": f"{answer.json()['id']}/0", "label": expected[0]["prediction"]}]})
    assert told.status == 200
    assert sum(told.json()[name] for name in ("accepted", "unknown")) == 1


@pytest.mark.slow
def test_what_is_asked_is_counted(server: Running) -> None:
    server.ask("/predict?model=number", [{name: values[0] for name, values in ROWS.items()} | {"label": "no"}])
    server.ask("/predict?model=number", [{}])
    text = server.ask("/metrics").body.decode()
    for line in (
        r'weighbridge_requests_total{route="/predict",status="200"}', r'weighbridge_refused_total{code="invalid_rows"}',
        r'weighbridge_request_seconds_bucket{le="+Inf",route="/predict"}', r'weighbridge_workers{name="number"} 1.0',
        r'weighbridge_model_info{kind="number"', r'weighbridge_queue{name="number"} 0.0', r'weighbridge_worker_restarts{name="tiny"} 0.0',
    ):  # fmt: skip
        assert line in text


@pytest.mark.slow
def test_a_package_is_swapped_rolled_back_and_challenged_by_name(server: Running, folder: Path) -> None:
    before = server.ask("/v2/models/tiny").json()["versions"]
    swapped = server.ask("/admin/models/tiny/swap", {"package": "flat"})
    assert swapped.status == 200, swapped.body
    assert [one["name"] for one in server.ask("/v2/models/tiny").json()["inputs"]] == ["age", "city", "seen", "tags"]
    assert str(folder) not in swapped.body.decode()
    assert server.ask("/admin/models/tiny/rollback", b"").json()["versions"] == before
    assert len(server.ask("/admin/models/tiny/challenge", {"package": "flat", "share": 0.25}).json()["versions"]) == 2
    assert server.ask("/admin/models/tiny/withdraw", b"").json()["versions"] == before
    for bad in ("../tiny", "/etc", ".", "nothing", "tiny\0", "state"):
        refused = server.ask("/admin/models/tiny/swap", {"package": bad})
        assert refused.status == 400, (bad, refused.body)
        assert str(folder) not in refused.body.decode()
    trail = "".join(path.read_text() for path in (folder / "state" / "trail").iterdir())
    assert "package.swapped" in trail
    assert "package.rolled_back" in trail


@pytest.mark.slow
def test_the_page_of_the_routes_loads_nothing_from_elsewhere(server: Running) -> None:
    page = server.ask("/docs", key="none")
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("page.js", "page.css"):
        file = server.ask(f"/docs/{name}", key="none")
        assert file.status == 200
        assert b"http://" not in file.body
        assert b"https://" not in file.body
    assert b"<script>" not in page.body


def refused(folder: Path, packages: list[str], *options: str) -> str:
    """Return the one line with which `weigh serve` does not start; exit code 2."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command(packages, folder / "elsewhere", "--port", "0", *options), capture_output=True, text=True, env=environment, timeout=60,
        check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("weigh: ")]
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


STARTS: dict[str, tuple[tuple[str, ...], str]] = {
    "beyond this machine without TLS": (("--host", "0.0.0.0"), "--tls-cert and --tls-key"),
    "a certificate without its key": (("--tls-cert", "x.pem"), "both a certificate and its key"),
    "an unknown limit": (("--limit", "rowz=3"), "did you mean 'rows'"),
    "a limit that is no number": (("--limit", "rows=many"), "the limit rows is 'many'"),
    "a limit of nothing": (("--limit", "rows=0"), "the limit rows is '0'"),
    "an unknown log": (("--log", "input"), "did you mean 'inputs'"),
    "no such address": (("--host", "203.0.113.7", "--insecure-bind"), "can not be listened at"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "said"), STARTS.values(), ids=STARTS)
def test_what_can_not_be_served_so_is_said_in_one_line(folder: Path, options: tuple[str, ...], said: str) -> None:
    assert said in refused(folder, [f"flat={folder / 'flat'}"], *options)


@pytest.mark.slow
def test_a_package_that_is_damaged_or_named_twice_is_not_served(folder: Path) -> None:
    assert "there is no package" in refused(folder, [str(folder / "none")])
    assert "two packages have the name 'flat'" in refused(folder, [str(folder / "flat"), str(folder / "flat")])
    make_package(folder / "damaged", photos=False)
    graph = folder / "damaged" / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(bytes(content))
    assert "model.onnx" in refused(folder, [str(folder / "damaged")])


@pytest.mark.slow
def test_the_first_start_makes_a_key_that_only_its_hash_is_kept_of(folder: Path) -> None:
    state = folder / "first"
    state.mkdir()
    process = subprocess.Popen(
        command([str(folder / "flat")], state, "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = []
        while not lines or not lines[-1].startswith("serving"):
            lines.append(process.stdout.readline())
            assert lines[-1], lines
        key = (state / "first-admin-key").read_text().strip()
        assert (state / "first-admin-key").stat().st_mode & 0o777 == 0o600
        secret = key.rpartition("_")[2]
        assert secret not in "".join(lines)
        kept = [path for path in state.rglob("*") if path.is_file() and path.name != "first-admin-key"]
        assert all(secret.encode() not in path.read_bytes() for path in kept)
    finally:
        process.terminate()
        assert process.wait(60) == 0
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.slow
def test_a_server_is_ready_soon_after_it_was_started(folder: Path) -> None:
    """The figure is that of bench/; here only what no loaded machine explains."""
    begun_s = time.monotonic()
    with running([str(folder / "flat")], folder / "soon") as one:
        assert time.monotonic() - begun_s < 30
        assert one.ask("/v2/health/ready").json() == {"ready": True}
