"""What a device target is made of, and the package that it becomes: the run's own, with another graph and its own golden answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import FormError
from weighbridge.runtime.package import GRAPH, PROGRAM
from weighbridge.storage import read_json, remove, sha256_file, write_bytes, write_json

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.deployment.edge_cost import Memory
    from weighbridge.evaluation.adjustment import Adjustment
    from weighbridge.export import Parity
    from weighbridge.optimization import Chosen
    from weighbridge.preprocessing import Arrays
    from weighbridge.recipe import Recipe
    from weighbridge.training import Deployable

IN_INT8 = ("executorch_int8", "onnx_int8")
FILES = {"executorch": PROGRAM, "executorch_int8": PROGRAM, "onnx_int8": GRAPH}
PARITY_ROWS = 1000
KEPT = ("card.md",)  # of the run's package: what is as true of its other graphs


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the targets of a run are made of.

    Attributes:
        package: the folder of the run's package.
        network: that from which the packaged form was made, in full precision with its adjustment; None for baselines and averages.
        plain: it without the adjustment.
        rows: training rows that set the ranges of integers.
    """

    package: Path
    chosen: Chosen
    network: nn.Module | None
    plain: Deployable | None
    adjustment: Adjustment | None
    rows: Arrays


@dataclass(frozen=True, kw_only=True)
class Built:
    """A target's package, what a fresh process holds to answer it, and how far its answers are from the network's.

    `parity` is None where there is no network.
    """

    target: str
    folder: Path
    memory: Memory
    parity: Parity | None

    @property
    def graph(self) -> Path:
        return self.folder / FILES[self.target]


def source_of(recipe: Recipe, folder: Path) -> Source:
    """Return what targets are made of. Raises FormError where a step of the packaged form can be written into no other graph."""
    from weighbridge import optimization, preprocessing, training
    from weighbridge.optimization.contest import calibration_rows

    chosen = optimization.read_chosen(folder)
    adjustment = _adjustment(folder, chosen)
    plain = None
    if chosen.form.network:
        plain = training.Deployable(training.load_network(folder / chosen.form.network), chosen.encoder.learnt).eval()
    rows = calibration_rows(recipe, preprocessing.open_arrays(folder / chosen.form.arrays / "train"))
    return Source(
        package=folder / "deployment" / "package", chosen=chosen, network=_adjusted(plain, adjustment), plain=plain, adjustment=adjustment,
        rows=rows,
    )  # fmt: skip


def build(source: Source, target: str, building: Path, validation: Arrays, tolerance: float) -> Built:
    """`building` is a whole package of the target; returns it with its parity on validation rows.

    Raises FormError, RefusedArtefact for a graph that can not be made or does not answer in a fresh process, DependencyError, PackageError.
    """
    from weighbridge.deployment.edge_cost import memory_of

    make_graph(source, target, building / FILES[target])
    _fill(source, target, building)
    memory = memory_of(building, FILES[target])
    parity = _parity(source, building, validation.subset(slice(PARITY_ROWS)), tolerance)
    return Built(target=target, folder=building, memory=memory, parity=parity)


def make_graph(source: Source, target: str, path: Path) -> None:
    """`path` is the target's graph. Raises FormError, RefusedArtefact, DependencyError, PackageError."""
    from weighbridge.export.executorch import export_executorch, export_executorch_int8

    blocks = source.chosen.encoder.blocks
    if target == "onnx_int8":
        _onnx_int8(source, path)
        return
    if source.network is None:
        name = source.chosen.form.name
        if source.plain is not None:
            raise FormError(f"{name} ends with an adjustment that is written for ONNX only", do="take onnx_int8, or adjust by temperature")
        raise FormError(f"{name} is no single network, and ExecuTorch is given networks", do="take onnx_int8, or the package itself")
    if target == "executorch_int8":
        export_executorch_int8(source.network, blocks, path, source.rows)
    else:
        export_executorch(source.network, blocks, path)


