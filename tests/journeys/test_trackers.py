"""Law: a tracker shows what the run found, changes nothing of it, and can not stop it.

What was written is read back by the library itself; where a library is not installed, its tests are skipped and say so (`make trackers`).
"""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weighbridge import lifecycle
from weighbridge.errors import DependencyError
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import Recipe, parse_recipe

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("tensorboard", "mlflow", "wandb")
PRESENT = [name for name in NAMES if importlib.util.find_spec(name) is not None]
pytestmark = [
    pytest.mark.slow,
    # the libraries use deprecated corners of each other; not ours to mend
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
with_tensorboard, with_mlflow, with_wandb = (
    pytest.mark.skipif(name not in PRESENT, reason=f"{name} is not installed: `make trackers`") for name in NAMES
)
EPOCHS = 4


def values(folder: Path, **changes: Any) -> dict[str, Any]:
    """A recipe over a table that is written to `folder`: two classes, 300 rows, one class name that is markup."""
    rng = np.random.default_rng(3)
    x, z = rng.normal(size=300), rng.normal(size=300)
    label = np.where(x + 0.3 * rng.normal(size=300) > 0, "yes", "<b>no|")
    table = folder / "table.csv"
    table.write_text("x,z,label\n" + "".join(f"{a:.5f},{b:.5f},{c}\n" for a, b, c in zip(x, z, label, strict=True)))
    training = {"epochs": EPOCHS, "batch_size": 32, "threads": 1, "precision": "fp32", "memory_format": "contiguous", "checkpoint_s": 0.001}
    data = {"source": str(table), "target": "label"}
    return {"name": "tracked", "data": data, "training": training, "evaluation": {"resamples": 200}, **changes}


def run(folder: Path, tracking: Any, place: str = "tracked") -> tuple[Recipe, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = parse_recipe(values(folder, tracking=tracking))
    lifecycle.run(recipe, folder / "runs" / place)
    return recipe, folder / "runs" / place


def epochs(run_folder: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((run_folder / "training" / "history.json").read_text())["epochs"]
    return found


def model_hash(run_folder: Path) -> str:
    return str(json.loads((run_folder / "training" / "model.json").read_text())["sha256"])


# the libraries' own readers


def tensorboard_points(run_folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_folder / "tracking" / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def mlflow_runs(url: str) -> tuple[Any, list[Any]]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=url, registry_uri=url)
    experiment = client.get_experiment_by_name("weighbridge")
    return client, list(client.search_runs([experiment.experiment_id]))


def mlflow_url(run_folder: Path) -> str:
    return f"sqlite:///{(run_folder.parent / 'mlflow.db').as_posix()}"


def wandb_records(run_folder: Path) -> Iterator[Any]:
    """Give each record of the offline run: LevelDB's log format with W&B's own protobuf messages in it."""
    from wandb.proto import wandb_internal_pb2

    files = list((run_folder / "tracking" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 1
    data, at, whole = files[0].read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def wandb_points(run_folder: Path, name: str) -> list[tuple[int, float]]:
    points = []
    for record in wandb_records(run_folder):
        items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        if name in items:
            points.append((record.history.step.num, float(items[name])))
    return points


def assert_curve(points: list[tuple[int, float]], run_folder: Path, key: str) -> None:
    """Each epoch stands there once, in order, with the value of history.json (float32 at least)."""
    wanted = epochs(run_folder)
    assert [step for step, _ in points] == [epoch["step"] for epoch in wanted]
    np.testing.assert_allclose([value for _, value in points], [epoch[key] for epoch in wanted], rtol=1e-6)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("plain"), [])[1]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("all"), PRESENT)[1]


@pytest.mark.skipif(not PRESENT, reason="no tracker is installed: `make trackers`")
def test_trackers_change_no_weight_and_no_finding(plain: Path, tracked: Path) -> None:
    assert model_hash(plain) == model_hash(tracked)
    judged = [[f.value for f in read_findings(place / "findings.jsonl") if f.stage == "evaluation"] for place in (plain, tracked)]
    assert judged[0] == judged[1]
    assert not any(finding.stage == "tracking" for finding in read_findings(tracked / "findings.jsonl"))


@with_tensorboard
def test_tensorboard_shows_curves_findings_parameters_and_the_report(tracked: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for key in ("train_loss", "validation_loss", "validation_accuracy", "lr"):
        assert_curve(tensorboard_points(tracked, f"training/{key}"), tracked, key)
    accuracy = by_key(read_findings(tracked / "findings.jsonl"), "evaluation.accuracy")
    assert accuracy is not None
    assert accuracy.interval is not None
    assert tensorboard_points(tracked, "findings/evaluation.accuracy")[0][1] == pytest.approx(accuracy.value, rel=1e-6)
    assert tensorboard_points(tracked, "findings/evaluation.accuracy.low")[0][1] == pytest.approx(accuracy.interval[0], rel=1e-6)
    events = EventAccumulator(str(tracked / "tracking" / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    text = {
        name: events.Tensors(f"{name}/text_summary")[0].tensor_proto.string_val[0].decode() for name in ("findings", "parameters", "report")
    }
    assert "training.epochs: 4" in text["parameters"]
    assert "Accuracy on unseen rows" in text["findings"]
    assert "<b>" not in text["findings"] + text["report"]
    assert any("hparams" in name for name in events.PluginTagToContent("hparams"))


@with_mlflow
def test_mlflow_holds_curves_findings_parameters_report_and_package(tracked: Path) -> None:
    client, runs = mlflow_runs(mlflow_url(tracked))
    assert [(item.info.run_name, item.info.status) for item in runs] == [("tracked", "FINISHED")]
    number = runs[0].info.run_id
    for key in ("train_loss", "validation_loss", "validation_accuracy", "lr"):
        history = client.get_metric_history(number, f"training/{key}")
        assert_curve([(point.step, point.value) for point in history], tracked, key)
    accuracy = by_key(read_findings(tracked / "findings.jsonl"), "evaluation.accuracy")
    assert accuracy is not None
    assert accuracy.interval is not None
    assert runs[0].data.metrics["evaluation.accuracy"] == accuracy.value
    assert runs[0].data.metrics["evaluation.accuracy.high"] == accuracy.interval[1]
    assert runs[0].data.params["training.epochs"] == str(EPOCHS)
    assert "Accuracy on unseen rows" in runs[0].data.tags["mlflow.note.content"]
    kept = {item.path for item in client.list_artifacts(number)}
    assert {"report.html", "card.md", "findings.jsonl", "recipe.yaml", "package"} <= kept
    assert "package/model.onnx" in {item.path for item in client.list_artifacts(number, "package")}


@with_wandb
def test_an_offline_run_of_wandb_holds_curves_findings_parameters_report_and_package(tracked: Path) -> None:
    for key in ("train_loss", "validation_loss", "validation_accuracy", "lr"):
        assert_curve(wandb_points(tracked, f"training/{key}"), tracked, key)
    records = list(wandb_records(tracked))
    config = {item.key: item.value_json for record in records for item in record.run.config.update}
    assert json.loads(config["training.epochs"]) == str(EPOCHS)
    summary = {"/".join(item.nested_key) or item.key: item.value_json for record in records for item in record.summary.update}
    accuracy = by_key(read_findings(tracked / "findings.jsonl"), "evaluation.accuracy")
    assert accuracy is not None
    assert json.loads(summary["evaluation.accuracy"]) == accuracy.value
    kinds = {
        record.artifact.type: {entry.path for entry in record.artifact.manifest.contents} for record in records if record.artifact.type
    }
    assert {"report", "model"} <= set(kinds)
    pages = list((tracked / "tracking" / "wandb").glob("offline-run-*/files/media/html/*.html"))
    assert [page.read_text(encoding="utf-8") for page in pages] == [(tracked / "report.html").read_text(encoding="utf-8")]
    collected = {path.name for path in (tracked / "tracking" / "wandb").glob("offline-run-*/files/*")}
    assert "wandb-metadata.json" not in collected  # host name, user, command line


@pytest.mark.skipif(not PRESENT, reason="no tracker is installed: `make trackers`")
def test_a_run_that_is_done_already_tells_nobody_again(tmp_path: Path) -> None:
    recipe, folder = run(tmp_path, PRESENT)
    before = settled(tmp_path)
    assert len(before) >= len(PRESENT)
    lifecycle.run(recipe, folder)
    assert settled(tmp_path) == before


def settled(folder: Path) -> dict[Path, int]:
    """Return when what the trackers keep was last written, once it has been still for two seconds: W&B's helper process writes on for a
    moment after it has said that the run is finished.
    """
    kept, found, still = ("events.out.*", "*.wandb", "mlflow.db", "*.onnx", "*.html"), dict[Path, int](), 0
    while still < 4:
        now = {path: path.stat().st_mtime_ns for name in kept for path in folder.rglob(name) if path.name != "report.html"}
        still = still + 1 if now == found else 0
        found = now
        time.sleep(0.5)
    return found


@with_mlflow
def test_a_changed_recipe_is_a_new_run_and_the_old_one_stays(tmp_path: Path) -> None:
    _, folder = run(tmp_path, "mlflow")
    changed = values(tmp_path, tracking="mlflow")
    changed["evaluation"] = {"resamples": 201}
    lifecycle.run(parse_recipe(changed), folder)
    client, runs = mlflow_runs(mlflow_url(folder))
    assert sorted(item.data.params["evaluation.resamples"] for item in runs) == ["200", "201"]
    for item in runs:
        history = client.get_metric_history(item.info.run_id, "training/train_loss")
        assert_curve([(point.step, point.value) for point in history], folder, "train_loss")


KILLED = """
import os, signal, sys
from pathlib import Path
from weighbridge import lifecycle
from weighbridge.recipe import load_recipe
import weighbridge.training.loop as loop
save = loop.Loop._save
def later(self, progressed):  # the points of the third epoch are told, its state is not saved: resuming trains it again
    if len(progressed.epochs) >= 3:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, progressed)
if sys.argv[3] == "kill":
    loop.Loop._save = later
lifecycle.run(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.skipif(not PRESENT, reason="no tracker is installed: `make trackers`")
def test_a_killed_and_resumed_run_shows_each_epoch_once(plain: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tracked.yaml"
    recipe.write_text(json.dumps(values(tmp_path, tracking=PRESENT)))
    folder = tmp_path / "runs" / "tracked"
    command = [sys.executable, "-c", KILLED, str(recipe), str(folder)]
    killed = subprocess.run([*command, "kill"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if "mlflow" in PRESENT:
        client, runs = mlflow_runs(mlflow_url(folder))
        assert runs[0].info.status == "RUNNING"
        assert len(client.get_metric_history(runs[0].info.run_id, "training/lr")) == 3  # live, and one of them to be trained again
    done = subprocess.run([*command, "live"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert model_hash(folder) == model_hash(plain)
    if "mlflow" in PRESENT:
        client, runs = mlflow_runs(mlflow_url(folder))
        assert [item.info.status for item in runs] == ["FINISHED"]
        history = client.get_metric_history(runs[0].info.run_id, "training/train_loss")
        assert_curve([(point.step, point.value) for point in history], folder, "train_loss")
    if "tensorboard" in PRESENT:
        assert_curve(tensorboard_points(folder, "training/train_loss"), folder, "train_loss")
    if "wandb" in PRESENT:
        assert_curve(wandb_points(folder, "training/train_loss"), folder, "train_loss")


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("name", [pytest.param("mlflow", marks=with_mlflow), pytest.param("wandb", marks=with_wandb)])
def test_a_server_that_is_not_there_costs_a_line_and_not_the_run(
    name: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    said: list[str] = []
    recipe = parse_recipe(values(tmp_path, tracking={name: {"url": f"http://127.0.0.1:{closed_port()}"}}))
    started = time.monotonic()
    lifecycle.run(recipe, tmp_path / "run", progress=lambda label, done, total, note="": said.append(f"{label} {note}"))
    assert time.monotonic() - started < 120
    lines = [line for line in said if line.startswith("tracking")]
    assert len(lines) == 1
    assert "goes on without it" in lines[0]
    assert model_hash(tmp_path / "run") == model_hash(plain)
    lost = by_key(read_findings(tmp_path / "run" / "findings.jsonl"), f"tracking.{name}")
    assert lost is not None
    assert lost.verdict == "unmeasured"
    assert "the run went on without it" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@with_tensorboard
def test_a_tracker_that_can_not_write_costs_a_line_and_not_the_run(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from weighbridge.tracking import tensorboard

    def full(folder: Path) -> Path:
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(tensorboard, "fresh_folder", full)
    _, folder = run(tmp_path, "tensorboard")
    lost = by_key(read_findings(folder / "findings.jsonl"), "tracking.tensorboard")
    assert lost is not None
    assert "No space left" in str(lost.reason)
    assert model_hash(folder) == model_hash(plain)


@with_mlflow
def test_a_real_mlflow_server_by_url(tmp_path: Path) -> None:
    if importlib.util.find_spec("flask") is None:
        pytest.skip("mlflow-skinny has no server; pip install mlflow")
    port = closed_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--artifacts-destination", str(tmp_path / "kept")]  # fmt: skip
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=quiet, start_new_session=True) as server,
    ):
        try:
            await_port(port)
            _, folder = run(tmp_path, {"mlflow": {"url": url}})
            client, runs = mlflow_runs(url)
            history = client.get_metric_history(runs[0].info.run_id, "training/train_loss")
            assert_curve([(point.step, point.value) for point in history], folder, "train_loss")
            assert "report.html" in {item.path for item in client.list_artifacts(runs[0].info.run_id)}
            assert not (folder.parent / "mlflow.db").exists()
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def await_port(port: int) -> None:
    for _ in range(900):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the server did not start in three minutes")


class Counting(http.server.BaseHTTPRequestHandler):
    """A proxy that lets nothing pass and counts who asked."""

    asked: tuple[str, ...] = ()

    def do_CONNECT(self) -> None:
        type(self).asked = (*type(self).asked, self.path)
        self.send_error(502)

    do_GET = do_POST = do_CONNECT

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.mark.skipif(not PRESENT, reason="no tracker is installed: `make trackers`")
def test_without_a_url_nothing_asks_for_the_network(tmp_path: Path) -> None:
    """All traffic of Python's and Go's HTTP clients is led to a proxy that counts; a request on purpose shows that it would be seen."""
    Counting.asked = ()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_address[1]}"
        hidden = ("CI", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "NO_PROXY", "no_proxy", "PYTEST_CURRENT_TEST", "PYTEST_VERSION")
        environment = {key: value for key, value in os.environ.items() if key not in hidden}
        environment |= {key: address for key in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")}
        recipe = tmp_path / "tracked.yaml"
        recipe.write_text(json.dumps(values(tmp_path, tracking=PRESENT)))
        command = [sys.executable, "-c", KILLED, str(recipe), str(tmp_path / "runs" / "tracked"), "live"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False, env=environment)
        assert done.returncode == 0, done.stderr
        assert Counting.asked == (), "asked for the network"
        control = "import urllib.request\ntry: urllib.request.urlopen('https://example.org')\nexcept OSError: pass"
        subprocess.run([sys.executable, "-c", control], env=environment, check=True)
        assert Counting.asked == ("example.org:443",)
        proxy.shutdown()


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_library_is_said_before_work_starts_with_its_pip_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted, *rest: None if wanted == name else find(wanted, *rest))
    recipe = parse_recipe(values(tmp_path, tracking=name))
    with pytest.raises(DependencyError, match=rf"pip install 'weighbridge\[{name}\]'"):
        lifecycle.run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@with_mlflow
def test_a_model_in_service_is_one_version_of_mlflows_registry(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from tests.unit.runtime_packages import make_package
    from weighbridge.deployment.mlflow_models import register
    from weighbridge.feedback.registry import Registry

    make_package(tmp_path / "package", photos=False)
    registry = Registry.open(tmp_path / "state", "pets")
    package = registry.install(tmp_path / "package", run=str(tmp_path / "runs" / "pets"))
    (tmp_path / "runs").mkdir()
    recipe = parse_recipe(values(tmp_path, tracking="mlflow"))
    told = [register(recipe, "pets", registry.path(package), registry.about(package)) for _ in range(2)]
    assert told == ["1", "1"]
    client = MlflowClient(tracking_uri=mlflow_url(tmp_path / "runs" / "pets"), registry_uri=mlflow_url(tmp_path / "runs" / "pets"))
    assert client.get_model_version_by_alias("pets", "champion").tags["package_sha256"] == package


@with_mlflow
def test_a_promoted_challenger_is_the_next_version_and_a_rollback_takes_the_alias_back(tmp_path: Path) -> None:
    """The whole circle, with MLflow's own SQLite store beside the first run: the retraining's runs and versions stand in the same one."""
    from mlflow import MlflowClient

    from tests.journeys.test_loop import FALLEN, gone_round
    from tests.unit.loop_states import NAME, answer, label, rows
    from tests.unit.loop_states import recipe as loop_recipe
    from weighbridge.deployment import release
    from weighbridge.feedback.log import Log
    from weighbridge.feedback.registry import Registry

    told = loop_recipe(tmp_path).model_dump(mode="json")
    told["tracking"]["mlflow"]["enabled"] = True
    lifecycle.run(parse_recipe(told), tmp_path / "runs" / NAME)
    registry, log = Registry.open(tmp_path / "state", NAME), Log.open(tmp_path / "state")
    first = release(registry, tmp_path / "runs" / NAME, "first").champion
    url = mlflow_url(tmp_path / "runs" / NAME)
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    champion = client.get_model_version_by_alias(NAME, "champion")
    assert (str(champion.version), champion.tags["package_sha256"]) == ("1", first)

    moved = rows(500, 1, turned=1.2)
    label(log, answer(registry, log, moved), moved)
    assert gone_round(registry, log, FALLEN).done == "retraining 001: passed the gate"
    assert gone_round(registry, log).decision.action == "challenge"
    current, more = registry.current(), rows(200, 2, turned=1.2)
    assert current is not None
    label(log, answer(registry, log, more[:100], first=1000), more[:100])
    label(log, answer(registry, log, more[100:], first=2000, package=current.challenger), more[100:])
    promoted = gone_round(registry, log)
    assert promoted.done == f"{current.challenger[:12]} answers every request; version 2 in MLflow"
    champion = client.get_model_version_by_alias(NAME, "champion")
    assert (str(champion.version), champion.tags["package_sha256"]) == ("2", current.challenger)
    assert champion.tags["retraining"] == "1"
    assert {str(one.version) for one in client.search_model_versions(f"name='{NAME}'")} == {"1", "2"}
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("mlflow.db")] == ["runs/mlflow.db"]
    assert {one.info.run_name for one in mlflow_runs(url)[1]} >= {NAME, "scratch"}

    from weighbridge.deployment.mlflow_models import register_champion

    registry.roll_back(current.challenger, "by hand")
    assert register_champion(registry) == "; version 1 in MLflow"
    assert client.get_model_version_by_alias(NAME, "champion").tags["package_sha256"] == first
    log.close()


@with_mlflow
def test_a_registry_that_is_away_costs_a_line_and_not_the_turn_of_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.runtime_packages import make_package
    from weighbridge.deployment.mlflow_models import register_champion
    from weighbridge.feedback.registry import Registry
    from weighbridge.stages.station import write_recipe

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    recipe = parse_recipe(values(tmp_path, tracking={"mlflow": {"url": f"http://127.0.0.1:{closed_port()}"}}))
    write_recipe(recipe, tmp_path / "runs" / "pets")
    make_package(tmp_path / "package", photos=False)
    registry = Registry.open(tmp_path / "state", "pets")
    registry.release(registry.install(tmp_path / "package", run=str(tmp_path / "runs" / "pets")), "first")
    assert register_champion(registry).startswith("; not registered in MLflow (MlflowException: ")
