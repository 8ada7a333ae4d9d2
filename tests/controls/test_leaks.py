"""Law: every planted leak is found and named, and a hundred clean sets of twelve kinds pass (`weighbridge.controls` registers them)."""

from __future__ import annotations

import pytest

from weighbridge.controls import Control, controls, run_control
from weighbridge.data.controls_leaks import CLEAN, clean_set, outcome

ALL = [control for control in controls() if control.instrument.startswith("data.leak")]


def names(control: Control) -> str:
    return control.case.replace(" ", "-")


def test_every_leak_that_can_be_allowed_has_a_planted_case_and_there_is_a_clean_one() -> None:
    from typing import get_args

    from weighbridge.recipe.schema import Leak

    assert {control.instrument for control in ALL if control.kind == "planted"} == {f"data.leak.{name}" for name in get_args(Leak)}
    assert any(control.instrument == "data.leak" and control.kind == "clean" and control.trials >= 100 for control in ALL)


@pytest.mark.parametrize("control", ALL, ids=names)
def test_a_seed_of_each_control_in_the_quick_set(control: Control) -> None:
    assert run_control(control, trials=1).right == 1


@pytest.mark.slow
@pytest.mark.parametrize("control", ALL, ids=names)
def test_each_control_holds(control: Control) -> None:
    """A hundred clean sets, and forty of each planted leak: `weigh calibrate` runs a hundred."""
    found = run_control(control, trials=None if control.kind == "clean" else 40)
    assert found.n == (control.trials if control.kind == "clean" else 40)
    assert found.right == found.n


@pytest.mark.slow
def test_clean_sets_are_seldom_even_suspected() -> None:
    """Suspicions (limitations without a stop) on 96 clean sets; a single input without noise is one by right."""
    suspected = []
    for seed in range(8 * len(CLEAN)):
        columns, section = clean_set(seed)
        _, findings = outcome(columns, **section)
        suspected += [seed % len(CLEAN) for finding in findings if finding.key.startswith("data.leak.") and finding.verdict == "limitation"]
    honest = [kind for kind in suspected if CLEAN[kind].__name__ != "_single"]
    assert len(honest) <= 10, [CLEAN[kind].__name__ for kind in honest]
