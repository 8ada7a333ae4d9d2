"""Law: predictions in, findings out: each with value, interval, n, method and the command that measures it again, to the same figure."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from weighbridge.errors import DataError, UsageError
from weighbridge.evaluation import Predictions, measure, worst_mistakes
from weighbridge.findings import Finding, write_findings

OPTIONS = SimpleNamespace(resamples=300, worst=5)
COMMAND = "weigh evaluate runs/x"


def ids(n: int) -> np.ndarray:
    return np.char.zfill(np.arange(n).astype(str), 6)


def classes(n: int, name: str, skill: float, seed: int, count: int = 3) -> Predictions:
    """Rows with the same truth for every name; a higher skill is right more often."""
    target = np.random.default_rng(7).integers(0, count, n)
    logits = skill * np.eye(count)[target] + np.random.default_rng(seed).gumbel(size=(n, count))
    output = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Predictions(kind="category", row_id=ids(n), target=target, output=output / output.sum(axis=1, keepdims=True),
                       classes=tuple(f"c{c}" for c in range(count)), model=name)  # fmt: skip


def numbers(n: int, name: str, spread: float, seed: int) -> Predictions:
    target = np.random.default_rng(7).normal(size=n)
    return Predictions(
        kind="number", row_id=ids(n), target=target, output=target + spread * np.random.default_rng(seed).normal(size=n), model=name
    )


def sets(n: int, name: str, seed: int) -> Predictions:
    target = np.random.default_rng(7).random((n, 3)) < 0.4
    output = np.clip(0.4 * target + 0.5 * np.random.default_rng(seed).random((n, 3)), 0, 1)
    return Predictions(kind="set", row_id=ids(n), target=target, output=output, classes=("x", "y", "z"), model=name)


def run(folder: Path, model: Predictions, **more: Any) -> dict[str, Finding]:
    findings = measure(model, options=OPTIONS, seed=0, folder=folder / "evaluation", command=COMMAND, **more)
    write_findings(folder / "findings.jsonl", findings)
    return {finding.key.removeprefix("evaluation."): finding for finding in findings}


@pytest.fixture(scope="module")
def categories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Finding]]:
    folder = tmp_path_factory.mktemp("run")
    baselines = [classes(400, "trivial", 0.0, 1), classes(400, "linear", 2.5, 2), classes(400, "boosting", 3.0, 3)]
    return folder, run(folder, classes(400, "net", 3.0, 4), baselines=baselines, train=classes(800, "net", 6.0, 5))


def test_every_measured_finding_is_complete(categories: tuple[Path, dict[str, Finding]]) -> None:
    folder, findings = categories
    for key, finding in findings.items():
        assert finding.command == f"{COMMAND} --only {key}"
        assert str(finding.title)
        assert finding.verdict != "unmeasured"
        assert finding.n
        assert finding.interval is not None
        assert finding.interval[0] <= finding.value <= finding.interval[1]
        assert "{" not in str(finding.reason) + str(finding.method)
        assert all((folder / name).is_file() for name in finding.evidence)


def test_the_headline_stands_beside_the_best_baseline(categories: tuple[Path, dict[str, Finding]]) -> None:
    accuracy = categories[1]["accuracy"]
    assert accuracy.headline
    assert [key for key, finding in categories[1].items() if finding.headline] == ["accuracy"]
    assert accuracy.reference is not None
    assert str(accuracy.reference.name) == "gradient boosting"
    assert accuracy.reference.value == categories[1]["baseline.boosting"].value
    assert accuracy.reference.difference == pytest.approx(accuracy.value - accuracy.reference.value)


def test_baselines_are_beaten_or_it_is_a_limitation(categories: tuple[Path, dict[str, Finding]]) -> None:
    findings = categories[1]
    assert findings["against.trivial"].verdict == "advantage"
    assert findings["against.boosting"].verdict == "limitation"
    assert "not measurably different" in str(findings["against.boosting"].reason)
    assert findings["gap"].verdict == "limitation"
    assert "0.02" in str(findings["gap"].reason)


def test_one_finding_is_measured_again_to_the_same_figure(categories: tuple[Path, dict[str, Finding]], tmp_path: Path) -> None:
    baselines = [classes(400, "trivial", 0.0, 1), classes(400, "linear", 2.5, 2), classes(400, "boosting", 3.0, 3)]
    for key in ("accuracy", "auroc", "f1", "calibration_error", "against.linear", "gap", "weakest_class", "baseline.trivial"):
        again = run(tmp_path, classes(400, "net", 3.0, 4), baselines=baselines, train=classes(800, "net", 6.0, 5), only=key)
        assert list(again) == [key]
        assert (again[key].value, again[key].interval) == (categories[1][key].value, categories[1][key].interval)
    assert not (tmp_path / "evaluation").exists()


def test_the_evidence_has_the_agreed_form(categories: tuple[Path, dict[str, Finding]]) -> None:
    folder = categories[0] / "evaluation"
    content = {path.stem: json.loads(path.read_text()) for path in folder.iterdir()}
    assert set(content) == {"confusion", "reliability", "metrics", "mistakes"}
    assert np.sum(content["confusion"]["counts"]) == 400
    assert set(content["metrics"]["model"]["accuracy"]) == {"value", "interval", "n"}
    assert set(content["metrics"]["baselines"]) == {"trivial", "linear", "boosting"}
    assert set(content["metrics"]["classes"]["c0"]) == {"precision", "recall", "f1"}
    assert set(content["mistakes"]["mistakes"][0]) == {"row_id", "truth", "predicted", "probability", "thumbnail", "text"}


def test_numbers_have_errors_and_the_coverage_of_their_intervals(tmp_path: Path) -> None:
    baselines = [numbers(300, "trivial", 1.0, 1), numbers(300, "linear", 0.5, 2)]
    found = run(
        tmp_path,
        numbers(300, "net", 0.2, 3),
        baselines=baselines,
        train=numbers(300, "net", 0.19, 4),
        validation=numbers(200, "net", 0.2, 5),
    )
    assert {"rmse", "mae", "r2", "interval_coverage", "gap"} <= set(found)
    assert found["rmse"].verdict == "advantage"
    assert found["rmse"].headline
    assert found["against.linear"].value > 0
    assert found["interval_coverage"].value == pytest.approx(0.9, abs=0.06)
    halves = run(tmp_path / "b", numbers(300, "net", 0.2, 3))
    assert "each half calibrates" in str(halves["interval_coverage"].method)
    assert json.loads((tmp_path / "evaluation/residuals.json").read_text())["interval"]["width"] > 0


def test_sets_have_their_own_metrics(tmp_path: Path) -> None:
    found = run(tmp_path, sets(200, "net", 3), baselines=[sets(200, "linear", 4)])
    assert {"f1_micro", "f1_macro", "subset_accuracy", "auroc", "auprc", "log_loss", "against.linear"} <= set(found)
    assert found["f1_micro"].headline


def test_what_is_not_measured_is_listed_with_its_reason(tmp_path: Path) -> None:
    target = np.array([0, 1] * 20)
    hard = Predictions(kind="category", row_id=ids(40), target=target, output=np.eye(2)[target], classes=("a", "b"), hard=True)
    found = run(tmp_path, hard)
    unmeasured = {key for key, finding in found.items() if finding.verdict == "unmeasured"}
    assert unmeasured == {"auroc", "auprc", "log_loss", "brier", "calibration_error", "against", "gap"}
    assert "no probabilities" in str(found["auroc"].reason)
    assert found["f1"].value == 1
    assert found["f1"].interval[0] < 0.9


def test_one_class_or_one_row_is_measured_as_far_as_it_goes(tmp_path: Path) -> None:
    single = Predictions(kind="category", row_id=ids(1), target=np.array([0]), output=np.array([[0.9, 0.1]]), classes=("a", "b"))
    found = run(tmp_path, single)
    assert found["auroc"].verdict == "unmeasured"
    assert found["accuracy"].interval == (pytest.approx(0.025), 1)
    assert found["log_loss"].interval is None
    constant = Predictions(kind="number", row_id=ids(30), target=np.ones(30), output=np.ones(30))
    assert run(tmp_path / "b", constant)["r2"].verdict == "unmeasured"


def test_groups_widen_the_intervals(tmp_path: Path) -> None:
    p = classes(300, "net", 2.0, 4)
    hits = np.repeat(np.random.default_rng(0).random(30) < 0.6, 10)
    output = np.where(hits[:, None], np.eye(3)[p.target], np.eye(3)[(p.target + 1) % 3])
    rows = Predictions(kind="category", row_id=p.row_id, target=p.target, output=output, classes=p.classes)
    groups = Predictions(
        kind="category", row_id=p.row_id, target=p.target, output=output, classes=p.classes, group=np.repeat(np.arange(30), 10)
    )
    narrow, wide = (run(tmp_path / name, one)["accuracy"].interval for name, one in (("a", rows), ("b", groups)))
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_the_order_of_rows_changes_no_figure(tmp_path: Path) -> None:
    p = classes(120, "net", 2.0, 4)
    order = np.random.default_rng(0).permutation(120)
    shuffled = Predictions(
        kind=p.kind, row_id=p.row_id[order], target=p.target[order], output=p.output[order], classes=p.classes, model="net"
    )
    one, other = run(tmp_path / "a", p), run(tmp_path / "b", shuffled)
    assert {key: finding.to_json() for key, finding in one.items()} == {key: finding.to_json() for key, finding in other.items()}


def test_mistakes_are_the_surest_ones_first() -> None:
    found = worst_mistakes(classes(200, "net", 1.0, 4), 8)
    assert len(found) == 8
    assert all(mistake.truth != mistake.predicted for mistake in found)
    assert found[0].probability > found[-1].probability
    assert float(worst_mistakes(numbers(50, "net", 1.0, 1), 1)[0].predicted) != 0
    assert worst_mistakes(sets(50, "net", 1), 3)[0].truth is not None


def test_unknown_names_and_disagreeing_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        run(tmp_path, classes(50, "net", 1, 1), only="acuracy")
    with pytest.raises(DataError, match="same name"):
        run(tmp_path, classes(50, "net", 1, 1), baselines=[classes(50, "linear", 1, 1)] * 2)
    with pytest.raises(DataError, match="do not predict the same rows"):
        run(tmp_path, classes(50, "net", 1, 1), baselines=[classes(40, "linear", 1, 1)])
    with pytest.raises(DataError, match="differ in their classes"):
        run(tmp_path, classes(50, "net", 1, 1), train=classes(40, "net", 1, 1, count=4))


def test_400_rows_take_well_under_two_seconds(tmp_path: Path) -> None:
    started = time.process_time()
    measure(
        classes(400, "net", 2, 1),
        options=SimpleNamespace(resamples=2000, worst=5),
        seed=0,
        folder=tmp_path / "e",
        command=COMMAND,
    )
    assert time.process_time() - started < 2


def test_the_stage_imports_no_torch_and_no_heavy_library() -> None:
    code = "import sys, weighbridge.evaluation; print([m for m in ('torch','scipy','sklearn','pyarrow','pandas') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
