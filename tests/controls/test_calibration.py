"""Law: the calibration audit and what mends it keep the rates that their controls state; here with fewer trials."""

from __future__ import annotations

import pytest

from weighbridge.controls import Control, controls, run_control

NAMES = {f"audit.calibration.{name}" for name in ("error", "worst_class", "overconfidence", "sets", "answered", "strange")}
MENDS = {f"optimization.adjust.{name}" for name in ("temperature", "isotonic", "thresholds")}
OWN = [one for one in controls() if one.instrument in NAMES | MENDS]
SLOWER = {"audit.calibration.error": 10, "optimization.adjust.thresholds": 6}


@pytest.mark.slow
@pytest.mark.parametrize("control", OWN, ids=lambda control: control.name)
def test_the_stated_rate_holds(control: Control) -> None:
    outcome = run_control(control, trials=SLOWER.get(control.instrument, 40))
    assert outcome.holds, f"{outcome.right} of {outcome.n} where {control.low} to {control.high} are stated"


def test_each_instrument_has_a_planted_and_a_clean_case() -> None:
    assert {(one.instrument, one.kind) for one in OWN} == {(name, kind) for name in NAMES | MENDS for kind in ("planted", "clean")}
