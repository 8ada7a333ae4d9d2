"""card.md is valid front matter and Markdown in which a label stays a label, and its limitations are the measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.report_runs import chinese_run, diabetes_run, digits_run, unmeasured_run, write_run
from weighbridge.findings import Finding, Message
from weighbridge.report import read_run, render_card
from weighbridge.report.card import escaped, fenced
from weighbridge.report.words import spoken_language

RUNS = {"digits": digits_run, "chinese": chinese_run, "diabetes": diabetes_run, "unmeasured": unmeasured_run}


def parts_of(folder: Path) -> tuple[dict[str, Any], str]:
    run = read_run(folder)
    _, front, body = render_card(run, spoken_language(None, run.about)).split("---\n", 2)
    return yaml.safe_load(front), body


@pytest.mark.parametrize("name", RUNS)
def test_every_card_has_front_matter_and_its_sections(name: str, tmp_path: Path) -> None:
    front, body = parts_of(RUNS[name](tmp_path))
    assert front["license"] == "other"
    assert "weighbridge" in front["tags"]
    assert body.count("\n## ") >= 6


def test_results_carry_their_interval(tmp_path: Path) -> None:
    front, body = parts_of(digits_run(tmp_path))
    result = front["model-index"][0]["results"][0]
    assert result["metrics"][0] == {
        "type": "accuracy",
        "name": "Accuracy on unseen rows",
        "value": 0.9777,
        "confidence_interval": [0.9564, 0.9887],
    }
    assert (result["task"]["type"], result["dataset"]["split"]) == ("image-classification", "test")
    assert "| Accuracy on unseen rows | 0.978 | 0.956 – 0.989 | 359 | gradient boosting 0.947 |" in body


def test_limitations_are_the_measured_ones_and_gaps_are_named(tmp_path: Path) -> None:
    _, body = parts_of(digits_run(tmp_path))
    limits = body.split("## Limitations, as measured")[1].split("## Not measured")[0]
    assert limits.count("\n- ") == 2
    assert "0.071" in limits
    assert "threshold 0.050" in limits
    assert "no counter on this machine" in body.split("## Not measured")[1]


def test_a_regression_is_a_regression(tmp_path: Path) -> None:
    front, _ = parts_of(diabetes_run(tmp_path))
    assert front["pipeline_tag"] == "tabular-regression"
    assert front["metrics"] == ["r_squared", "rmse"]


def test_a_run_that_measured_nothing_claims_no_result(tmp_path: Path) -> None:
    front, body = parts_of(unmeasured_run(tmp_path))
    assert "model-index" not in front
    assert "is not known" in body


def test_a_chinese_card_is_chinese(tmp_path: Path) -> None:
    front, body = parts_of(chinese_run(tmp_path))
    assert front["language"] == ["zh"]
    assert "## 实测局限" in body
    assert "无关内容" in body


HOSTILE = "---\nlicense: mit\n# x <script>|`[a](javascript:1)![i](http://x/y.png) $e$ @me www.x.y"


def test_a_hostile_name_opens_no_key_no_markup_and_no_table_cell(tmp_path: Path) -> None:
    title = Message("Weakest class: {name}", name=HOSTILE)
    finding = Finding(
        key="evaluation.f1",
        title=title,
        verdict="limitation",
        value=0.5,
        reason=Message("{x}", x=HOSTILE),
        headline=True,
        command=f"weigh `{HOSTILE}`",
    )
    about = {"name": HOSTILE, "task": {"kind": "category", "target": HOSTILE, "classes": [HOSTILE, "b"]}, "versions": {HOSTILE: HOSTILE}}
    card = render_card(read_run(write_run(tmp_path, [finding], about=about)), "en")
    _, front, body = card.split("\n---\n")[0].removeprefix("---\n"), *card.split("\n---\n", 1)
    assert yaml.safe_load(front.removeprefix("---\n"))["license"] == "other"
    outside = "\n".join(text for text in body.splitlines() if "`" not in text)
    assert not [mark for mark in ("<", "](", "![", "http:", "www.", "@me") if mark in outside]
    assert all(text.count("|") == 6 for text in outside.splitlines() if text.startswith("|"))


def test_escaping_leaves_plain_words_alone() -> None:
    assert escaped("0.926 – 0.936 (n = 10,000), α: 5 %") == "0.926 – 0.936 (n = 10,000), α: 5 %"
    assert escaped("a\nb\x1b") == "a b\ufffd"
    assert fenced("weigh `x``y`") == "``` weigh `x``y` ```"
