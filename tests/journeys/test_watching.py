"""Law: the watch over a real model's log names the column that broke, counts each label once, and a repeated look changes nothing."""

from __future__ import annotations

import base64
import datetime
import io
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from weighbridge import lifecycle
from weighbridge.cli.feedback import app
from weighbridge.data import open_data
from weighbridge.feedback.diagnose import diagnose
from weighbridge.feedback.expected import status_findings
from weighbridge.feedback.log import Log
from weighbridge.feedback.looking import Watch, kept_rows, look, quality_bound, row_bins
from weighbridge.feedback.registry import Registry
from weighbridge.feedback.status_table import print_status
from weighbridge.feedback.weak_slices import weak_slices
from weighbridge.findings import Finding, by_key
from weighbridge.recipe import parse_recipe
from weighbridge.runtime import Model
from weighbridge.runtime.contract import Contract, read_contract

pytestmark = pytest.mark.slow
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
ROWS = 1500


def people(random: np.random.Generator, n: int, *, unit: float = 1.0) -> tuple[list[dict[str, Any]], list[str]]:
    """Return rows of height (missing in some), weight and town, and their labels."""
    height, weight, town = random.normal(170, 8, n), random.normal(70, 9, n), random.choice(["Ulm", "Bonn", "Kiel"], n)
    score = (height - 170) / 8 + 0.7 * (weight - 70) / 9 + 0.8 * (town == "Ulm") + 0.5 * random.normal(size=n)
    rows = [
        {"height": None if random.random() < 0.03 else round(float(unit * height[row]), 2), "weight": round(float(weight[row]), 2),
         "town": str(town[row])}
        for row in range(n)
    ]  # fmt: skip
    return rows, np.where(score > 0.2, "yes", "no").tolist()


@dataclass(frozen=True, kw_only=True)
class Made:
    model: Model
    contract: Contract


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("watching")
    rows, labels = people(np.random.default_rng(4), ROWS)
    lines = [
        f"{'' if one['height'] is None else one['height']},{one['weight']},{one['town']},{label}"
        for one, label in zip(rows, labels, strict=True)
    ]
    (place / "rows.csv").write_text("\n".join(["height,weight,town,label", *lines]) + "\n", encoding="utf-8")
    training = {"epochs": 6, "batch_size": 64, "threads": 1, "precision": "fp32", "model": {"type": "linear"}}
    data = {"source": str(place / "rows.csv"), "target": "label"}
    rest: dict[str, Any] = {"evaluation": {"resamples": 200}, "audit": {"enabled": False}, "optimization": {"enabled": False}}
    lifecycle.run(parse_recipe({"name": "watching", "data": data, "training": training, **rest}), place / "run")
    contract = read_contract(place / "run" / "deployment" / "package")
    assert contract is not None
    return Made(model=Model.load(place / "run" / "deployment" / "package"), contract=contract)


def serve(log: Log, model: Model, rows: list[dict[str, Any]], first: int) -> None:
    """The model answers, a worker writes it down, and the log takes it."""
    output = model.predict(rows).probabilities
    assert output is not None
    journal = log.journal()
    journal.describe(model=model.hash, package="people", kind="category", classes=model.classes)
    journal.append(
        {"id": f"r{first + place}", "time": (START + datetime.timedelta(seconds=first + place)).isoformat(), "package": "people",
         "model": model.hash, "key": "k1", "latency_s": 0.001, "inputs": row, "output": output[place].tolist()}
        for place, row in enumerate(rows)
    )  # fmt: skip
    journal.close()
    log.ingest()


def label(log: Log, labels: Iterable[str], first: int, who: str = "nurse") -> None:
    log.accept([{"id": f"r{first + place}", "label": one} for place, one in enumerate(labels)], who)


def status(log: Log, made: Made, watch: Watch, newest: int) -> list[Finding]:
    window = log.window(newest=newest, model=made.model.hash)
    kept = kept_rows(log, made.model, window)
    assert len(kept.places) == len(window)
    return status_findings(made.contract, watch, window, row_bins(log, made.contract, made.model, window), kept.columns)


