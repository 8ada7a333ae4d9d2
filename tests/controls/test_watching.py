"""Law: the watch over a served model keeps the rates that its controls state; here with fewer trials than a calibration."""

from __future__ import annotations

import pytest

from weighbridge.controls import Control, controls, run_control

INSTRUMENTS = ("feedback.quality", "feedback.drift", "feedback.estimate", "feedback.diagnosis")
TRIALS = {"feedback.drift": 3}  # each of them watches 2,500 to 21,500 rows
OWN = [one for one in controls() if one.instrument in INSTRUMENTS]


@pytest.mark.slow
@pytest.mark.parametrize("control", OWN, ids=lambda control: control.name)
def test_the_stated_rate_holds(control: Control) -> None:
    outcome = run_control(control, trials=TRIALS.get(control.instrument, 12))
    assert outcome.holds, f"{outcome.right} of {outcome.n} where {control.low} to {control.high} are stated"


def test_each_instrument_has_a_planted_and_a_clean_case() -> None:
    assert {(one.instrument, one.kind) for one in OWN} >= {(name, kind) for name in INSTRUMENTS for kind in ("planted", "clean")}
