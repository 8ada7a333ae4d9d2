"""Build a package beside its place, prove it on real rows through the very code that serves, then move it into place whole.

An artefact that differs from the network, or whose task metric falls, is refused: no package is left and the run ends with exit code 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.deployment.company import company_finding
from weighbridge.deployment.edge import prepare_edge
from weighbridge.deployment.load_findings import measure_load
from weighbridge.deployment.minimal import minimal_finding
from weighbridge.deployment.papers import complete
from weighbridge.deployment.price import price_findings, size_finding
from weighbridge.errors import RefusedArtefact
from weighbridge.findings import Finding, Message, Reference, write_findings
from weighbridge.storage import fresh_folder, move, remove

if TYPE_CHECKING:
    from weighbridge.data import Table
    from weighbridge.evaluation import Predictions
    from weighbridge.export import Parity
    from weighbridge.optimization import Chosen
    from weighbridge.preprocessing import Arrays
    from weighbridge.recipe import Recipe
    from weighbridge.runtime import Model
    from weighbridge.storage.progress import Progress

PARITY_ROWS = 1000
COMPANY_ROWS = 512
REFUSED = "refused.jsonl"
MADE = ("package", "edge", "requirements.txt")  # of the folder: what stands only where the package does


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The task metric of the same test rows by the network and by the package, in the metric's own unit."""

    name: str
    network: float
    package: float
    rows: int
    margin: float

    @property
    def loss(self) -> float:
        """How much worse the package is: positive is worse; for errors relative to the network's."""
        if self.name == "rmse":
            return (self.package - self.network) / max(self.network, 1e-12)
        return self.network - self.package

    @property
    def holds(self) -> bool:
        return self.loss <= self.margin


def prepare(recipe: Recipe, *, folder: Path, command: str, progress: Progress) -> list[Finding]:
    """`folder/deployment/package` is a proven package; returns parity, metric through the package, and its price.

    The package of an earlier recipe stays in its place until the new one is proven; then two renames put the new one there.

    Raises:
        RefusedArtefact: it does not do what the network does; its findings stand in the folder's refused.jsonl.
    """
    place = folder / "deployment"
    if not recipe.deployment.enabled:
        for name in MADE:
            remove(place / name)
        reason = Message("the recipe says deployment.enabled: false")
        return [Finding(key="deployment.package", title=Message("Package"), verdict="unmeasured", reason=reason, command=command)]
    building = fresh_folder(place / "building")
    findings: list[Finding] = []
    try:
        _prove(recipe, folder, building, command, findings, progress)
    except RefusedArtefact:
        _discard(place, findings, command)
        raise
    package, before = place / "package", place / "before"
    remove(before)
    if package.exists():
        move(package, before)
    move(building, package)
    remove(before)
    progress("package", 5, 5, str(package))
    findings.append(minimal_finding(package, command))
    return findings + prepare_edge(recipe, folder=folder, command=command, progress=progress)


def _prove(recipe: Recipe, folder: Path, building: Path, command: str, findings: list[Finding], progress: Progress) -> None:
    """Fill `building` and append what was found to `findings`. Raises RefusedArtefact after the first proof that fails."""
    progress("package", 0, 5, "exporting")
    parity = _export(recipe, folder, building)
    findings.append(_parity_finding(parity, command))
    progress("package", 1, 5, "proving on real rows")
    model = _open(building)
    metric = _through_package(recipe, folder, model, command)
    findings.append(_metric_finding(metric, command))
    bad = [str(finding.reason) for finding in findings if finding.verdict == "limitation"]
    if bad:
        do = "widen deployment.tolerance or deployment.margin only if you can defend it"
        raise RefusedArtefact(f"the package is refused: {'; '.join(bad)}", do=do)
    findings.append(_company(folder, building, recipe.deployment.tolerance, command))
    progress("package", 2, 5, "measuring its price")
    price = price_findings(building, model, folder, command)
    progress("package", 3, 5, "measuring the load that it carries")
    load, load_findings = measure_load(recipe.deployment.load, building, model, folder, command)
    progress("package", 4, 5, "writing its contract")
    papers = complete(recipe, folder, building, price, load, command)
    findings += [size_finding(building, command), *price, *load_findings, *papers]


def _discard(place: Path, findings: list[Finding], command: str) -> None:
    """Leave no package, and what was found in refused.jsonl."""
    refused = Finding(
        key="deployment.package",
        title=Message("Package"),
        verdict="limitation",
        value="refused",
        reason=Message("it does not do what the network does; no package was kept"),
        method=Message("parity and task metric on real rows, first answer in a fresh process"),
        command=command,
    )
    write_findings(place / REFUSED, [refused, *findings])
    for name in ("building", *MADE):
        remove(place / name)


