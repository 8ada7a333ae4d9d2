"""The files of a package: the chosen form's graph, what it reads and says, a few golden rows, the manifest over them.

The deployment proves such a folder before it keeps it; the audit opens one of its own, since what will be served is what is to be attacked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.storage import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from weighbridge.optimization import Chosen
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe

FORMAT = 1
GOLDEN_ROWS = 3
INT8_TOLERANCE = 0.02  # processors without integer dot products round and saturate otherwise


def fill_package(recipe: Recipe, folder: Path, building: Path) -> Chosen:
    """`building` holds graph, description, golden rows and manifest of the run's chosen form, which is returned; nothing is proven yet.

    Raises RefusedArtefact where the network can not be exported, RunError, StorageError.
    """
    from weighbridge import data, optimization, runtime
    from weighbridge.stages.describe import data_hash, versions
    from weighbridge.stages.reference import reference_of
    from weighbridge.stages.station import recipe_hash

    chosen = optimization.read_chosen(folder)
    encoder = chosen.encoder
    target = encoder.learnt
    write_graph(folder, chosen, building / "model.onnx")
    splits = data.open_data(folder / "data")
    schema = splits.schema
    description = {
        "format": FORMAT,
        "name": recipe.name or folder.name,
        "kind": target.kind,
        "target": target.column,
        "classes": list(target.classes),
        "inputs": [{"name": name, "type": schema[name].type} for name in encoder.columns],
        "missing": list(schema.texts.missing) if schema.texts else None,
        "strip": schema.texts is None or schema.texts.strip,
        "encoder": encoder.to_json(),
        "blocks": [block.to_json() for block in encoder.blocks],
        "output": "value" if target.kind == "number" else "probabilities",
        "reference": reference_of(splits.train, encoder.columns),
        "form": chosen.form.name,
        "encrypt": recipe.deployment.encrypt,
        "golden_tolerance": INT8_TOLERANCE if "int8" in chosen.form.name else runtime.GOLDEN_TOLERANCE,
        "versions": versions(),
        "recipe_sha256": recipe_hash(recipe),
        "data_sha256": data_hash(folder),
        "model_sha256": chosen.form.sha256,
        "metric": read_json(folder / "evaluation" / "metrics.json"),
    }
    write_json(building / "package.json", description)
    _golden(folder, encoder, optimization.answers(folder, chosen.form, encoder), building)
    runtime.write_manifest(building)
    return chosen


def write_graph(folder: Path, chosen: Chosen, path: Path) -> None:
    """`path` is the graph of the chosen form: as the optimization made it, else exported now. Raises RefusedArtefact when it can not be."""
    from weighbridge import export, training

    if chosen.form.graph:
        write_bytes(path, (folder / chosen.form.graph).read_bytes())
        return
    network = training.Deployable(training.load_network(folder / "training"), chosen.encoder.learnt)
    export.export_onnx(network, chosen.encoder.blocks, path)


def _golden(folder: Path, encoder: Encoder, answer: Callable[[Arrays], np.ndarray], building: Path) -> None:
    """Write a few validation rows and what the judged model itself says about them: what a server warms up with."""
    from weighbridge import data, preprocessing, runtime

    table = data.open_data(folder / "data").validation
    batch = next(table.batches(GOLDEN_ROWS))
    columns = {name: batch.columns[name] for name in encoder.columns}
    outputs = answer(preprocessing.arrays_of(encoder, columns))
    types = {name: table.schema[name].type for name in columns}
    write_json(building / "golden.json", runtime.golden_json(columns, types, outputs))
