"""The sheet puts every finding in its place, and its first sentence says what the comparisons allow to say, no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.report_runs import against, chinese_run, diabetes_run, digits_findings, digits_run, unmeasured_run, write_run
from weighbridge.errors import RunError
from weighbridge.findings import Finding, Message, Reference
from weighbridge.report import Sheet, balance, read_run
from weighbridge.report.sheet import PRICE_KEYS


def sheet_of(folder: Path, findings: list[Finding], language: str = "en") -> Sheet:
    return balance(read_run(write_run(folder, findings)), language)  # type: ignore[arg-type]


def test_every_finding_is_somewhere_on_the_sheet(tmp_path: Path) -> None:
    sheet = balance(read_run(digits_run(tmp_path)), "en")
    groups = [sheet.advantages, sheet.limitations, sheet.price, sheet.mended, sheet.unmeasured, *sheet.neutral.values()]
    assert sorted(finding.key for group in groups for finding in group) == sorted(finding.key for finding in digits_findings())


def test_the_headline_leads_and_baselines_follow(tmp_path: Path) -> None:
    keys = [finding.key for finding in balance(read_run(digits_run(tmp_path)), "en").advantages]
    assert keys[0] == "evaluation.accuracy"
    assert all(key.startswith("evaluation.against.") for key in keys[1:4])


def test_the_price_stands_in_its_documented_order(tmp_path: Path) -> None:
    keys = [finding.key for finding in balance(read_run(digits_run(tmp_path)), "en").price]
    assert keys == ["training.parameters", "deployment.size", "deployment.latency", "training.seconds"]
    assert all(any(key == prefix or key.startswith((f"{prefix}.", f"{prefix}_")) for prefix in PRICE_KEYS) for key in keys)


def test_a_price_that_is_a_limitation_stands_in_both_places(tmp_path: Path) -> None:
    slow = Finding(key="deployment.latency", title=Message("Latency"), verdict="limitation", value=2.0, unit="s")
    sheet = sheet_of(tmp_path, [slow])
    assert sheet.price == sheet.limitations == (slow,)
    assert "where an answer is needed sooner" in sheet.warning


def test_a_mended_limitation_stands_in_its_own_table(tmp_path: Path) -> None:
    cured = Finding(key="mitigation.temperature", title=Message("Temperature scaling"), verdict="advantage", value=0.011)
    sheet = sheet_of(tmp_path, [cured])
    assert (sheet.mended, sheet.advantages) == ((cured,), ())


def test_the_hardest_baseline_decides_whether_a_deep_model_is_worth_it(tmp_path: Path) -> None:
    sheet = balance(read_run(digits_run(tmp_path)), "en")
    assert sheet.verdict[0] == "A deep model is worth it here: 1.9 points better than a linear model, the strongest baseline."
    assert sheet.verdict[1] == "Accuracy on unseen rows: 0.978 (95 % interval 0.956 – 0.989, n = 359)."
    assert sheet.warning.startswith("Do not use it where its probabilities are taken at face value.")


def test_a_model_that_is_beaten_is_not_called_worth_it(tmp_path: Path) -> None:
    worse = against("boosting", "gradient boosting", -0.02, -0.035, -0.006, 0.95, 0.004, verdict="limitation")
    better = against("linear", "logistic regression", 0.05, 0.03, 0.07, 0.88, 1e-6)
    parameters = Finding(key="training.parameters", title=Message("Trained parameters"), value=10)
    assert (
        sheet_of(tmp_path, [better, worse, parameters]).verdict[0]
        == "A deep model is not worth it here: gradient boosting is 2.0 points better."
    )


@pytest.mark.parametrize("verdict", ["neutral", "limitation"])
def test_a_tie_is_called_a_tie(tmp_path: Path, verdict: str) -> None:
    tie = against("linear", "logistic regression", 0.004, -0.01, 0.02, 0.9, 0.6, verdict=verdict)
    assert "can not tell it from a linear model" in sheet_of(tmp_path, [tie]).verdict[0]


def test_a_linear_model_and_foreign_predictions_are_not_called_deep(tmp_path: Path) -> None:
    lead = against("trivial", "majority class", 0.4, 0.3, 0.5, 0.5, 1e-9)
    linear = Finding(
        key="training.parameters", title=Message("Trained parameters"), value=65, method=Message("counted; {type}", type="linear")
    )
    assert sheet_of(tmp_path / "a", [lead]).verdict[0].startswith("This model is worth it")
    assert sheet_of(tmp_path / "b", [lead, linear]).verdict[0].startswith("This model is worth it")


def test_a_tie_of_regressions_is_said_in_the_units_of_the_target(tmp_path: Path) -> None:
    sheet = balance(read_run(diabetes_run(tmp_path)), "en")
    assert sheet.verdict[0] == "A deep model is not shown to be needed here: the data can not tell it from a linear model."
    assert sheet.verdict[1] == "Error on unseen rows (RMSE): 53.5 (95 % interval 47.8 – 60.1, n = 89)."


def test_a_run_without_evaluation_says_that_nothing_is_known(tmp_path: Path) -> None:
    sheet = balance(read_run(unmeasured_run(tmp_path)), "en")
    assert sheet.verdict == ("This run holds no evaluation: how good the model is on unseen rows is not known.",)
    assert sheet.warning == "What was measured shows no limitation; 2 things were not measured."


def test_the_verdict_speaks_chinese(tmp_path: Path) -> None:
    sheet = balance(read_run(chinese_run(tmp_path)), "zh")
    assert sheet.verdict[0] == "这里值得使用深度模型：比最强的基线（线性模型）好 1.9 个百分点。"
    assert sheet.warning.startswith("请勿用于需要直接采信其概率的场合。")


def test_a_difference_without_pairing_is_taken_from_the_two_values(tmp_path: Path) -> None:
    other = Reference(name=Message("trivial"), value=0.5)
    lead = Finding(key="evaluation.against.trivial", title=Message("x"), verdict="advantage", value=0.9, unit="share", reference=other)
    assert "40.0 points better" in sheet_of(tmp_path, [lead]).verdict[0]


def test_evidence_outside_the_run_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text('{"epochs": [], "secret": 1}')
    finding = Finding(
        key="training.epochs", title=Message("Epochs"), value=3, evidence=("../history.json", "/etc/passwd", "training/history.json")
    )
    run = read_run(write_run(tmp_path / "run", [finding]))
    assert run.evidence == {}
    assert run.lost == ("../history.json", "/etc/passwd", "training/history.json")


def test_a_link_out_of_the_run_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}")
    folder = write_run(tmp_path / "run", [Finding(key="a.b", title=Message("x"), value=1, evidence=("confusion.json",))])
    (folder / "confusion.json").symlink_to(tmp_path / "secret.json")
    assert read_run(folder).lost == ("confusion.json",)


def test_a_folder_that_is_not_a_run_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is missing"):
        read_run(tmp_path)
    folder = write_run(tmp_path / "run", [])
    (folder / "findings.jsonl").write_text("{broken\n")
    with pytest.raises(RunError, match="line 1 is damaged"):
        read_run(folder)


def test_findings_keep_their_words_through_the_file(tmp_path: Path) -> None:
    finding = replace(digits_findings()[6], title=Message("Weakest class: {name}", name="无关 <b>"))
    assert list(read_run(write_run(tmp_path, [finding])).findings) == [finding]
