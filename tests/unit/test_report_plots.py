"""A drawing is small, the same bytes every time, keeps its text as text, and shows only what its evidence holds."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from tests.unit.report_runs import confusion, history, reliability
from weighbridge.report import plots
from weighbridge.report.words import speaker

SAY = speaker("en")
RESIDUALS = {"actual": np.linspace(0, 300, 1000).tolist(), "predicted": np.linspace(30, 250, 1000).tolist()}
FULL = {"classes": [f"类 {place}" for place in range(50)], "counts": np.random.default_rng(0).integers(0, 99, (50, 50)).tolist()}
DRAWINGS: dict[str, tuple[plots.Draw, Any]] = {
    "loss": (plots.training_curve, history()),
    "a thousand epochs": (plots.training_curve, history(1000)),
    "confusion of 2": (plots.confusion, confusion(["no", "yes"])),
    "confusion of 10": (plots.confusion, confusion([str(digit) for digit in range(10)])),
    "confusion of 50": (plots.confusion, confusion([f"class {index}" for index in range(50)])),
    "a full confusion of 50": (plots.confusion, FULL),
    "reliability": (plots.reliability, reliability()),
    "residuals": (plots.predicted_against_actual, RESIDUALS),
    "class balance": (plots.class_balance, confusion([f"class {index}" for index in range(50)])),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_small_well_formed_and_the_same_every_time(name: str) -> None:
    draw, evidence = DRAWINGS[name]
    svg = plots.drawn(draw, evidence, SAY)
    assert 0 < len(svg.encode()) < plots.MOST_BYTES
    ET.fromstring(svg)
    assert svg == plots.drawn(draw, evidence, SAY)
    assert "<style" not in svg
    assert "<metadata" not in svg
    assert "<!--" not in svg
    assert "http" not in svg.replace("http://www.w3.org/", "")


def test_labels_stay_text_in_any_script() -> None:
    svg = plots.confusion(confusion(["正面评价", "$x^2$", "<b>&"]), SAY)
    assert [text in svg for text in ("正面评价", "$x^2$", "&lt;b&gt;&amp;")] == [True, True, True]


def test_numbers_that_are_text_are_not_rounded() -> None:
    narrow = {"epochs": [{"epoch": epoch, "validation_loss": 0.9512 + epoch / 1000} for epoch in range(9)]}
    ticks = re.findall(r">(0\.9\d*)<", plots.training_curve(narrow, SAY))
    assert len(ticks) == len(set(ticks)) > 2
    assert ">3.14159<" in plots.confusion(confusion(["3.14159", "b"]), SAY)


def test_a_label_that_is_long_is_cut() -> None:
    assert "aaaaaaaaaaaaa…" in plots.confusion(confusion(["a" * 300, "b"]), SAY)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "named"), [(10, 10), (25, 25), (26, 13), (50, 25), (200, 20)])
def test_labels_of_many_classes_are_thinned(classes: int, named: int) -> None:
    svg = plots.confusion(confusion([f"c{index}" for index in range(classes)]), SAY)
    assert len(re.findall(r">c\d+<", svg)) == 2 * named


def test_cells_hold_numbers_where_there_is_room() -> None:
    counts = {"classes": ["no", "yes"], "counts": [[91, 7], [0, 52]]}
    assert [f">{count}<" in plots.confusion(counts, SAY) for count in (91, 7, 52, 0)] == [True, True, True, False]
    assert ">31<" not in plots.confusion({"classes": [str(i) for i in range(13)], "counts": (np.eye(13) * 31).tolist()}, SAY)


def test_the_kept_epoch_is_marked_and_lines_differ_without_colour() -> None:
    svg = plots.training_curve(history(), SAY)
    assert "stroke-dasharray" in svg
    assert svg.count("var(--bg)") == 1
    assert "var(--bg)" not in plots.training_curve({**history(), "best_epoch": None}, SAY)


def test_only_metrics_that_were_recorded_are_drawn() -> None:
    assert plots.curve_metrics(history()) == ("loss", "accuracy")
    assert plots.curve_metrics({"epochs": [{"epoch": 1, "train_loss": 0.1}]}) == ()
    assert plots.drawn(plots.training_curve, {"epochs": []}, SAY) == ""


def test_settings_of_matplotlib_are_left_as_they_were() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plots.confusion(confusion(["a", "b"]), SAY)
    assert dict(mpl.rcParams) == before
