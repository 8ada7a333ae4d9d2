"""Making contract.json: what evaluation found on test rows, the inputs as validation rows have them, and the price measured just now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.deployment.embedding import embedding_of
from weighbridge.deployment.sketches import sketches
from weighbridge.findings import Finding, Message, by_key
from weighbridge.runtime.contract import FEWEST, FILE, ROW_F1, Bin, Conformal, Contract, Load, Measured, Price
from weighbridge.runtime.histograms import frequencies, histogram
from weighbridge.storage import read_json, write_json

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions

LEVEL = 0.95
PRICES = {"latency_s": "latency", "rows_per_s": "speed", "first_answer_s": "first_answer"}


def write_contract(folder: Path, building: Path, price: Sequence[Finding], load: Load | None = None) -> Contract:
    """The package that is being built holds what is promised of it; returns that.

    Args: price: the findings deployment.latency, .speed and .first_answer of this package; load: None where it was not measured.
    """
    from weighbridge import data, evaluation, preprocessing
    from weighbridge.stages.describe import machine

    about = read_json(building / "package.json")
    encoder = preprocessing.Encoder.from_json(about["encoder"])
    splits = data.open_data(folder / "data")
    test, validation = (evaluation.read_predictions(folder / "evaluation" / f"{split}.parquet") for split in ("test", "validation"))
    contract = Contract(
        kind=about["kind"],
        classes=tuple(about["classes"]),
        model_sha256=about["model_sha256"],
        recipe_sha256=about["recipe_sha256"],
        data_sha256=about["data_sha256"],
        headline=evaluation.HEADLINES[test.kind].name,
        metrics={name: _measured(one) for name, one in about["metric"]["model"].items()} | row_metrics(test),
        **_of_predictions(test, validation),
        inputs=sketches(encoder, splits.train, splits.validation),
        embedding=embedding_of(building / "model.onnx", encoder, splits.train, splits.validation),
        price=Price(**{name: _price(price, key) for name, key in PRICES.items()}, machine=machine()),
        load=load,
    )
    write_json(building / FILE, contract.to_json())
    return contract


def contract_finding(contract: Contract, command: str) -> Finding:
    """Return what is promised, in a sentence."""
    promise = contract.promise
    about: dict[str, Any] = {"metric": contract.headline, "rows": promise.n, "columns": len(contract.inputs)}
    reason = Message(
        "{metric}, class mix, calibration and answers of {rows} test rows, and {columns} input columns as held-out rows have them, travel "
        "in the package with its price and load",
        **about,
    )
    if contract.load is None:
        reason = Message(
            "{metric}, class mix, calibration and answers of {rows} test rows, and {columns} input columns as held-out rows have them, "
            "travel in the package; load is not measured",
            **about,
        )
    return Finding(
        key="deployment.contract",
        title=Message("What the package promises in service"),
        value=promise.value,
        interval=promise.interval,
        n=promise.n,
        unit="" if contract.headline == "rmse" else "share",
        reason=reason,
        method=Message("outputs from test rows, inputs from validation rows; no count of less than {fewest} rows is kept", fewest=FEWEST),
        command=f"{command} --only contract",
    )


def _of_predictions(test: Predictions, validation: Predictions) -> dict[str, Any]:
    """Return what the contract says of outputs. Edges are laid by validation rows, test rows are counted."""
    from weighbridge.evaluation.promises import class_mix, conformal_limit, stated_output

    mix: dict[str, Any] = {}
    if test.kind != "number":
        answered, true = class_mix(test)
        mix = {
            "predicted": frequencies(answered),
            "true": frequencies(true),
            "calibration": reliability_curve(test),
        }
    fitted = conformal_limit(validation)
    return {
        **mix,
        "output": histogram(stated_output(validation), stated_output(test)),
        "target": histogram(validation.target, test.target) if test.kind == "number" else None,
        "conformal": None if fitted is None else Conformal(level=fitted[0], limit=fitted[1], rows=len(validation)),
    }


def row_metrics(test: Predictions) -> dict[str, Measured]:
    """Return what labels of sets are held to in service, where one row comes after the other: the mean of the rows' F1."""
    if test.kind != "set":
        return {}
    from weighbridge.evaluation.measure import resampling_of
    from weighbridge.evaluation.results import row_f1_result

    return {ROW_F1: _measured(row_f1_result(test, resampling_of(2000, 0)).to_json())}


def reliability_curve(rows: Predictions) -> tuple[Bin, ...]:
    """Return the bins of at least 5 rows; none where only the chosen class is known."""
    from weighbridge.evaluation.calibration import reliability

    curve: Any = [] if rows.hard else reliability(rows, LEVEL)["curve"]
    return tuple(_bin(one) for one in curve if one["n"] >= FEWEST)


def _bin(one: Mapping[str, Any]) -> Bin:
    return Bin(stated=one["confidence"], seen=one["accuracy"], interval=(one["low"], one["high"]), n=one["n"])


def _measured(one: Mapping[str, Any]) -> Measured:
    return Measured(value=one["value"], interval=tuple(one["interval"]) if one["interval"] else None, n=one["n"])


def _price(findings: Sequence[Finding], name: str) -> Measured:
    finding = by_key(findings, f"deployment.{name}")
    if finding is None or not isinstance(finding.value, float) or finding.n is None:
        raise ValueError(f"deployment.{name} was not measured")
    return Measured(value=finding.value, interval=finding.interval, n=finding.n)