def test_a_quiet_week_then_heights_in_inches(made: Made, tmp_path: Path) -> None:
    log, random = Log.open(tmp_path / "state"), np.random.default_rng(8)
    watch = Watch.start(made.contract)
    for first in range(0, 1000, 250):
        rows, labels = people(random, 250)
        serve(log, made.model, rows, first)
        label(log, labels, first)
        watch = look(log, made.contract, made.model, watch)
        watch.save(tmp_path / "watch.json")
        read = Watch.read(tmp_path / "watch.json", made.contract)
        assert read is not None
        assert read.mean == watch.mean
        watch = read
    assert not watch.alarm
    assert watch.drift.rows == watch.mean.n == 1000
    assert (watch.answers, watch.labels) == (1000, 1000)
    quality = by_key(status(log, made, watch, 500), "feedback.quality")
    assert quality is not None
    assert quality.interval is not None
    assert quality.verdict != "limitation"

    rows, labels = people(random, 400, unit=1 / 2.54)
    serve(log, made.model, rows, 1000)
    moved = look(log, made.contract, made.model, watch)
    assert "height" in {one.column for one in moved.drift.moved()}
    assert not {"weight", "town"} & {one.column for one in moved.drift.moved()}
    found = status(log, made, moved, 400)
    told = by_key(found, "feedback.input.height")
    assert told is not None
    assert told.verdict == "limitation"
    assert "cm -> inch" in str(told.reason)
    assert str(told.reason).startswith("the input is broken")
    estimate = by_key(found, "feedback.estimate")
    assert estimate is not None
    assert estimate.interval is not None
    assert estimate.interval[1] - estimate.interval[0] > 0.5  # heights of 67 are unlike any that evaluation saw
    label(log, labels, 1000)
    fallen = look(log, made.contract, made.model, moved)
    quality = by_key(status(log, made, fallen, 400), "feedback.quality")
    assert quality is not None
    assert quality.verdict == "limitation"
    again = fallen.restarted(made.contract)
    assert not again.alarm
    assert (again.answers, again.labels) == (1400, 1400)
    for language in ("en", "zh"):
        out = io.StringIO()
        print_status(found, Console(file=out, width=160), language)  # type: ignore[arg-type]
        assert "height" in out.getvalue()
        assert ("期望" if language == "zh" else "Expected") in out.getvalue()


def test_looks_of_any_size_and_labels_that_come_first_give_one_state(made: Made, tmp_path: Path) -> None:
    rows, labels = people(np.random.default_rng(9), 300)
    log = Log.open(tmp_path / "state")
    label(log, labels[:50], 0)  # before their answers
    serve(log, made.model, rows[:100], 0)
    watch = look(log, made.contract, made.model, Watch.start(made.contract))
    watch = look(log, made.contract, made.model, watch)  # nothing new
    label(log, labels[50:], 50)  # of answers that are there, and of later ones
    label(log, labels[:20], 0)  # twice
    watch = look(log, made.contract, made.model, watch)
    serve(log, made.model, rows[100:], 100)
    watch = look(log, made.contract, made.model, watch)
    whole = look(log, made.contract, made.model, Watch.start(made.contract))
    assert watch.drift.rows == watch.mean.n == whole.mean.n == 300
    assert watch.pending == ()
    assert np.array_equal(watch.drift.log_tables, whole.drift.log_tables)
    assert np.array_equal(watch.drift.since, whole.drift.since)
    assert (watch.mean, watch.fall, watch.gap) == (whole.mean, whole.fall, whole.gap)


def test_labels_of_a_key_in_quarantine_leave_the_quality(made: Made, tmp_path: Path) -> None:
    rows, labels = people(np.random.default_rng(10), 200)
    log = Log.open(tmp_path / "state")
    serve(log, made.model, rows, 0)
    label(log, labels[:100], 0)
    label(log, ["no" if one == "yes" else "yes" for one in labels[100:]], 100, who="liar")
    watch = look(log, made.contract, made.model, Watch.start(made.contract))
    assert watch.mean.n == 200
    log.shut_out("liar", "it lies")
    honest = look(log, made.contract, made.model, watch)
    assert honest.mean.n == 100
    assert honest.mean.value is not None
    assert watch.mean.value is not None
    assert honest.mean.value > watch.mean.value + 0.2


def test_the_bound_of_the_promise_counts_its_own_error(made: Made) -> None:
    bound, promise = quality_bound(made.contract), made.contract.promise
    assert promise.interval is not None
    assert bound == promise.interval[0] < promise.value
    assert quality_bound(replace(made.contract, headline="log_loss")) is None


def test_the_slice_that_fell_is_found_among_labelled_answers(made: Made, tmp_path: Path) -> None:
    rows, labels = people(np.random.default_rng(11), 1200)
    wrong = [{"yes": "no", "no": "yes"}[one] if row["town"] == "Kiel" else one for row, one in zip(rows, labels, strict=True)]
    log = Log.open(tmp_path / "state")
    serve(log, made.model, rows, 0)
    label(log, wrong, 0)
    window = log.window(model=made.model.hash)
    found = weak_slices(window, kept_rows(log, made.model, window).columns, made.model.encoder.features)
    assert found.slices[0].where == ("town = Kiel",)
    assert found.slices[0].gap_interval[0] > 0.3
    watch = look(log, made.contract, made.model, Watch.start(made.contract))
    told = status_findings(made.contract, watch, window, row_bins(log, made.contract, made.model, window), slices=found)
    for key in ("feedback.slice.1", "feedback.calibration"):  # so many wrong labels are not what was stated
        one = by_key(told, key)
        assert one is not None
        assert one.verdict == "limitation"


