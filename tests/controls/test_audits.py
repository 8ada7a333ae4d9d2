"""Law: the audits, and what they are mended with, keep the rates that their controls state; here with fewer trials than a calibration."""

from __future__ import annotations

import pytest

from weighbridge.controls import Control, controls, run_control

TRIALS = 12  # `holds` allows for so few; an instrument that finds nothing, or accuses all, is still told
ELSEWHERE = (  # test_calibration.py, test_fairness.py, test_watching.py and test_promotion.py
    "audit.calibration", "audit.fairness", "feedback.drift", "feedback.quality", "feedback.estimate", "feedback.diagnosis", "feedback.gate",
    "feedback.canary", "feedback.influence", "feedback.select",
)  # fmt: skip
OWN = [
    one
    for one in controls()
    if one.instrument.startswith(("audit.", "data.anonymize", "feedback.")) and not one.instrument.startswith(ELSEWHERE)
]


@pytest.mark.slow
@pytest.mark.parametrize("control", OWN, ids=lambda control: control.name)
def test_the_stated_rate_holds(control: Control) -> None:
    outcome = run_control(control, trials=TRIALS)
    assert outcome.holds, f"{outcome.right} of {outcome.n} where {control.low} to {control.high} are stated"


@pytest.mark.parametrize("family", sorted({".".join(one.instrument.split(".")[:2]) for one in OWN}))
def test_each_audit_has_a_planted_and_a_clean_case(family: str) -> None:
    assert {one.kind for one in OWN if one.instrument.startswith(family)} == {"planted", "clean"}
