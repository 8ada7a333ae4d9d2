"""Law: the drawing of the scan for triggers shows each class, tells a suspected one, and is left out where there is nothing to draw."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from weighbridge.report.plots import BAD, MOST_BYTES, drawn
from weighbridge.report.plots_audit_security import triggers

VARIABLE = "var(--lim)"


def evidence(side: int = 8, classes: int = 10, smallest: float = 2.5) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "classes": [f"class {place}" for place in range(classes)],
        "pixels": [smallest, *random.uniform(9, 14, classes - 1)],
        "apart": [0.0] * classes,
        "suspected_below": 4.0,
        "smallest": "class <0>",
        "mask": random.uniform(0, 1, (side, side)).round(2).tolist(),
        "pattern": random.integers(0, 256, (side, side, 3)).tolist(),
    }


def test_a_suspected_class_has_its_colour_and_none_has_it_where_none_is() -> None:
    assert BAD not in drawn(triggers, evidence(), str)
    assert VARIABLE in drawn(triggers, evidence(), str)
    assert VARIABLE not in drawn(triggers, evidence(smallest=8.0), str)


def test_names_are_escaped_and_a_class_without_a_change_is_left_out() -> None:
    held = evidence()
    held["pixels"][3] = None
    svg = drawn(triggers, held, str)
    assert "class &lt;0&gt;" in svg
    assert "class 3" not in svg
    assert "class 4" in svg


@pytest.mark.parametrize(("side", "classes"), [(8, 10), (224, 1000), (1, 5)])
def test_the_drawing_stays_small(side: int, classes: int) -> None:
    assert 0 < len(drawn(triggers, evidence(side, classes), str)) < MOST_BYTES


@pytest.mark.parametrize("lost", ["classes", "pixels", "mask", "pattern", "suspected_below", "smallest"])
def test_damaged_evidence_is_not_drawn(lost: str) -> None:
    held = copy.deepcopy(evidence())
    del held[lost]
    assert drawn(triggers, held, str) == ""
    assert drawn(triggers, evidence(classes=2), str) == ""