def test_a_column_that_only_shifted_is_a_changed_world(made: Made) -> None:
    sketch = made.contract.column("weight")
    found = diagnose(sketch, np.random.default_rng(1).normal(75, 9, 400))
    assert not found.broken
    assert found.cause == "world"


def test_the_command_puts_expected_beside_actual(made: Made, tmp_path: Path) -> None:
    state, package, random = tmp_path / "state", made.model.info.folder, np.random.default_rng(12)
    log = Log.open(state)
    rows, labels = people(random, 300, unit=1 / 2.54)
    serve(log, made.model, rows, 0)
    label(log, labels, 0)
    log.close()
    assert "give --package PACKAGE" in status_of(state)
    for language, words in (("en", ("Expected", "Actual", "Quality in service", "cm -> inch")), ("zh", ("期望", "实际", "cm -> inch"))):
        shown = status_of(state, "--package", package, "--language", language)
        assert "people" in shown
        assert all(one in shown for one in words), shown
    told = json.loads(status_of(state, "--package", package, "--json"))
    assert told["answers"] == 300
    quality = next(one for one in told["expected"]["people"] if one["key"] == "feedback.quality")
    assert quality["n"] == 300
    assert "at release" in quality["against"]
    other = shutil.copytree(package, tmp_path / "other")
    (other / "README.md").write_text("changed\n", encoding="utf-8")
    assert "weigh:" in status_of(state, "--package", other, code=2)
    registry = Registry.open(tmp_path / "released", "people")
    registry.release(registry.install(package), "first")
    assert "Quality in service" in status_of(registry.state)
    assert "none of the answers" in status_of(registry.state, "--package", package, code=2)
    assert "give en or zh" in status_of(state, "--language", "fr", code=2)


def status_of(state: Path, *words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["status", "--state", str(state), *map(str, words)], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == code, result.output
    return result.output


# --- pictures, whose embedding is watched beside the numbers that are made of them


def picture(pixels: np.ndarray) -> dict[str, Any]:
    return {"uint8": base64.b64encode(pixels.tobytes()).decode(), "shape": list(pixels.shape)}


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, np.ndarray]:
    """A network of digits, and its test pictures, uint8 [n, 8, 8, 1]."""
    place = tmp_path_factory.mktemp("pictures") / "run"
    data = {"source": "sklearn://digits", "target": "target", "split": {"test": 0.4}}
    training = {"epochs": 4, "batch_size": 64, "threads": 1, "precision": "fp32", "model": {"type": "mlp", "hidden": [32]}}
    rest: dict[str, Any] = {"evaluation": {"resamples": 200}, "audit": {"enabled": False}, "optimization": {"enabled": False}}
    lifecycle.run(parse_recipe({"name": "pictures", "data": data, "training": training, **rest}), place)
    package = place / "deployment" / "package"
    contract = read_contract(package)
    assert contract is not None
    rows = np.stack(next(open_data(place / "data").test("what is served", "pytest").batches(10_000)).columns["image"])
    return Made(model=Model.load(package), contract=contract), rows.reshape(len(rows), 8, 8, 1)


def test_the_embedding_of_pictures_is_watched_and_a_repeated_look_gives_the_same(pictured: tuple[Made, np.ndarray], tmp_path: Path) -> None:
    made, rows = pictured
    embedding = made.contract.embedding
    assert embedding is not None
    assert (embedding.column, len(embedding.mean)) == ("image", 32)
    log = Log.open(tmp_path / "state")
    serve(log, made.model, [{"image": picture(one)} for one in rows[:350]], 0)
    quiet = look(log, made.contract, made.model, Watch.start(made.contract))
    assert not quiet.alarm
    serve(log, made.model, [{"image": picture(np.roll(one, 4, axis=0))} for one in rows[350:]], 350)
    moved = look(log, made.contract, made.model, quiet)
    inner = [place for place, one in enumerate(moved.drift.streams) if one.trait in embedding.traits]
    assert len(inner) == 9
    assert (moved.drift.seen[inner].sum(axis=1) == len(rows)).all()
    assert any(moved.drift.since[place] > 350 for place in inner)
    again = look(log, made.contract, made.model, Watch.start(made.contract))
    assert (again.drift.seen == moved.drift.seen).all()
    assert (again.drift.since == moved.drift.since).all()


def test_a_package_of_before_is_watched_without_an_embedding(pictured: tuple[Made, np.ndarray], tmp_path: Path) -> None:
    made, rows = pictured
    first = replace(made.contract, embedding=None)
    log = Log.open(tmp_path / "state")
    serve(log, made.model, [{"image": picture(one)} for one in rows[:40]], 0)
    watch = look(log, first, made.model, Watch.start(first))
    assert watch.drift.rows == 40
    assert not [one for one in watch.drift.streams if one.trait.startswith("embedding")]
