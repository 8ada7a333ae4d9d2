"""Law: the fairness audit finds a planted gap and accuses no equal groups at the rates that it states; here with fewer trials."""

from __future__ import annotations

import pytest

from weighbridge.controls import Control, controls, run_control

TRIALS = {"audit.fairness.interval": 200, "audit.fairness": 40, "audit.fairness.proxy": 6}
OWN = [one for one in controls() if one.instrument in TRIALS]


@pytest.mark.slow
@pytest.mark.parametrize("control", OWN, ids=lambda control: control.name)
def test_the_stated_rate_holds(control: Control) -> None:
    outcome = run_control(control, trials=TRIALS[control.instrument])
    assert outcome.holds, f"{outcome.right} of {outcome.n} where {control.low} to {control.high} are stated"


def test_each_instrument_has_a_planted_and_a_clean_case() -> None:
    assert {(one.instrument, one.kind) for one in OWN} == {(name, kind) for name in TRIALS for kind in ("planted", "clean")}
