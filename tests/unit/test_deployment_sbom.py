"""Law: a package has a bill of materials that the official schema accepts, that names what really answers, and that is the same again."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.unit.runtime_packages import make_package
from weighbridge.deployment.libraries import Library, answering, library, licence_of, needs_of
from weighbridge.deployment.sbom import FILE, bill_of, write_sbom
from weighbridge.errors import DependencyError
from weighbridge.runtime import verify, write_manifest
from weighbridge.storage import read_json, sha256_file, write_json

METRIC = {"model": {"accuracy": {"value": 0.9, "interval": [0.85, 0.94], "n": 200}, "log_loss": {"value": 0.3, "interval": None, "n": 200}}}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with a number, categories, a set, a date and pictures, as the deployment stage describes one."""
    folder = tmp_path_factory.mktemp("sbom") / "tiny"
    make_package(folder)
    about = read_json(folder / "package.json")
    made = {name: metadata.version(name) for name in ("torch", "scikit-learn", "numpy")}
    more = {
        "recipe_sha256": "a" * 64,
        "data_sha256": "b" * 64,
        "metric": METRIC,
        "target": "label",
        "versions": {"python": "3.12.1", **made},
    }
    write_json(folder / "package.json", {**about, **more})
    write_sbom(folder)
    write_manifest(folder)
    return folder


def components(bill: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in bill["components"]}


def schema_error(bill: dict[str, Any]) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))


def test_the_official_schema_accepts_it(package: Path) -> None:
    assert schema_error(read_json(package / FILE)) is None


@pytest.mark.parametrize(
    "change", [{"bomFormat": "SPDX"}, {"serialNumber": "urn:uuid:x"}, {"further": 1}, {"components": [{"name": "x"}]}], ids=str
)
def test_the_official_schema_refuses_a_planted_fault(package: Path, change: dict[str, Any]) -> None:
    assert schema_error({**read_json(package / FILE), **change}) is not None


def test_the_model_has_its_hashes_task_columns_and_measured_figures(package: Path) -> None:
    bill, about = read_json(package / FILE), read_json(package / "package.json")
    model = bill["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256_file(package / "model.onnx")}]
    assert model["bom-ref"] == f"model:{about['model_sha256']}"
    card = model["modelCard"]
    assert card["modelParameters"]["task"] == "classification"
    assert [one["format"] for one in card["modelParameters"]["inputs"]] == [f"{one['name']}: {one['type']}" for one in about["inputs"]]
    accuracy = next(one for one in card["quantitativeAnalysis"]["performanceMetrics"] if one["type"] == "accuracy")
    bounds = {"lowerBound": "0.85", "upperBound": "0.94"}
    assert accuracy == {"type": "accuracy", "value": "0.9", "slice": "test split, n = 200", "confidenceInterval": bounds}
    assert {one["type"]: one["hashes"][0]["content"] for one in bill["components"] if one["name"] in ("data of tiny", "recipe.yaml")} == {
        "data": "b" * 64,
        "file": "a" * 64,
    }


def test_it_is_part_of_the_package_and_the_same_again(package: Path) -> None:
    content = (package / FILE).read_bytes()
    write_sbom(package)
    assert (package / FILE).read_bytes() == content
    verify(package)
    assert "timestamp" not in content.decode()


def test_another_model_has_another_serial_number(package: Path) -> None:
    about = read_json(package / "package.json")
    files, needed = {"model.onnx": "c" * 64, "package.json": "d" * 64}, answering([])
    serials = {
        bill_of({**about, **change}, files=files, needed=needed, makers=[])["serialNumber"] for change in ({}, {}, {"name": "other"})
    }
    assert len(serials) == 2


LOADED = """
import json, sys
from importlib import metadata
before = set(sys.modules)  # what the environment itself loads at each start
import weighbridge
weighbridge.load(sys.argv[1]).check_golden()
owners = metadata.packages_distributions()
names = {name.partition(".")[0] for name, module in sys.modules.items() if name not in before}
print(json.dumps(sorted({owner for name in names for owner in owners.get(name, ())})))
"""


def test_what_a_fresh_process_answers_with_is_all_in_it_by_exact_version(package: Path) -> None:
    shown = subprocess.run([sys.executable, "-c", LOADED, str(package)], capture_output=True, text=True, check=True).stdout
    loaded = {name.lower().replace("_", "-") for name in json.loads(shown)}
    stated = components(read_json(package / FILE))
    assert {"numpy", "onnxruntime", "pillow"} <= set(stated)
    assert loaded - set(stated) == set()
    assert all(stated[name]["version"] == metadata.version(name) and stated[name]["scope"] == "required" for name in loaded)
    assert stated["torch"]["scope"] == "excluded"
    assert stated["torch"]["purl"] == f"pkg:pypi/torch@{metadata.version('torch').replace('+', '%2B')}"


def test_libraries_that_no_column_needs_are_not_named() -> None:
    assert {"pillow", "tokenizers"} & {one.name for one in answering(["number", "date"])} == set()
    assert {"tokenizers", "huggingface-hub"} <= {one.name for one in answering(["text", "number"])}
    assert {one.name for one in answering(["image"])} - {one.name for one in answering([])} == {"pillow"}


def test_the_graph_of_dependencies_names_components_only(package: Path) -> None:
    bill = read_json(package / FILE)
    known = {bill["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in bill["components"])}
    assert len(known) == len(bill["components"]) + 1
    assert {ref for one in bill["dependencies"] for ref in (one["ref"], *one["dependsOn"])} <= known


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        (("Apache-2.0 OR BSD-3-Clause", "MIT", []), ("Apache-2.0 OR BSD-3-Clause", True)), (("", "MIT License", []), ("MIT", True)),
        (("", "", ["License :: OSI Approved :: Apache Software License"]), ("Apache-2.0", True)),
        (("", "Copyright (c) 2001\nAll rights", ["License :: OSI Approved :: BSD License"]), ("BSD License", False)),
        (("", "as is", ["Programming Language :: C"]), ("as is", False)), (("", "x" * 5000, []), ("", False)), (("", "", []), ("", False)),
    ],
)  # fmt: skip
def test_a_licence_is_read_from_the_fields_that_libraries_fill(fields: tuple[str, str, list[str]], licence: tuple[str, bool]) -> None:
    assert licence_of(*fields) == licence


def test_extras_and_other_platforms_are_not_needed() -> None:
    lines = ["Numpy.Two>=1", "x; extra == 'dev'", "y; python_version < '3.0'", "z_z ; python_version > '3.0'"]
    assert needs_of(lines) == ("numpy-two", "z-z")


def test_a_library_that_is_not_installed_is_one_line() -> None:
    with pytest.raises(DependencyError, match="pip install no-such-library"):
        library("no-such-library")
    assert Library(name="a", version="1+cpu").purl == "pkg:pypi/a@1%2Bcpu"
