"""The champion with its probabilities fitted to recent labels: one number, the temperature (Guo 2017), written into its graph.

It is judged on labels that did not fit it (five folds): only where the log loss falls, its interval wholly above 0, it changes.
The most probable class of every row stays what it was, so no accuracy is at stake and no row is forgotten. What its contract says of
probabilities and of the spread of answers is renewed (recalibrated.py), so that the watch holds it to its own answers.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.deployment.recalibrated import MOST_ANSWERS, Evidence, renewed
from weighbridge.evaluation.adjustment import Adjustment, Temperature
from weighbridge.evaluation.recalibration import fit_temperature, on_unseen, saved_on_unseen
from weighbridge.feedback.registry import Registry, moment
from weighbridge.feedback.windows import predictions_of
from weighbridge.runtime.contract import FILE, Contract
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
    known = Evidence(
        heat=fit_temperature(rows), before=_heats(registry, champion), unseen=on_unseen(rows, _fitted, 0),
        answers=log.window(package=registry.name, model=about["model"], newest=MOST_ANSWERS).output,
        run=Path(about["run"]) if about.get("run") else None,
    )  # fmt: skip
    package = _package(registry, champion, known, about)
    told = registry.about(package).get("contract", {})
    registry.release(package, why, log_loss_saved=saved.saved, interval=list(saved.interval), n=saved.n, contract=told, **evidence)
    held = f"; held to {told['answers_n']:,} {told['answers']} from now on" if told else ""
    return f"temperature {known.heat.value:.4g}: the log loss falls by {saved.saved:.4g} on {saved.n:,} labels{held}"


def _fitted(rows: Predictions) -> Adjustment:
    return Adjustment(kind="set" if rows.kind == "set" else "category", steps=(fit_temperature(rows),))


def _heats(registry: Registry, package: str) -> list[Temperature]:
    """Return the temperatures that recalibrations have written into a package, the oldest first."""
    heats: list[Temperature] = []
    while (about := registry.about(package)).get("temperature") is not None:
        heats.insert(0, Temperature(value=float(about["temperature"])))
        package = about["before"]
    return heats


def _package(registry: Registry, champion: str, known: Evidence, about: dict[str, Any]) -> str:
    """Return the SHA-256 of the champion's package with this temperature, installed."""
    from weighbridge.export.adjust import adjust

    building, source = fresh_folder(registry.folder / ".recalibrating") / "package", registry.path(champion)
    shutil.copytree(source, building, ignore=shutil.ignore_patterns(*LEFT))
    adjust(source / "model.onnx", building / "model.onnx", Adjustment(kind=about["kind"], steps=(known.heat,)))
    sources = _describe(building, known)
    told = {name: value for name, value in about.items() if name not in ("package", "model", "kind", "classes")}
    told |= {"temperature": known.heat.value, "before": champion, "installed": moment(), "contract": sources}
    package = registry.install(building, **told)
    remove(building.parent)
    return package


def _describe(building: Path, known: Evidence) -> dict[str, Any]:
    """package.json and contract.json name the graph, golden.json holds its answers, the manifest lists all.

    Returns where the figures of the contract come from; nothing where the package carries none.
    """
    from weighbridge import runtime

    description, golden = read_json(building / "package.json"), read_json(building / "golden.json")
    model = {"model_sha256": sha256_file(building / "model.onnx")}
    write_json(building / "package.json", {**description, **model})
    sources: dict[str, Any] = {}
    if (building / FILE).exists():
        contract, sources = renewed(Contract.from_json(read_json(building / FILE)), building / "model.onnx", known)
        write_json(building / FILE, contract.to_json())
    golden["outputs"] = known.heat.applied(np.array(golden["outputs"]), description["kind"]).tolist()
    write_json(building / "golden.json", golden)
    runtime.write_manifest(building)
    runtime.load(building).check_golden()
    return sources
