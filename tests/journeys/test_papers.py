"""Law: a run ends with a package that says what it promises, what it is made of and whose it is; who trusts another key is not served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from typer.testing import CliRunner

import weighbridge
from weighbridge import lifecycle
from weighbridge.cli.app import app
from weighbridge.deployment.signing import KeyPair, make_key, read_private_key, sign_package
from weighbridge.errors import PackageError, UsageError
from weighbridge.findings import Finding, by_key, read_findings
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.runtime.contract import read_contract
from weighbridge.storage import read_json, sha256_file

pytestmark = pytest.mark.slow

ROWS = 900
Run = tuple[Recipe, Path, KeyPair]


def recipe(place: Path, key: Path) -> Recipe:
    rng = np.random.default_rng(4)
    x, z, town = rng.normal(size=ROWS), rng.normal(size=ROWS), rng.choice(["Ulm", "Bonn", "Kiel"], ROWS)
    label = np.where(x + 0.7 * (town == "Ulm") + 0.5 * rng.normal(size=ROWS) > 0.2, "yes", "no")
    lines = [f"{'' if row % 30 == 0 else round(x[row], 4)},{z[row]:.4f},{town[row]},{label[row]}" for row in range(ROWS)]
    (place / "rows.csv").write_text("\n".join(["x,z,town,label", *lines]) + "\n", encoding="utf-8")
    training = {"epochs": 4, "batch_size": 64, "threads": 1, "precision": "fp32", "model": {"type": "linear"}}
    data = {"source": str(place / "rows.csv"), "target": "label"}
    rest: dict[str, Any] = {"evaluation": {"resamples": 200}, "audit": {"enabled": False}, "optimization": {"enabled": False}}
    return parse_recipe(
        {"name": "papers", "data": data, "training": training, "deployment": {"sign": {"key": str(key)}, "load": {"seconds": 6}}, **rest}
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("papers")
    pair = make_key(place / "maker")
    wanted = recipe(place, pair.private)
    lifecycle.run(wanted, place / "run")
    return wanted, place / "run", pair


def finding(folder: Path, name: str) -> Finding:
    found = by_key(read_findings(folder / "findings.jsonl"), f"deployment.{name}")
    assert found is not None
    return found


def test_the_package_is_signed_by_the_key_of_the_recipe(finished: Run, tmp_path: Path) -> None:
    _, folder, pair = finished
    package = folder / "deployment" / "package"
    assert str(weighbridge.load(package, trust=[pair.public]).info.signature) == f"signed by {pair.fingerprint}"
    with pytest.raises(PackageError, match="not trusted"):
        weighbridge.load(package, trust=[make_key(tmp_path / "other").public])
    assert finding(folder, "signature").value == "signed"


def test_the_contract_promises_what_evaluation_found_on_test_rows(finished: Run) -> None:
    _, folder, _ = finished
    contract = read_contract(folder / "deployment" / "package")
    assert contract is not None
    metrics = read_json(folder / "evaluation" / "metrics.json")["model"]
    assert {name: (one.value, list(one.interval or ()), one.n) for name, one in contract.metrics.items()} == {
        name: (one["value"], one["interval"] or [], one["n"]) for name, one in metrics.items()
    }
    assert contract.headline == "accuracy"
    test, held = contract.promise.n, contract.column("x").rows
    assert contract.predicted is not None
    assert contract.true is not None
    for mix in (contract.predicted, contract.true):
        assert sum(mix.counts.values()) + mix.other == test
    assert contract.output.n == test
    assert sum(one.n for one in contract.calibration) == test
    assert {one.name for one in contract.inputs} == {"x", "z", "town"}
    town, x = contract.column("town").values, contract.column("x")
    assert town is not None
    assert set(town.counts) == {"Ulm", "Bonn", "Kiel"}
    assert 0 < x.missing < held / 10
    assert x.traits["value"].n == held - x.missing
    assert contract.conformal is not None
    assert contract.conformal.rows == held
    stated = finding(folder, "contract")
    assert (stated.value, stated.interval, stated.n) == (contract.promise.value, contract.promise.interval, test)
    assert contract.price.latency_s.value == finding(folder, "latency").value


def test_the_load_is_measured_through_a_server_and_travels_in_the_contract(finished: Run) -> None:
    _, folder, _ = finished
    contract = read_contract(folder / "deployment" / "package")
    assert contract is not None
    assert contract.load is not None
    load = contract.load
    figures = {"rate": load.requests_per_s, "rows": load.rows_per_s, "p50": load.p50_s, "p99": load.p99_s}
    for name, figure in figures.items():
        found = finding(folder, f"load.{name}")
        assert (found.value, found.interval, found.n) == (figure.value, figure.interval, figure.n)
        assert figure.interval is not None
        assert 0 <= figure.interval[0] <= figure.value <= figure.interval[1]
        assert figure.n >= 20
        assert "shared the machine" in str(found.method)
    assert load.share == 0.8
    assert load.p50_s.value <= load.p99_s.value


def test_no_figure_of_the_contract_is_of_one_to_four_rows(finished: Run) -> None:
    def counts(value: Any, name: str = "") -> list[int]:
        if isinstance(value, dict):
            return [one for key, part in value.items() for one in counts(part, key)]
        if isinstance(value, list):
            return [one for part in value for one in counts(part, name)]
        return [value] if isinstance(value, int) and name not in ("cores", "format", "missing") else []

    found = counts(read_json(finished[1] / "deployment" / "package" / "contract.json"))
    assert len(found) > 40
    assert [count for count in found if 0 < count < 5] in ([], [finding(finished[1], "first_answer").n])


def test_the_bill_of_materials_is_accepted_by_the_official_schema(finished: Run) -> None:
    _, folder, _ = finished
    text = (folder / "deployment" / "package" / "sbom.cdx.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert len(bill["components"]) + 1 == finding(folder, "sbom").value
    recipe_hash = next(one for one in bill["components"] if one["name"] == "recipe.yaml")["hashes"][0]["content"]
    assert recipe_hash == read_json(folder / "run.json")["recipe_sha256"]


def test_the_size_is_that_of_the_package_as_it_stands(finished: Run) -> None:
    package = finished[1] / "deployment" / "package"
    assert finding(finished[1], "size").value == sum(path.stat().st_size for path in package.iterdir())


def test_another_signature_does_not_make_the_stage_run_again_and_deploying_again_gives_the_same_model(finished: Run) -> None:
    wanted, folder, pair = finished
    package = folder / "deployment" / "package"
    same = ("model.onnx", "package.json", "golden.json", "sbom.cdx.json")
    before = {name: sha256_file(package / name) for name in same}
    stamp = (package / "manifest.json").stat().st_mtime_ns
    other = make_key(folder.parent / "other")
    sign_package(package, read_private_key(other.private))
    lifecycle.run(wanted, folder)
    assert (package / "manifest.json").stat().st_mtime_ns == stamp
    assert weighbridge.load(package, trust=[other.public]).info.signature is not None
    lifecycle.run(wanted, folder, again=("deployment",))
    assert {name: sha256_file(package / name) for name in same} == before
    assert weighbridge.load(package, trust=[pair.public]).info.signature is not None


@pytest.mark.parametrize("key", ["missing.pem", "rows.csv"])
def test_a_key_that_can_not_sign_is_refused_before_anything_is_done(tmp_path: Path, key: str) -> None:
    wanted = recipe(tmp_path, tmp_path / key)
    (tmp_path / "rows.csv").chmod(0o600)
    with pytest.raises(UsageError, match=key):
        lifecycle.run(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def weigh(*words: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_commands_make_a_key_sign_and_answer_for_who_trusts_it(finished: Run, tmp_path: Path) -> None:
    import shutil

    _, folder, pair = finished
    package = shutil.copytree(folder / "deployment" / "package", tmp_path / "package")
    (package / "signature.json").unlink()
    (tmp_path / "new.csv").write_text("x,z,town\n2,0,Ulm\n-2,0,Kiel\n", encoding="utf-8")
    rows = tmp_path / "new.csv"
    assert "signed by" not in weigh("predict", package, rows)
    assert "is not signed" in weigh("predict", package, rows, "--trust", pair.public, code=2)
    shown = weigh("deploy", "key", tmp_path / "mine")
    assert "mine.private.pem" in shown
    assert "is signed by" in weigh("deploy", "sign", package, "--key", tmp_path / "mine.private.pem")
    assert "not on a trust list" in weigh("predict", package, rows)
    assert "not on a trust list" not in weigh("predict", package, rows, "--trust", pair.public, "--trust", tmp_path / "mine.public.pem")
    assert "not trusted here" in weigh("predict", package, rows, "--trust", pair.public, code=2)
    assert "private key" in weigh("predict", package, rows, "--trust", tmp_path / "mine.private.pem", code=2)
    assert "exists" in weigh("deploy", "key", tmp_path / "mine", code=2)
