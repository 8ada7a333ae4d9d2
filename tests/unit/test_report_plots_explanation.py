"""Law: an explanation is drawn with what its check says, a failed one crossed out; signs are told without colour; no text is markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from weighbridge.audit.explain_pictures import small_picture
from weighbridge.report import plots, plots_audit_explanation, plots_audit_importance
from weighbridge.report.words import Say, speaker

SAY, ZH = speaker("en"), speaker("zh")
HOSTILE = "<script>alert(1)</script>&\"'"


def method(name: str = "occlusion", status: str = "holds", **more: Any) -> dict[str, Any]:
    return {
        "method": name,
        "name": name.replace("_", " "),
        "status": status,
        "signed": True,
        "lead": 0.21,
        "low": 0.19,
        "high": 0.23,
    } | more


def evidence(rows: int = 6, methods: list[dict[str, Any]] | None = None, text: str = "good", side: int = 8) -> dict[str, Any]:
    """Return what an audit leaves of rows with a picture, a text and columns."""
    random = np.random.default_rng(0)
    methods = [method()] if methods is None else methods
    edges = {way: np.linspace(0, 1, side + 1).round(4).tolist() for way in ("down", "across")}

    def weights() -> dict[str, float]:
        return {one["method"]: round(float(random.uniform(-1, 1)), 2) for one in methods}

    made = [
        {
            "row_id": f"r{place}", "truth": text, "predicted": "b", "right": place % 2 == 0, "probability": 0.9,
            "image": {
                "picture": small_picture(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)), "edges": edges,
                "maps": {one["method"]: random.uniform(-1, 1, (side, side)).round(2).tolist() for one in methods},
            },
            "texts": [{"column": "t", "pieces": [{"text": f"{text} {number}", "weights": weights()} for number in range(64)]}],
            "columns": [{"column": text, "value": text, "weights": weights()} for _ in range(5)],
        }
        for place in range(rows)
    ]  # fmt: skip
    return {"kind": "category", "methods": methods, "rows": made}


def curves(methods: list[dict[str, Any]]) -> dict[str, Any]:
    line = np.linspace(1, 0, 11).tolist()
    return {"kind": "category", "grid": np.linspace(0, 1, 11).tolist(), "random": {"deletion": line, "insertion": line[::-1]},
            "methods": [one | {"deletion": line, "insertion": line} for one in methods]}  # fmt: skip


DRAWINGS = {
    "images": plots_audit_explanation.images, "words": plots_audit_explanation.words, "columns": plots_audit_explanation.columns,
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("say", [SAY, ZH])
def test_a_drawing_is_small_well_formed_and_speaks_in_the_colours_of_the_page(name: str, say: Say) -> None:
    shown = evidence(methods=[method("occlusion"), method("gradient_input"), method("integrated_gradients", "fails")])
    drawn = plots.drawn(DRAWINGS[name], shown, say)
    assert 0 < len(drawn.encode()) < plots.MOST_BYTES
    ET.fromstring(drawn)
    assert drawn == plots.drawn(DRAWINGS[name], shown, say)
    assert not re.search(r"#[0-9a-fA-F]{6}", re.sub(r'href="[^"]*"', "", drawn)), "every colour is one of the page"


@pytest.mark.parametrize("name", DRAWINGS)
def test_labels_words_and_names_of_columns_are_text_and_not_markup(name: str) -> None:
    drawn = plots.drawn(DRAWINGS[name], evidence(text=HOSTILE), SAY)
    assert "<script" not in drawn
    assert "&lt;script" in drawn
    ET.fromstring(drawn)


def test_a_picture_that_is_no_small_png_is_not_drawn() -> None:
    shown = evidence(1)
    shown["rows"][0]["image"]["picture"] = 'x" onload="alert(1)'
    assert plots.drawn(plots_audit_explanation.images, shown, SAY) == ""


@pytest.mark.parametrize("name", DRAWINGS)
def test_what_the_check_says_stands_beside_the_explanation(name: str) -> None:
    drawn = plots.drawn(DRAWINGS[name], evidence(), SAY)
    assert "occlusion: holds, 0.210 ahead of chance (0.190 to 0.230)" in drawn
    failed = plots.drawn(DRAWINGS[name], evidence(methods=[method(status="fails")]), SAY)
    assert "occlusion: fails, 0.210" in failed


def test_a_failed_map_is_crossed_out_and_others_are_not() -> None:
    def crosses(status: str) -> int:
        return len(re.findall(r"<path d=\"M0 [\d.]+L", plots_audit_explanation.images(evidence(methods=[method(status=status)]), SAY)))

    assert (crosses("holds"), crosses("open"), crosses("fails")) == (0, 0, 1)


def test_signs_are_told_by_shape() -> None:
    shown = evidence(1, side=1)
    shown["rows"][0]["image"]["maps"]["occlusion"] = [[1.0]]
    full = plots_audit_explanation.images(shown, SAY)
    shown["rows"][0]["image"]["maps"]["occlusion"] = [[-1.0]]
    dash = plots_audit_explanation.images(shown, SAY)
    highs = [float(re.findall(r'stroke-width="([\d.]+)" stroke-opacity', drawn)[0]) for drawn in (full, dash)]
    assert highs[1] == pytest.approx(highs[0] / 3, abs=0.1)
    words = plots_audit_explanation.words(evidence(), SAY)
    assert 'class="for"' in words
    assert 'class="against"' in words
    bars = plots_audit_explanation.columns(evidence(), SAY)
    assert 'fill="none" stroke="var(--lim)"' in bars


def test_columns_that_are_not_told_from_none_have_a_mark_of_their_own() -> None:
    columns = [{"column": f"c{place}", "value": 0.1 / (place + 1), "low": -0.01, "high": 0.2, "told": place < 2} for place in range(30)]
    drawn = plots.drawn(plots_audit_importance.importance, {"kind": "category", "columns": columns}, SAY)
    ET.fromstring(drawn)
    assert "var(--adv)" in drawn
    assert "c14" in drawn
    assert "c15" not in drawn


def test_curves_of_methods_have_dashes_of_their_own_and_say_who_fails() -> None:
    methods = [method("occlusion"), method("integrated_gradients"), method("attention_rollout", "fails")]
    drawn = plots.drawn(plots_audit_importance.curves, curves(methods), SAY)
    ET.fromstring(drawn)
    assert "attention rollout (fails)" in drawn
    assert len(set(re.findall(r"stroke-dasharray: ([^;\"]+)", drawn))) >= 2


def test_what_is_absent_or_damaged_is_not_drawn() -> None:
    nothing = {"kind": "category", "methods": [], "rows": []}
    for draw in DRAWINGS.values():
        assert plots.drawn(draw, nothing, SAY) == ""
        assert plots.drawn(draw, {"rows": [{}], "methods": [method()]}, SAY) == ""
        assert plots.drawn(draw, {"rows": 3}, SAY) == ""
    assert plots.drawn(plots_audit_importance.importance, {"columns": []}, SAY) == ""
    assert plots.drawn(plots_audit_importance.curves, {"grid": [], "methods": []}, SAY) == ""
