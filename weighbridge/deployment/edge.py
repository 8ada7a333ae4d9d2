"""Targets for devices: each built beside the package, run on the same raw rows, measured, and kept only when it is not inferior.

    deployment/edge/TARGET/   the package's files with another graph: model.pte for ExecuTorch, model.onnx in int8

A target with the network's own arithmetic (`executorch`) is kept when its answers are the network's within deployment.tolerance. One in
integers is kept when validation rows show that it is not worse than the package by more than deployment.margin, corrected over the targets
tried (Holm). The test rows make one statement about each that passed, and turn away what falls outside the margin there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.deployment.edge_findings import failed_finding, target_findings
from weighbridge.errors import DependencyError, FormError, InputError, PackageError, RefusedArtefact, WeighbridgeError
from weighbridge.runtime.model import Graph, Model, open_onnx
from weighbridge.runtime.package import PROGRAM, PackageInfo
from weighbridge.runtime.signature import Trust
from weighbridge.storage import fresh_folder, make_folder, move, remove

if TYPE_CHECKING:
    from weighbridge.deployment.edge_build import Built
    from weighbridge.findings import Finding
    from weighbridge.preprocessing import Arrays
    from weighbridge.recipe import Recipe
    from weighbridge.storage.progress import Progress

FAILS = (FormError, RefusedArtefact, DependencyError, PackageError, InputError)


def load(path: str | os.PathLike[str], *, threads: int | None = None, trust: Trust | None = None) -> Model:
    """Return the model of any package, one for a device included: model.onnx by onnxruntime, model.pte by ExecuTorch.

    ExecuTorch's Python face needs torch; on a device its own runtime does without. `threads` of a .pte are those of the whole process;
    `trust` as in Model.load.
    Raises PackageError for a package that is damaged, changed, newer or hostile, DependencyError without executorch.
    """
    return Model.load(path, threads=threads, trust=trust, opens=open_graph)


def open_graph(info: PackageInfo, contents: Mapping[str, bytes], threads: int | None) -> Graph:
    """Return what answers a package's encoded rows. Raises PackageError, DependencyError."""
    if PROGRAM not in contents:
        return open_onnx(info, contents, threads)
    from weighbridge.export.program import Program
    from weighbridge.preprocessing import Encoder

    return Program.open(contents[PROGRAM], [block.name for block in Encoder.from_json(info.encoder).blocks], threads=threads)


def prepare_edge(recipe: Recipe, *, folder: Path, command: str, progress: Progress) -> list[Finding]:
    """`folder/deployment/edge` holds the packages of the recipe's targets that were kept; returns what was found about each target.

    A target that can not be built is a finding that says why, and the rest goes on.
    """
    place, building = folder / "deployment" / "edge", folder / "deployment" / "edge-building"
    targets = list(dict.fromkeys(recipe.deployment.edge))
    remove(place)
    if not targets:
        return []
    try:
        built, failed = _build_all(recipe, targets, folder, fresh_folder(building), progress)
        found = _measured(recipe, folder, built, command, progress) if built else {}
    finally:
        remove(building)
    found |= {target: [failed_finding(target, error, command)] for target, error in failed.items()}
    return [replace(one, command=f"{command} --only {one.key.partition('.')[2]}") for target in targets for one in found[target]]


def _build_all(
    recipe: Recipe, targets: Sequence[str], folder: Path, building: Path, progress: Progress
) -> tuple[list[Built], dict[str, WeighbridgeError]]:
    """Return the targets that could be built, and why the others could not."""
    from weighbridge import preprocessing
    from weighbridge.deployment.edge_build import build, source_of

    source = source_of(recipe, folder)
    validation = preprocessing.open_arrays(folder / source.chosen.form.arrays / "validation")
    built: list[Built] = []
    failed: dict[str, WeighbridgeError] = {}
    for number, target in enumerate(targets):
        progress("edge", number, len(targets), f"building {target}")
        try:
            built.append(build(source, target, fresh_folder(building / target), validation, recipe.deployment.tolerance))
        except FAILS as error:
            failed[target] = error
    return built, failed


def _measured(recipe: Recipe, folder: Path, built: Sequence[Built], command: str, progress: Progress) -> dict[str, list[Finding]]:
    """Return what is found about each target that was built; those that are kept lie in their places."""
    from weighbridge.deployment.edge_build import finish
    from weighbridge.deployment.edge_cost import edge_costs
    from weighbridge.deployment.edge_judge import judge

    progress("edge", 0, 2, "answering real rows")
    judged = judge(recipe, folder, built, command)
    for one in judged:
        if one.is_kept:
            finish(recipe, one.built.folder, one.to_json())
    progress("edge", 1, 2, "measuring in turns")
    inputs, arrays = _timed_rows(folder)
    costs = edge_costs(folder / "deployment" / "package", built, inputs, arrays)
    found = {one.built.target: target_findings(one, costs, command) for one in judged}
    place = folder / "deployment" / "edge"
    make_folder(place)
    for one in judged:
        if one.is_kept:
            move(one.built.folder, place / one.built.target)
    return found


def _timed_rows(folder: Path) -> tuple[tuple[str, ...], Arrays]:
    """Return the names of the blocks that graphs read, in their order, and encoded validation rows."""
    from weighbridge import optimization, preprocessing

    chosen = optimization.read_chosen(folder)
    arrays = preprocessing.open_arrays(folder / chosen.form.arrays / "validation")
    return tuple(block.name for block in chosen.encoder.blocks), arrays
