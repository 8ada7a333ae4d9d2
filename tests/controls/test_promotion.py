"""Law: in 100 cycles an equal model is promoted in at most 5 %, poisoned feedback never, a worse one is withdrawn; the queue for labels
gives unbiased estimates, and its rows teach more than random ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import Record
from weighbridge.controls import controls, run_control
from weighbridge.feedback import controls_promotion as cycles
from weighbridge.feedback.select import select, unsureness
from weighbridge.storage.seeds import rng

TRIALS = {"feedback.gate": 30, "feedback.canary": 12, "feedback.influence": 6, "feedback.select": 20}
WANTED = [one for one in controls() if one.instrument in TRIALS]


@pytest.mark.slow
@pytest.mark.parametrize("control", WANTED, ids=lambda control: control.name)
def test_every_control_of_the_circle_holds(control: object) -> None:
    outcome = run_control(control, trials=TRIALS[control.instrument])  # type: ignore[arg-type, attr-defined]
    assert outcome.holds, f"{outcome.right} of {outcome.n}"


@pytest.mark.slow
def test_in_a_hundred_cycles_lies_are_never_promoted_and_equal_models_seldom(record: Record) -> None:
    equal = sum(cycles.passes(rng(seed, "cycle", "equal"), 0.0, 0.0) for seed in range(100))
    poisoned = sum(cycles.lies(rng(seed, "cycle", "poisoned"), cycles.LIE)[1] for seed in range(30))
    assert equal <= 5
    assert poisoned == 0
    record("loop.equal", equal / 100, n=100)
    record("loop.poisoned", poisoned / 30, n=30)


def test_chosen_rows_teach_more_than_random_ones_on_handwritten_digits() -> None:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    pixels, target = load_digits(return_X_y=True)
    gains = []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(target))
        pool, test, begun = order[:1000], order[1000:], order[:40]
        first = LogisticRegression(max_iter=300).fit(pixels[begun] / 16, target[begun])
        rest = pool[40:]
        score = unsureness(first.predict_proba(pixels[rest] / 16), "category")
        asked = rest[select(score, pixels[rest], rows=60, random=0.2, seed=seed).place]
        drawn = rest[:60]
        told = []
        for rows in (asked, drawn):
            known = np.concatenate([begun, rows])
            told.append(LogisticRegression(max_iter=300).fit(pixels[known] / 16, target[known]).score(pixels[test] / 16, target[test]))
        gains.append(told[0] - told[1])
    print(f"accuracy gained over random rows: {np.round(gains, 3)}")
    assert np.mean(gains) > 0
