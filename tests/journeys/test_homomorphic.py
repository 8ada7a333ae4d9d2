"""Law: a run's network answers encrypted rows as it answers plain ones, and a run that does not fit has one finding that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from weighbridge import lifecycle
from weighbridge.deployment.homomorphic import measure
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import load_recipe
from weighbridge.runtime.encrypted import EncryptedClient, EncryptedNetwork
from weighbridge.storage import read_json
from weighbridge.storage.progress import silent

pytest.importorskip("tenseal", reason="encrypted rows need tenseal: pip install tenseal")
pytestmark = pytest.mark.slow
RECIPE = Path(__file__).resolve().parents[2] / "examples" / "two_features.yaml"


def run(folder: Path, *changes: str) -> Path:
    recipe = load_recipe(RECIPE, ("training.epochs=20", "audit.enabled=false", "evaluation.baselines=[]", *changes))
    lifecycle.run(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = run(tmp_path_factory.mktemp("runs") / "linear")
    measure(folder, rows=12, command="weigh deploy homomorphic linear", progress=silent)
    return folder


def test_encrypted_rows_are_answered_as_plain_ones_are(linear: Path) -> None:
    findings = read_findings(linear / "deployment" / "homomorphic" / "findings.jsonl")
    metric, error, change = (by_key(findings, f"deployment.homomorphic{part}") for part in ("", ".error", ".change"))
    assert metric is not None
    assert error is not None
    assert change is not None
    assert metric.n == 12
    assert metric.reference is not None
    assert metric.reference.difference_interval is not None
    assert metric.value == metric.reference.value, "a linear network is computed exactly"
    assert float(str(error.value)) < 1e-3
    assert float(str(change.value)) < 1e-3
    assert "12 rows answered encrypted" in (linear / "data" / "test_ledger.jsonl").read_text(encoding="utf-8")


def test_the_two_folders_answer_a_row_of_columns_by_themselves(linear: Path) -> None:
    import weighbridge

    place = linear / "deployment" / "homomorphic"
    client, server = EncryptedClient.open(place / "client" / "client.json"), EncryptedNetwork.open(place / "server")
    assert not [path for path in (place / "client").iterdir() if path.suffix in (".safetensors", ".onnx")], "a client has no weights"
    secret, evaluation = client.make_keys()
    row = {"hours": 6.0, "sleep": 7.0}
    raw = client.decrypt(server.evaluate(client.encrypt_row(row, secret), server.keys(evaluation)), secret)
    answer, plain = client.answer(raw[None]), weighbridge.load(linear / "deployment" / "package").predict([row])
    assert answer.labels == plain.labels
    assert answer.probabilities is not None
    assert plain.probabilities is not None
    assert abs(answer.probabilities - plain.probabilities).max() < 1e-3
    assert answer.model_hash == read_json(linear / "training" / "model.json")["sha256"]


def test_a_network_that_does_not_fit_is_not_measured_and_says_why(tmp_path: Path) -> None:
    folder = run(tmp_path / "deep", "training.model.type=mlp", "training.model.hidden=[8,8]", "training.epochs=2")
    (finding,) = measure(folder, rows=5, command="x", progress=silent)
    assert finding.verdict == "unmeasured"
    assert "2 hidden layers" in str(finding.reason)
    assert not (folder / "deployment" / "homomorphic").exists()
