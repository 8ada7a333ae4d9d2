"""Law: seeds, learning curve and weak slices keep the rates that their controls state; here with fewer trials than a calibration."""

from __future__ import annotations

import pytest

from weighbridge.controls import Control, controls, run_control

TRIALS = 40  # each
OWN = [one for one in controls() if one.instrument in ("evaluation.seeds", "evaluation.learning_curve", "evaluation.slices")]


@pytest.mark.slow
@pytest.mark.parametrize("control", OWN, ids=lambda control: control.name)
def test_the_stated_rate_holds(control: Control) -> None:
    outcome = run_control(control, trials=TRIALS)
    assert outcome.holds, f"{outcome.right} of {outcome.n} where {control.low} to {control.high} are stated"


def test_each_instrument_has_a_planted_and_a_clean_case() -> None:
    assert {(one.instrument, one.kind) for one in OWN} == {
        (name, kind) for name in ("evaluation.seeds", "evaluation.learning_curve", "evaluation.slices") for kind in ("planted", "clean")
    }
