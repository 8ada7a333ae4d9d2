"""Law: a claim needs both, a test that tells the two apart and an interval without 0; what the data can not decide is no advantage."""

from __future__ import annotations

import pytest

from weighbridge.evaluation.comparison import Comparison
from weighbridge.evaluation.verdicts import of_comparison
from weighbridge.findings import Verdict


@pytest.mark.parametrize(
    ("interval", "p_value", "against_baseline", "against_other"),
    [
        ((0.1, 0.5), 0.001, "advantage", "advantage"),
        ((-0.5, -0.1), 0.001, "limitation", "limitation"),
        ((-0.1, 0.7), 0.001, "limitation", "neutral"),
        ((0.1, 0.5), 0.2, "limitation", "neutral"),
        ((-0.3, 0.4), 0.5, "limitation", "neutral"),
    ],
)
def test_a_claim_needs_the_test_and_the_interval(
    interval: tuple[float, float], p_value: float, against_baseline: Verdict, against_other: Verdict
) -> None:
    for name, expected in (("linear", against_baseline), ("mine", against_other)):
        comparison = Comparison(
            name=name, difference=sum(interval) / 2, interval=interval, p_value=p_value, test="permutation", rows=None, n=100
        )
        verdict, reason = of_comparison(comparison, p_value)
        assert verdict == expected
        disagree = p_value < 0.05 and interval[0] <= 0 <= interval[1]
        assert ("no claim" in str(reason)) is disagree
