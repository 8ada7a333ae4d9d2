"""Law: the choice of a form and the law of scale keep the rates that their controls state; here with fewer trials than a calibration."""

from __future__ import annotations

import pytest

from weighbridge.controls import Control, controls, run_control

TRIALS, TRIALS_OF_THE_LAW = 60, 15  # each; a law is refitted 200 times in a trial
INSTRUMENTS = ("optimization.choice", "optimization.choice.rows", "optimization.champion", "optimization.scale", "test.noninferiority")
OWN = [one for one in controls() if one.instrument in INSTRUMENTS and one.instrument.startswith("optimization.")]


@pytest.mark.slow
@pytest.mark.parametrize("control", OWN, ids=lambda control: control.name)
def test_the_stated_rate_holds(control: Control) -> None:
    outcome = run_control(control, trials=TRIALS_OF_THE_LAW if control.instrument == "optimization.scale" else TRIALS)
    assert outcome.holds, f"{outcome.right} of {outcome.n} where {control.low} to {control.high} are stated"


@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_each_instrument_has_a_planted_and_a_clean_case(instrument: str) -> None:
    assert {one.kind for one in controls() if one.instrument == instrument} == {"planted", "clean"}
