"""The champion with its probabilities fitted to recent labels: one number, the temperature (Guo 2017), written into its graph.

It is judged on labels that did not fit it (five folds): only where the log loss falls, its interval wholly above 0, it changes.
The most probable class of every row stays what it was, so no accuracy is at stake and no row is forgotten.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.evaluation.adjustment import Adjustment, Temperature
from weighbridge.evaluation.recalibration import fit_temperature, saved_on_unseen
from weighbridge.feedback.registry import Registry, moment
from weighbridge.feedback.windows import predictions_of
from weighbridge.storage import fresh_folder, read_json, remove, sha256_file, write_json

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Predictions
    from weighbridge.feedback.log import Log

LEFT = ("signature.json", "sbom.cdx.json", "model.onnx")  # a signature and a bill of materials are of other bytes: weigh deploy sign


def recalibrate(registry: Registry, log: Log, champion: str, why: str, **evidence: Any) -> str:
    """The champion answers with mended probabilities, or as before where labels do not show that this is better; return which, in words.

    Killed and asked again, it does what is left of it. Raises RunError, StorageError, DataError without a label.
    """
    from weighbridge import evaluation

    current, about = registry.current(), registry.about(champion)
    if current is None or current.champion != champion:
        return "another champion answers by now"
    if about["kind"] == "number":
        return "a number has no probabilities to mend"
    rows = predictions_of(log.window(package=registry.name, model=about["model"], labelled=True))
    saved = saved_on_unseen(rows, _fitted, evaluation.resampling_of(1000, 0))
    if saved.interval[0] <= 0:
        shown = f"{saved.saved:.4g} ({saved.interval[0]:.4g} to {saved.interval[1]:.4g})"
        return f"as before: on {saved.n:,} labels a temperature saves {shown} of the log loss"
    heat = fit_temperature(rows)
    package = _package(registry, champion, heat, about)
    registry.release(package, why, log_loss_saved=saved.saved, interval=list(saved.interval), n=saved.n, **evidence)
    return f"temperature {heat.value:.4g}: the log loss falls by {saved.saved:.4g} on {saved.n:,} labels"


def _fitted(rows: Predictions) -> Adjustment:
    return Adjustment(kind="set" if rows.kind == "set" else "category", steps=(fit_temperature(rows),))


def _package(registry: Registry, champion: str, heat: Temperature, about: dict[str, Any]) -> str:
    """Return the SHA-256 of the champion's package with this temperature, installed."""
    from weighbridge.export.adjust import adjust

    building, source = fresh_folder(registry.folder / ".recalibrating") / "package", registry.path(champion)
    shutil.copytree(source, building, ignore=shutil.ignore_patterns(*LEFT))
    adjust(source / "model.onnx", building / "model.onnx", Adjustment(kind=about["kind"], steps=(heat,)))
    _describe(building, heat)
    told = {name: value for name, value in about.items() if name not in ("package", "model", "kind", "classes")}
    package = registry.install(building, **{**told, "temperature": heat.value, "before": champion, "installed": moment()})
    remove(building.parent)
    return package


def _describe(building: Path, heat: Temperature) -> None:
    """package.json and contract.json name the graph, golden.json holds its answers, the manifest lists all."""
    from weighbridge import runtime

    description, golden = read_json(building / "package.json"), read_json(building / "golden.json")
    model = {"model_sha256": sha256_file(building / "model.onnx")}
    write_json(building / "package.json", {**description, **model})
    if (building / "contract.json").exists():
        write_json(building / "contract.json", {**read_json(building / "contract.json"), **model})
    golden["outputs"] = heat.applied(np.array(golden["outputs"]), description["kind"]).tolist()
    write_json(building / "golden.json", golden)
    runtime.write_manifest(building)
    runtime.load(building).check_golden()
