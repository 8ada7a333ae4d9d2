"""MLflow: an SQLite file beside the run folders, or a server by URL; look with `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.tracking.record import Epochs, Outcome, Record, findings_markdown, measured, points

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
MOST_PARAMETERS, MOST_METRICS, MOST_TEXT, MOST_NOTE = 100, 1000, 6000, 5000  # what one call of MLflow takes
# Without these, MLflow reports its use to its makers, and waits for minutes on a server that does not answer. The user's own values win.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


class Mlflow:
    """The run in MLflow; `memory` names it, so that a later sitting goes on with the same one."""

    def __init__(self, recipe: Recipe, record: Record, memory: dict[str, str]) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        for name in ("mlflow.store.db.utils", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        from mlflow import MlflowClient

        options = recipe.tracking.mlflow
        runs = record.folder.resolve().parent
        url = options.url or f"sqlite:///{(runs / 'mlflow.db').as_posix()}"
        self._client: Any = MlflowClient(tracking_uri=url, registry_uri=url)
        self._run = self._taken_up(memory) or self._new(options.experiment, runs if options.url is None else None, record.name)
        memory["run_id"] = self._run
        self._seen = self._last_step()

    def _taken_up(self, memory: dict[str, str]) -> str | None:
        """Return the run of an earlier sitting, set to running; None where there is none, or it was deleted."""
        from mlflow.exceptions import MlflowException

        if "run_id" not in memory:
            return None
        try:
            known = self._client.get_run(memory["run_id"])
        except MlflowException:
            return None
        if known.info.lifecycle_stage != "active":
            return None
        self._client.update_run(known.info.run_id, status="RUNNING")
        return str(known.info.run_id)

    def _new(self, experiment: str, runs: Path | None, name: str) -> str:
        known = self._client.get_experiment_by_name(experiment)
        place = None if runs is None else (runs / "mlflow-artifacts").as_uri()
        number = self._client.create_experiment(experiment, artifact_location=place) if known is None else known.experiment_id
        return str(self._client.create_run(number, run_name=name).info.run_id)

    def _last_step(self) -> int:
        """Return the last step whose points are stored; -1 for none. An epoch's points are stored together or not at all."""
        return max((int(point.step) for point in self._client.get_metric_history(self._run, "training/train_loss")), default=-1)

    def curve(self, epochs: Epochs) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for epoch in epochs:
            step = int(epoch["step"])
            if step > self._seen:
                self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in points(epoch).items()])
                self._seen = step

    def deliver(self, record: Record) -> None:
        from mlflow.entities import Metric, Param

        known = self._client.get_run(self._run).data
        params = [Param(name, value[:MOST_TEXT]) for name, value in record.parameters.items() if name not in known.params]
        now = int(time.time() * 1000)
        numbers = {accepted(key): value for key, value in measured(record.findings).items()}
        metrics = [Metric(name, value, now, 0) for name, value in numbers.items() if known.metrics.get(name) != value]
        for start in range(0, len(params), MOST_PARAMETERS):
            self._client.log_batch(self._run, params=params[start : start + MOST_PARAMETERS])
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(self._run, metrics=metrics[start : start + MOST_METRICS])
        self._client.set_tag(self._run, "mlflow.note.content", _note(findings_markdown(record.findings)))
        self._client.log_text(self._run, findings_markdown(record.findings), "findings.md")
        for file in record.files:
            self._client.log_artifact(self._run, str(file))
        if record.package is not None:
            self._client.log_artifacts(self._run, str(record.package), "package")

    def close(self, outcome: Outcome) -> None:
        self._client.set_terminated(self._run, status=STATUS[outcome])


def accepted(name: str) -> str:
    """Return a metric's name as MLflow takes it; different names stay different."""
    return re.sub(r"[^A-Za-z0-9_.\- ]", lambda found: f"_x{ord(found.group()):x}_", name)[:250]


def _note(table: str) -> str:
    """Return as many whole lines of the table as a note of MLflow holds."""
    kept = table[:MOST_NOTE]
    return kept if len(table) <= MOST_NOTE else kept[: kept.rfind("\n") + 1]
