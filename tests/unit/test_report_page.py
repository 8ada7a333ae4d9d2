"""report.html is one file that loads nothing, holds every finding with interval, n and command, and is made from what evidence there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from html import unescape
from pathlib import Path

import pytest

from tests.unit.report_runs import (
    chinese_run,
    confusion,
    diabetes_run,
    digits_evidence,
    digits_findings,
    digits_run,
    mistakes,
    unmeasured_run,
    write_run,
)
from weighbridge.errors import UsageError
from weighbridge.findings import Finding, Message
from weighbridge.report import read_run, write_report
from weighbridge.report.line import line

RUNS = {"digits": digits_run, "chinese": chinese_run, "diabetes": diabetes_run, "unmeasured": unmeasured_run}


def page_of(folder: Path, language: str | None = None) -> str:
    return write_report(folder, language).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of digits with its report."""
    folder = digits_run(tmp_path_factory.mktemp("digits"))
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def digits_page(digits: Path) -> str:
    return (digits / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RUNS)
def test_a_page_is_small_whole_and_loads_nothing(name: str, tmp_path: Path) -> None:
    page = page_of(RUNS[name](tmp_path))
    assert len(page.encode()) < 1_000_000
    assert page.lstrip().startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.findall(r"<script|<link|<iframe|@import|https?://(?!www\.w3\.org/)|url\(\s*['\"]?(?!#)", page)


def test_every_finding_is_on_the_page_with_interval_n_method_and_command(digits: Path, digits_page: str) -> None:
    page = unescape(digits_page)
    for finding in read_run(digits).findings:
        shown = line(finding, "en")
        parts = [
            shown.title,
            shown.value,
            shown.interval,
            shown.compared,
            shown.n.removeprefix("n = "),
            shown.method,
            shown.source,
            shown.command,
        ]
        assert [part for part in parts if part not in page] == []


def test_the_drawings_of_all_evidence_are_there(digits_page: str, tmp_path: Path) -> None:
    page = digits_page
    for name in ("training-loss", "training-accuracy", "confusion", "reliability", "class-balance"):
        assert f'aria-labelledby="caption-{name}"' in page
        assert f'id="caption-{name}"' in page
    assert page.count('<img src="data:image/png;base64,') == 8
    assert 'aria-labelledby="caption-residuals"' in page_of(diabetes_run(tmp_path / "diabetes"))


def test_whiskers_say_what_they_draw(digits_page: str) -> None:
    assert 'aria-label="0.978, 95 % interval 0.956 – 0.989, compared with gradient boosting 0.947"' in digits_page


def test_no_id_stands_twice_and_none_is_missing(digits_page: str) -> None:
    page, ids = digits_page, re.findall(r'\bid="([^"]+)"', digits_page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_colours_of_drawings_follow_light_dark_and_print(digits_page: str) -> None:
    page, drawings = digits_page, re.findall(r'<svg class="plot".*?</svg>', digits_page, flags=re.DOTALL)
    assert len(drawings) == 5
    assert not [colour for drawing in drawings for colour in re.findall(r"#[0-9a-fA-F]{6}", drawing)]
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(digits_page: str, tmp_path: Path) -> None:
    assert page_of(digits_run(tmp_path)) == digits_page


def test_a_chinese_page_is_chinese(tmp_path: Path) -> None:
    page = page_of(chinese_run(tmp_path))
    assert '<html lang="zh-Hans">' in page
    assert "优势" in page
    assert "无关内容" in page
    assert "配方关闭的保护措施" in page
    assert "Advantages" not in page


@pytest.mark.slow
def test_a_language_can_be_asked_for_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    folder = digits_run(tmp_path)
    assert "局限" in page_of(folder, "zh")
    with pytest.raises(UsageError, match="'fr'"):
        write_report(folder, "fr")


@pytest.mark.slow
@pytest.mark.parametrize("lost", sorted(digits_evidence()))
def test_missing_evidence_is_named_and_the_rest_is_shown(lost: str, tmp_path: Path) -> None:
    folder = digits_run(tmp_path)
    (folder / lost).unlink()
    page = page_of(folder)
    assert "could not be read" in page
    assert lost in page
    assert "0.978" in page


DAMAGED: list[object] = [
    None, [], {}, 3, "x", {"epochs": [{}]}, {"epochs": [3]}, {"epochs": [{"epoch": "a", "validation_loss": 1.0}]},
    {"epochs": [{"epoch": 1, "validation_loss": 1e400}], "best_epoch": 1}, {"classes": ["a"], "counts": [[1]]},
    {"classes": ["a", "b"], "counts": [[1]]}, {"classes": ["a", "b"], "counts": [["x", 1], [1, 2]]}, {"curve": [3]},
    {"curve": [{"confidence": None}]}, {"predicted": [1], "actual": []}, {"predicted": ["a"], "actual": ["b"]},
    {"mistakes": [3, {"thumbnail": 3}]}, {"mistakes": 7},
]  # fmt: skip


@pytest.mark.parametrize("damaged", DAMAGED, ids=repr)
def test_evidence_of_another_form_is_left_out(damaged: object, tmp_path: Path) -> None:
    evidence = {**digits_evidence(), "evaluation/residuals.json": {}}
    folder = write_run(tmp_path, digits_findings(), evidence={name: damaged for name in evidence})
    assert "0.978" in page_of(folder)


def test_a_damaged_file_is_no_reason_to_have_no_report(tmp_path: Path) -> None:
    folder = digits_run(tmp_path)
    (folder / "evaluation/confusion.json").write_bytes(b"\xff\xfe{")
    (folder / "training/history.json").write_text("[" * 100_000)
    assert "0.978" in page_of(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "about", [{}, {"task": None, "machine": [], "stages": 3, "versions": "x", "seconds": "long", "started": 5, "safeguards_off": "all"}]
)
def test_a_bare_run_json_is_enough(about: dict[str, object], tmp_path: Path) -> None:
    folder = digits_run(tmp_path)
    (folder / "run.json").write_text(json.dumps(about))
    assert "0.978" in page_of(folder)


@pytest.mark.slow
def test_fifty_classes_and_a_thousand_findings_stay_under_a_megabyte_and_three_seconds(tmp_path: Path) -> None:
    classes = [f"class number {index}" for index in range(50)]
    many = [
        Finding(key=f"data.{place}", title=Message("Missing values of {column}", column=f"column {place}"), value=0.1, unit="share", n=100)
        for place in range(1000)
    ]
    large = mistakes(classes, 60)
    for row in large["mistakes"]:
        row["thumbnail"] = "data:image/png;base64," + "A" * 40_000
    evidence = {**digits_evidence(classes), "evaluation/confusion.json": confusion(classes), "evaluation/mistakes.json": large}
    folder = write_run(tmp_path, [*digits_findings(), *many], evidence=evidence)
    start = time.process_time()  # not the clock: other work on the machine is not the report's
    page = page_of(folder)
    assert time.process_time() - start < 3
    assert len(page.encode()) < 1_000_000
    assert "851 more in findings.jsonl" not in page
    assert "more in findings.jsonl" in page


def test_safeguards_that_are_off_are_said_at_the_top(tmp_path: Path) -> None:
    folder = write_run(tmp_path, digits_findings(), about={"safeguards_off": ["training.early_stopping"]})
    page = page_of(folder)
    assert page.index("training.early_stopping") < page.index("Advantages")


def test_importing_the_report_loads_no_heavy_library() -> None:
    heavy = ("matplotlib", "jinja2", "rich", "yaml", "numpy", "torch")
    code = f"import sys, weighbridge.report; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "[]"