def _export(recipe: Recipe, folder: Path, building: Path) -> Parity:
    """Fill the folder with the package's files; return how close its graph is to what was judged."""
    from weighbridge import preprocessing
    from weighbridge.stages.packaged import fill_package

    chosen = fill_package(recipe, folder, building)
    arrays = preprocessing.open_arrays(folder / chosen.form.arrays / "validation")
    return _parity(folder, chosen, building / "model.onnx", arrays, recipe.deployment.tolerance)


def _parity(folder: Path, chosen: Chosen, path: Path, arrays: Arrays, tolerance: float) -> Parity:
    """Return how far the graph is from the recipe's network, or from what the chosen form said when it was judged.

    A form is asked for the same rows in the same batches as then: int8 with ranges of its own for each batch answers a row by its company.
    """
    from weighbridge import evaluation, export, training
    from weighbridge.runtime.session import Session

    target = chosen.encoder.learnt
    if chosen.form.is_recipe:
        network = training.Deployable(training.load_network(folder / "training"), target)
        return export.check_parity(path, network, arrays.subset(slice(PARITY_ROWS)), scale=target.std, tolerance=tolerance)
    stored = evaluation.read_predictions(folder / "evaluation" / "validation.parquet")
    expected = stored.output[np.searchsorted(stored.row_id, arrays.row_ids)]
    return export.parity_of(Session.open(path).answer(arrays), expected, scale=target.std, tolerance=tolerance)


def _company(folder: Path, building: Path, tolerance: float, command: str) -> Finding:
    from weighbridge import optimization, preprocessing
    from weighbridge.runtime.session import Session

    chosen = optimization.read_chosen(folder)
    arrays = preprocessing.open_arrays(folder / chosen.form.arrays / "validation").subset(slice(COMPANY_ROWS))
    session = Session.open(building / "model.onnx")
    return company_finding(session, arrays, scale=chosen.encoder.learnt.std, tolerance=tolerance, command=command)


def _open(building: Path) -> Model:
    from weighbridge import runtime

    model = runtime.Model.load(building)
    model.check_golden()
    return model


def _through_package(recipe: Recipe, folder: Path, model: Model, command: str) -> Metric:
    """Answer the raw test rows with the package and measure the headline metric again."""
    from weighbridge import data, evaluation

    known = evaluation.read_predictions(folder / "evaluation" / "test.parquet")
    table = data.open_data(folder / "data").test(f"acceptance of the package of model {model.hash[:12]}", command)
    through = answered(model, table, known)
    headline = evaluation.HEADLINES[known.kind]
    return Metric(
        name=headline.name, network=headline.value(known), package=headline.value(through), rows=len(known), margin=recipe.deployment.margin
    )


def answered(model: Model, table: Table, known: Predictions, name: str = "package") -> Predictions:
    """Return `known` with what a package's own preprocessing and graph say about the same raw rows. Raises InputError, PackageError."""
    outputs, ids = [], []
    for batch in table.batches(1024):
        outputs.append(model.outputs(batch.columns, len(batch)))
        ids.append(batch.row_ids)
    order = np.argsort(np.concatenate(ids).astype(str), kind="stable")
    return replace(known, output=np.concatenate(outputs)[order].astype(float), model=name)


def _parity_finding(parity: Parity, command: str) -> Finding:
    return Finding(
        key="deployment.parity",
        title=Message("Largest difference between package and network"),
        value=parity.largest,
        n=parity.rows,
        verdict="neutral" if parity.holds else "limitation",
        reference=Reference(name=Message("tolerance"), value=parity.tolerance),
        reason=Message("within the tolerance") if parity.holds else Message("beyond the tolerance: the package is refused"),
        method=Message("largest absolute difference of an output on validation rows, in deviations of the target for numbers"),
        command=f"{command} --only parity",
    )


def _metric_finding(metric: Metric, command: str) -> Finding:
    return Finding(
        key="deployment.metric",
        title=Message("Task metric through the package"),
        value=metric.package,
        n=metric.rows,
        unit="" if metric.name == "rmse" else "share",
        verdict="neutral" if metric.holds else "limitation",
        reference=Reference(name=Message("the network itself"), value=metric.network),
        reason=Message("{metric}: not worse than the network by more than {margin}", metric=metric.name, margin=metric.margin)
        if metric.holds
        else Message(
            "{metric} falls by {loss}, the margin is {margin}: the package is refused",
            metric=metric.name,
            loss=round(metric.loss, 6),
            margin=metric.margin,
        ),
        method=Message("raw test rows through the package's own preprocessing and graph, without torch"),
        command=f"{command} --only metric",
    )
