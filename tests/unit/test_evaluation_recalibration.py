"""Law: what validation rows fitted is judged on others; a map rises; thresholds by group bring rates together, at a price that is told."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.audit.controls_calibration import gap_and_accuracy, groups
from weighbridge.evaluation import Predictions, populations
from weighbridge.evaluation.adjustment import Adjustment, Isotonic, Kind, Offsets, Temperature
from weighbridge.evaluation.recalibration import (
    COLDEST,
    LEAST_GAP,
    MOST_KNOTS,
    fit_isotonic,
    fit_temperature,
    losses,
    saved_on_unseen,
    temperature_interval,
)
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.thresholds import RATES, Constraint, fit_thresholds, groups_of
from weighbridge.storage.seeds import rng

THREE, TWO, LABELS = populations.many_classes(3, 1.5), populations.two_classes(), populations.label_sets()
HOW = Resampling(resamples=200, seed=0)


def draw(population: populations.Population, n: int, seed: int = 0) -> Predictions:
    return population(n, rng(seed, "test"))


@pytest.mark.parametrize("population", [TWO, THREE], ids=["two", "three"])
def test_the_temperature_of_squared_probabilities_is_two(population: populations.Population) -> None:
    sure = draw(populations.surer(population), 4000)
    fitted = fit_temperature(sure)
    low, high = temperature_interval(sure, fitted)
    assert low < 2 < high
    assert high - low < 0.5
    assert losses(replace(sure, output=fitted.applied(sure.output, "category"))).mean() < losses(sure).mean() - 0.05


def test_rows_without_a_mistake_do_not_freeze_the_temperature() -> None:
    target = np.arange(40) % 2
    right = np.where(target[:, None] == np.arange(2), 0.9, 0.1)
    fitted = fit_temperature(Predictions(kind="category", row_id=populations.ids(40), target=target, output=right, classes=("a", "b")))
    assert np.exp(COLDEST) * 2 < fitted.value < 1


@pytest.mark.parametrize("population", [TWO, THREE, LABELS], ids=["two", "three", "labels"])
def test_a_map_rises_and_has_few_knots_and_every_row_keeps_probabilities(population: populations.Population) -> None:
    rows = draw(population, 1500)
    step = fit_isotonic(rows)
    assert (np.diff(step.x, axis=1) >= LEAST_GAP - 1e-12).all()
    assert (np.diff(step.y, axis=1) >= 0).all()
    assert step.x.shape[1] <= MOST_KNOTS
    kind: Kind = "set" if rows.kind == "set" else "category"
    adjusted = step.applied(rows.output, kind)
    assert ((adjusted > 0) & (adjusted < 1)).all()
    replace(rows, output=adjusted)  # which checks that they are probabilities


def test_a_map_of_two_classes_keeps_the_order_of_rows() -> None:
    rows = draw(TWO, 1500)
    adjusted = fit_isotonic(rows).applied(rows.output, "category")
    order = np.argsort(rows.output[:, 1])
    assert (np.diff(adjusted[order, 1]) >= -1e-12).all()


def test_a_map_mends_what_a_temperature_can_not() -> None:
    """Stated 0.1 too high everywhere: no factor of the log-odds mends it."""
    off = draw(populations.stated_above(0.1), 3000)
    assert saved_on_unseen(off, lambda rows: Adjustment(kind="category", steps=(fit_isotonic(rows),)), HOW).interval[0] > 0
    step = fit_isotonic(off)
    fresh = draw(populations.stated_above(0.1), 3000, 1)
    gap = step.applied(fresh.output, "category")[:, 1].mean() - fresh.target.mean()
    assert abs(gap) < 0.03


def test_whole_groups_are_held_out_when_what_is_saved_is_measured() -> None:
    rows = draw(populations.clustered(10), 200)
    soft = replace(rows, output=np.where(rows.output > 0.5, 0.8, 0.2))
    seen: list[set[str]] = []

    def fit(part: Predictions) -> Adjustment:
        assert part.group is not None
        seen.append(set(part.group.tolist()))
        return Adjustment(kind="category", steps=(Temperature(value=1.0),))

    saved = saved_on_unseen(soft, fit, HOW)
    assert saved.saved == pytest.approx(0, abs=1e-9)
    everyone = set(soft.group.tolist())  # type: ignore[union-attr]
    held = [everyone - part for part in seen]
    assert set.union(*held) == everyone
    assert all(not one & other for one, other in pairwise(held))


@pytest.mark.parametrize("alike", list(RATES))
def test_thresholds_bring_the_rates_of_groups_together(alike: Constraint) -> None:
    score, positive, codes = groups(3000, np.random.default_rng(1), (0.5, 0.2))
    fitted = fit_thresholds(score, positive, codes, 4, alike)
    assert fitted.gap < 0.03 < 0.15 < fitted.gap_before
    assert fitted.accuracy_before > fitted.accuracy > fitted.accuracy_before - 0.15
    chosen = score + fitted.offsets[codes] > 0
    assert (chosen == positive).mean() == pytest.approx(fitted.accuracy)


def test_the_offsets_are_the_thresholds_of_the_package() -> None:
    score, positive, codes = groups(800, np.random.default_rng(2), (0.5, 0.2))
    fitted = fit_thresholds(score, positive, codes, 4, "equalized_odds")
    output = 1 / (1 + np.exp(-np.stack([-score, score], axis=1)))
    step = Offsets(column="g", place=0, values=fitted.offsets)
    after = step.applied(output, "category", codes[:, None])
    assert np.array_equal(after[:, 1] > 0.5, score + fitted.offsets[codes] > 0)
    assert Isotonic.scores(output, "category")[:, 0] == pytest.approx(score)


def test_a_group_of_few_rows_shares_the_threshold_of_all_and_is_not_judged() -> None:
    score, positive, codes = groups(600, np.random.default_rng(3), (0.5, 0.2))
    codes[:3] = 4
    fitted = fit_thresholds(score, positive, codes, 6, "equalized_odds")
    assert [group.codes for group in fitted.groups] == [(2,), (3,), (0, 1, 4, 5)]
    assert [group.judged for group in fitted.groups] == [True, True, False]
    assert len(set(fitted.offsets[[0, 1, 4, 5]])) == 1


def test_one_group_is_refused() -> None:
    score, positive, _ = groups(200, np.random.default_rng(4), (0.5, 0.5))
    with pytest.raises(ValueError, match="two groups"):
        fit_thresholds(score, positive, np.full(200, 2), 3, "demographic_parity")


def test_groups_that_fare_alike_keep_one_threshold() -> None:
    """Nothing is changed for a gap under 0.01, or one that costs more than it mends."""
    score = np.tile(np.linspace(-3, 3, 300), 2)
    positive, codes = np.tile(np.linspace(-3, 3, 300) > 0.2, 2), np.repeat([2, 3], 300)
    fitted = fit_thresholds(score, positive, codes, 4, "equalized_odds")
    assert fitted.gap_before == 0
    assert fitted.accuracy >= fitted.accuracy_before
    assert fitted.offsets[2] == pytest.approx(fitted.offsets[3])


@given(st.integers(0, 10**6), st.sampled_from(list(RATES)))
@settings(max_examples=20, deadline=None)
def test_thresholds_are_never_a_worse_bargain_than_one_for_all(seed: int, alike: Constraint) -> None:
    random = np.random.default_rng(seed)
    score, positive, codes = groups(300, random, (float(random.uniform(0.2, 0.8)), float(random.uniform(0.2, 0.8))))
    fitted = fit_thresholds(score, positive, codes, 4, alike)
    assert fitted.accuracy - 2 * max(fitted.gap - 0.01, 0) >= fitted.accuracy_before - 2 * max(fitted.gap_before - 0.01, 0) - 1e-9
    assert np.isfinite(fitted.offsets).all()


def test_rates_of_a_group_s_thresholds_are_those_of_counting() -> None:
    score, positive, codes = groups(120, np.random.default_rng(5), (0.5, 0.4))
    group = groups_of(score, positive, codes, 4, "equalized_odds")[0]
    own = codes == 2
    for place in (0, len(group.thresholds) // 2, len(group.thresholds) - 1):
        chosen = score[own] > group.thresholds[place]
        assert group.selected[place] == pytest.approx(chosen.mean())
        assert group.true_positive[place] == pytest.approx(chosen[positive[own]].mean())
        assert group.false_positive[place] == pytest.approx(chosen[~positive[own]].mean())
        assert group.right[place] == (chosen == positive[own]).sum()
    assert gap_and_accuracy(score, positive, codes)[1] > 0.5
