"""The bill of materials of a package: CycloneDX 1.6 JSON (ECMA-424) with a model card, in sbom.cdx.json.

It states the model with its hashes, what it was measured to do, the data and the recipe that it was made from, the libraries that answer
with it and those that made it, each with version, licence and package URL. Same package, same bill: it holds no time, and its serial number
comes from its content.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weighbridge.deployment.libraries import ANSWERS, ANSWERS_PROGRAM, Library, answering, library
from weighbridge.findings import Finding, Message
from weighbridge.runtime.package import GRAPH, PROGRAM
from weighbridge.storage import read_json, sha256_file, sha256_json, write_json

FILE = "sbom.cdx.json"
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "sbom.weighbridge")
TASKS = {"category": "classification", "number": "regression", "set": "multi-label classification"}
Json = dict[str, Any]


def write_sbom(building: Path) -> int:
    """The package that is being built holds its bill of materials; returns how many components it states. Raises DependencyError."""
    about = read_json(building / "package.json")
    graph = next(name for name in (GRAPH, PROGRAM) if (building / name).exists())
    needed = answering({one["type"] for one in about["inputs"]}, ANSWERS if graph == GRAPH else ANSWERS_PROGRAM)
    named = {one.name for one in needed}
    makers = [library(name) for name in sorted(about["versions"]) if name != "python" and name not in named]
    files = {name: sha256_file(building / name) for name in (graph, "package.json")}
    bill = bill_of(about, files=files, needed=needed, makers=makers)
    write_json(building / FILE, bill)
    return 1 + len(bill["components"])


def bill_of(about: Mapping[str, Any], *, files: Mapping[str, str], needed: Sequence[Library], makers: Sequence[Library]) -> Json:
    """Return the bill of a package: `about` is package.json, `files` the SHA-256 of its files, `needed` is installed where it answers."""
    model = _model(about, files)
    components = [
        _data(about),
        _recipe(about),
        *(_file(name, digest) for name, digest in sorted(files.items())),
        *(_library(one, "required") for one in needed),
        *(_library(one, "excluded") for one in makers),
    ]
    own = next(one for one in needed if one.name == "weighbridge")
    bill = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": own.name, "version": own.version, "purl": own.purl}]},
            "component": model,
        },
        "components": components,
        "dependencies": _dependencies(model["bom-ref"], files, needed),
    }
    return {**bill, "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, sha256_json(bill))}"}


def sbom_finding(components: int, command: str) -> Finding:
    """Return how many components the package's bill of materials states."""
    return Finding(
        key="deployment.sbom",
        title=Message("Components in the bill of materials"),
        value=components,
        method=Message("CycloneDX 1.6: model, data, recipe, and each library that answers with or made the package, by exact version"),
        source="ECMA-424",
        command=f"{command} --only sbom",
    )


def _model(about: Mapping[str, Any], files: Mapping[str, str]) -> Json:
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{about['model_sha256']}",
        "name": about["name"],
        "version": about["model_sha256"][:12],
        "hashes": [_sha256(next(files[name] for name in (GRAPH, PROGRAM) if name in files))],
        "modelCard": _card(about),
        "properties": [_property("model_sha256", about["model_sha256"]), _property("form", str(about.get("form", "")))],
    }


def _card(about: Mapping[str, Any]) -> Json:
    """Return what the model is for and how well it does on its test rows."""
    classes = ", ".join(about["classes"])
    answer = f"{about['output']} of {classes}" if classes else about["output"]
    measured = about.get("metric", {}).get("model", {})
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": TASKS[about["kind"]],
            "datasets": [{"ref": _data_ref(about)}],
            "inputs": [{"format": f"{one['name']}: {one['type']}"} for one in about["inputs"]],
            "outputs": [{"format": f"{about.get('target', 'target')}: {answer}"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_metric(name, one) for name, one in sorted(measured.items())]},
    }


def _metric(name: str, one: Mapping[str, Any]) -> Json:
    stated: Json = {"type": name, "value": repr(one["value"]), "slice": f"test split, n = {one['n']}"}
    if one.get("interval"):
        low, high = one["interval"]
        stated["confidenceInterval"] = {"lowerBound": repr(low), "upperBound": repr(high)}
    return stated


def _data(about: Mapping[str, Any]) -> Json:
    return {
        "type": "data",
        "bom-ref": _data_ref(about),
        "name": f"data of {about['name']}",
        "description": "the rows of the training, validation and test split; the SHA-256 is that over the three files' own",
        "hashes": [_sha256(about["data_sha256"])],
        "data": [{"type": "dataset", "name": f"data of {about['name']}"}],
    }


def _recipe(about: Mapping[str, Any]) -> Json:
    return {
        "type": "file",
        "bom-ref": f"recipe:{about['recipe_sha256']}",
        "name": "recipe.yaml",
        "description": "the resolved recipe that the model was made by",
        "hashes": [_sha256(about["recipe_sha256"])],
    }


def _file(name: str, digest: str) -> Json:
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": [_sha256(digest)]}


def _library(one: Library, scope: str) -> Json:
    """Return a library; `excluded` is CycloneDX's word for what took part in the making and is not needed to run."""
    stated: Json = {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "purl": one.purl,
        "scope": scope,
        "properties": [_property("use", "answers" if scope == "required" else "made the model")],
    }
    if one.licence:
        stated["licenses"] = [{"expression": one.licence}] if one.spdx else [{"license": {"name": one.licence}}]
    return stated


def _dependencies(model: str, files: Mapping[str, str], needed: Sequence[Library]) -> list[Json]:
    known = {one.name: one.purl for one in needed}
    graph = [{"ref": model, "dependsOn": [*(f"file:{name}" for name in sorted(files)), known["weighbridge"]]}]
    return graph + [{"ref": one.purl, "dependsOn": [known[name] for name in one.needs if name in known]} for one in needed]


def _data_ref(about: Mapping[str, Any]) -> str:
    return f"data:{about['data_sha256']}"


def _sha256(digest: str) -> Json:
    return {"alg": "SHA-256", "content": digest}


def _property(name: str, value: str) -> Json:
    return {"name": f"weighbridge:{name}", "value": value}