def _onnx_int8(source: Source, path: Path) -> None:
    """`path` is the network in int8 as the optimization makes that form, or the package's own graph in int8 where there is no network."""
    from weighbridge.export.adjust import adjust
    from weighbridge.export.onnx import export_onnx
    from weighbridge.export.quantize import int8_static

    if source.plain is None:
        int8_static(source.package / GRAPH, path, source.rows)
        return
    exported = path.with_name("network.onnx")
    export_onnx(source.plain, source.chosen.encoder.blocks, exported)
    int8_static(exported, path, source.rows)
    remove(exported)
    if source.adjustment is not None:
        adjust(path, path, source.adjustment)


def _fill(source: Source, target: str, building: Path) -> None:
    """The folder is a package around its graph; its golden answers are those that the graph gives here."""
    from weighbridge.deployment.edge import load
    from weighbridge.runtime import GOLDEN_TOLERANCE, to_columns, write_manifest
    from weighbridge.stages.packaged import INT8_TOLERANCE

    content = read_json(source.package / "package.json")
    content |= {
        "name": f"{content['name']}-{target}",
        "form": f"{source.chosen.form.name}+{target}",
        "golden_tolerance": INT8_TOLERANCE if target in IN_INT8 else GOLDEN_TOLERANCE,
        "model_sha256": sha256_file(building / FILES[target]),
        "metric": {"model": {}},  # that of the package is of another graph; `write_judged` puts in its own
        "made_from": content["model_sha256"],
    }
    write_json(building / "package.json", content)
    for name in KEPT:
        if (source.package / name).exists():
            write_bytes(building / name, (source.package / name).read_bytes())
    golden = read_json(source.package / "golden.json")
    write_json(building / "golden.json", golden)
    write_manifest(building)
    model = load(building)
    columns, count, _ = to_columns(golden["columns"], model.inputs)
    write_json(building / "golden.json", golden | {"outputs": model.outputs(columns, count).tolist()})
    write_manifest(building)


def finish(recipe: Recipe, building: Path, judged: dict[str, Any]) -> None:
    """The target's package says what it was measured to do beside the package, has its own bill of materials, and is signed as that is.

    It holds no contract: that is about the answers of the package. Raises UsageError for a key that can not sign, DependencyError.
    """
    from weighbridge import runtime
    from weighbridge.deployment.sbom import write_sbom
    from weighbridge.deployment.signing import read_private_key, sign_package

    write_json(building / "package.json", read_json(building / "package.json") | {"metric": judged})
    write_sbom(building)
    runtime.write_manifest(building)
    if recipe.deployment.sign.key is not None:
        sign_package(building, read_private_key(Path(recipe.deployment.sign.key)))


def _parity(source: Source, building: Path, arrays: Arrays, tolerance: float) -> Parity | None:
    from weighbridge import export, training
    from weighbridge.deployment.edge import load

    if source.network is None:
        return None
    expected = training.forward_all(source.network, arrays)
    found = load(building).answer_encoded(arrays)
    return export.parity_of(found, expected, scale=source.chosen.encoder.learnt.std, tolerance=tolerance)


def _adjustment(folder: Path, chosen: Chosen) -> Adjustment | None:
    """Return what the packaged form does to probabilities behind its network, None where it does nothing."""
    from weighbridge.evaluation.adjustment import Adjustment
    from weighbridge.optimization.contest import graph_about

    if not chosen.form.graph:
        return None
    about = graph_about(folder / chosen.form.graph)
    return Adjustment.from_json(about["adjustment"]) if "adjustment" in about else None


def _adjusted(network: nn.Module | None, adjustment: Adjustment | None) -> nn.Module | None:
    """Return the network with its adjustment; None where there is no network, or a step that torch has no form of here."""
    from weighbridge.evaluation.adjustment import Temperature

    if network is None or adjustment is None:
        return network
    from weighbridge.export.executorch import Colder

    if len(adjustment.steps) != 1 or not isinstance(step := adjustment.steps[0], Temperature):
        return None
    return Colder(network, step.value, adjustment.kind)
