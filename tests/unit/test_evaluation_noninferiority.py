"""Law: a form passes only where the rows show that it is not worse by the margin; on no number of rows does that err in more than 5 %."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multinomial, norm

from weighbridge.errors import DataError, UsageError
from weighbridge.evaluation.intervals import clopper_pearson
from weighbridge.evaluation.noninferiority import (
    draws,
    exact_p_value,
    margin_of,
    noninferior,
    null_weights,
    tango_score,
    units_of,
)
from weighbridge.evaluation.power import rows_of_classes, rows_to_decide
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling

HOW = Resampling(resamples=400, level=0.95, seed=0)


def ids(n: int) -> np.ndarray:
    return np.char.zfill(np.arange(n).astype(str), 6)


def right(hits: np.ndarray, name: str = "form", group: np.ndarray | None = None) -> Predictions:
    """Predictions of two classes that are right exactly where `hits` is true."""
    target = np.arange(len(hits)) % 2
    output = np.eye(2)[np.where(hits, target, 1 - target)]
    return Predictions(kind="category", row_id=ids(len(hits)), target=target, output=output, classes=("a", "b"), model=name, group=group)


def differing(n: int, won: int, lost: int) -> tuple[Predictions, Predictions]:
    """A form and its original: so many rows that only one of them gets right."""
    form, original = np.ones(n, dtype=bool), np.ones(n, dtype=bool)
    original[:won], form[won : won + lost] = False, False
    return right(form), right(original, "original")


def number(off: np.ndarray, name: str = "form", scale: float = 1.0) -> Predictions:
    target = np.zeros(len(off))
    return Predictions(kind="number", row_id=ids(len(off)), target=target, output=scale * off, model=name)


def outcomes(n: int) -> list[tuple[int, int]]:
    return [(won, lost) for won in range(n + 1) for lost in range(n + 1 - won)]


def test_the_score_rises_with_wins_and_falls_with_losses() -> None:
    """On this rests that the edge of the hypothesis is its worst case (Barnard's convexity)."""
    for n, margin in itertools.product((1, 2, 7, 30), (0.001, 0.01, 0.1, 0.5, -0.1, -0.5)):
        table = np.full((n + 2, n + 2), np.nan)
        for won, lost in outcomes(n):
            table[won, lost] = tango_score(won, lost, n, margin)
        assert np.nanmin(np.diff(table, axis=0)) >= -1e-9
        assert np.nanmax(np.diff(table, axis=1)) <= 1e-9


@pytest.mark.parametrize(("n", "margin"), [(12, 0.05), (12, 0.3), (25, 0.1), (40, 0.05)])
def test_a_form_worse_by_the_margin_or_more_passes_in_at_most_5_percent_and_the_naive_test_in_more(n: int, margin: float) -> None:
    """No simulation: the probability of every outcome, summed, at the edge of the hypothesis and beyond it."""
    counts = np.array(outcomes(n))
    passes = np.array([exact_p_value(int(won), int(lost), n, margin) < 0.05 for won, lost in counts])
    naive = norm.sf(tango_score(counts[:, 0], counts[:, 1], n, margin)) < 0.05
    cells = np.concatenate([counts, n - counts.sum(axis=1, keepdims=True)], axis=1)
    sizes, naive_sizes = [], []
    for loss in (margin, 1.2 * margin, 2 * margin):
        for won in np.linspace(0, (1 - loss) / 2, 40):
            chance = multinomial.pmf(cells, n, [won, won + loss, max(1 - 2 * won - loss, 0.0)])
            sizes.append(chance[passes].sum())
            naive_sizes.append(chance[naive].sum())
    assert max(sizes) <= 0.05
    assert max(naive_sizes) > max(sizes)


@pytest.mark.parametrize("margin", [0.1, 0.25])
def test_a_form_within_the_margin_is_called_worse_in_at_most_5_percent(margin: float) -> None:
    n, counts = 20, np.array(outcomes(20))
    called = np.array([exact_p_value(int(won), int(lost), n, margin, worse=True) < 0.05 for won, lost in counts])
    cells = np.concatenate([counts, n - counts.sum(axis=1, keepdims=True)], axis=1)
    for loss in (margin, 0.5 * margin, 0.0):
        for won in np.linspace(0, (1 - loss) / 2, 40):
            chance = multinomial.pmf(cells, n, [won, won + loss, max(1 - 2 * won - loss, 0.0)])
            assert chance[called].sum() <= 0.05
    assert called.any()


def test_the_p_value_is_the_worst_sum_over_outcomes_at_least_as_extreme() -> None:
    n, margin = 15, 0.1
    counts = np.array(outcomes(n))
    scores = tango_score(counts[:, 0], counts[:, 1], n, margin)
    cells = np.concatenate([counts, n - counts.sum(axis=1, keepdims=True)], axis=1)
    for won, lost in ((0, 0), (3, 2), (5, 0), (1, 4)):
        extreme = scores >= tango_score(won, lost, n, margin) - 1e-9
        low, high = clopper_pearson(won, n, 1 - 1e-5)  # rates that the wins allow (Berger and Boos)
        rates = np.linspace(low, min(high, (1 - margin) / 2), 400)
        worst = max(multinomial.pmf(cells, n, [rate, rate + margin, 1 - 2 * rate - margin])[extreme].sum() for rate in rates)
        assert exact_p_value(won, lost, n, margin) == pytest.approx(min(worst, 1 - 1e-5) + 1e-5, abs=0.002)


@pytest.mark.parametrize("n", [30, 275, 298, 299, 5000])
def test_rows_that_all_agree_show_what_the_rule_of_three_says(n: int) -> None:
    """Without a differing row the loss may still be what n rows miss: (1 - margin)^n. Tango's normal tail passes at 0.063."""
    assert exact_p_value(0, 0, n, 0.01) == pytest.approx(0.99**n + 1e-5, rel=1e-6)
    form, original = differing(n, 0, 0)
    assert (noninferior(form, original, HOW, margin=0.01).p_value < 0.05) == (n >= 299)
    assert norm.sf(tango_score(0, 0, 275, 0.01)) < 0.05 < 0.99**275


def test_the_exact_test_meets_the_normal_tail_on_many_rows() -> None:
    assert exact_p_value(1000, 1020, 10_000, 0.01) == pytest.approx(float(norm.sf(tango_score(1000, 1020, 10_000, 0.01))), rel=2e-3)
    assert exact_p_value(50_000, 50_100, 1_000_000, 0.001) < 0.01


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 0.3), st.floats(0.6, 0.99))
def test_bound_and_test_say_the_same(n: int, won: float, lost: float, margin: float, level: float) -> None:
    wins = round(won * n)
    form, original = differing(n, wins, round(lost * (n - wins)))
    found = noninferior(form, original, HOW, margin=margin, level=level)
    assert (found.lower > -margin) == (found.p_value < 1 - level) or abs(found.lower + margin) < 1e-6
    assert -1 <= found.interval[0] <= found.lower <= found.difference <= found.interval[1] <= 1
    assert 0 <= found.p_value <= 1
    assert found.p_value + found.p_worse >= 1 - 1e-9, "both can not be refuted"


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 60), st.floats(0, 1), st.floats(0.5, 2), st.floats(0.01, 0.3), st.integers(0, 1000))
def test_bound_and_test_say_the_same_of_numbers(n: int, noise: float, times: float, margin: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    off = random.normal(size=n)
    found = noninferior(number(times * off + noise * random.normal(size=n)), number(off, "original"), HOW, margin=margin)
    assert found.test == "tilted"
    assert (found.lower > -margin) == (found.p_value < 0.05) or abs(found.lower + margin) < 1e-3 * max(1.0, abs(found.difference))
    assert found.lower <= found.difference
    assert found.interval[0] <= found.difference <= found.interval[1]


def test_the_order_of_rows_does_not_matter_and_other_rows_are_refused() -> None:
    form, original = differing(200, 5, 9)
    turned = replace(original, row_id=original.row_id[::-1], target=original.target[::-1], output=original.output[::-1])
    assert noninferior(form, turned, HOW, margin=0.02) == noninferior(form, original, HOW, margin=0.02)
    with pytest.raises(DataError, match="do not predict the same rows"):
        noninferior(form, differing(100, 0, 0)[1], HOW, margin=0.02)


def test_the_margin_of_numbers_is_a_share_of_the_error() -> None:
    random = np.random.default_rng(0)
    off, own = random.normal(size=100), random.normal(size=100)
    small, large = (
        noninferior(number(off + 0.2 * own, scale=scale), number(off, "original", scale=scale), HOW, margin=0.05 * scale * rmse(off))
        for scale in (1.0, 1000.0)
    )
    assert small.p_value == large.p_value
    assert large.lower == pytest.approx(1000 * small.lower, rel=1e-3)
    assert margin_of("number", 20.0, 0.01) == pytest.approx(0.2)
    assert margin_of("category", 0.9, 0.01) == margin_of("set", 0.4, 0.01) == 0.01


def rmse(off: np.ndarray) -> float:
    return math.sqrt(float((off**2).mean()))


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, math.nan])
def test_a_margin_that_says_nothing_is_refused_in_one_line(margin: float) -> None:
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        margin_of("category", 0.9, margin)
    if margin != 0:
        with pytest.raises(UsageError, match="can not be tested"):
            noninferior(*differing(50, 0, 0), HOW, margin=margin)


def test_a_margin_of_0_asks_whether_the_form_is_better() -> None:
    assert noninferior(*differing(300, 20, 2), HOW, margin=0.0).p_value < 0.001
    assert noninferior(*differing(300, 0, 0), HOW, margin=0.0).p_value == 1.0


def test_groups_count_and_not_their_rows() -> None:
    """Two thousand rows of forty patients that all agree; taken for independent they would decide."""
    hits = np.ones(2000, dtype=bool)
    few, many = np.repeat(np.arange(40), 50), np.repeat(np.arange(5), 400)
    lost = hits.copy()
    lost[:60] = False  # one patient, and a part of the next
    alone = noninferior(right(lost), right(hits, "original"), HOW, margin=0.04)
    grouped = noninferior(right(lost, group=few), right(hits, "original", group=few), HOW, margin=0.04)
    assert alone.p_value < 0.05 < grouped.p_value
    assert grouped.test == "tilted"
    none = noninferior(right(lost, group=many), right(hits, "original", group=many), HOW, margin=0.04)
    assert (none.test, none.p_value, none.p_worse, none.lower) == ("none", 1.0, 1.0, -1.0)
    assert rows_to_decide(right(lost, group=many), right(hits, "original", group=many), HOW, 0.04, 0.95) is None


def test_the_weights_of_the_hypothesis_are_those_of_tango() -> None:
    """With wins, losses and ties the likeliest distribution at the margin is the trinomial of Tango's score, seen losses or not."""
    n, margin = 200, 0.05
    for won, lost in ((0, 0), (6, 0), (9, 12), (30, 20)):
        values = np.array([-1.0, 0.0, 1.0]) + margin
        shares = np.array([lost, n - won - lost, won]) / n
        kept = shares > 0
        support, weights = null_weights(values[kept] / (1 - margin) / (1 + 1e-9), shares[kept])
        assert weights.sum() == pytest.approx(1)
        assert support @ weights == pytest.approx(0, abs=1e-9)
        linear = -(won + lost) - (2 * n - won + lost) * margin
        likeliest = (math.sqrt(linear**2 - 8 * n * lost * margin * (1 + margin)) - linear) / (4 * n)
        assert weights[support <= -1 + 1e-6].sum() == pytest.approx(likeliest, abs=1e-6)


def test_draws_follow_their_weights() -> None:
    values, weights = np.array([-1.0, 0.0, 0.5]), np.array([0.01, 0.9, 0.09])
    means, squares = (np.concatenate(parts) for parts in zip(*draws(values, weights, 50, 4000, np.random.default_rng(0)), strict=True))
    assert means.shape == squares.shape == (4000,)
    assert means.mean() == pytest.approx(values @ weights, abs=0.001)
    assert squares.mean() == pytest.approx(values**2 @ weights, abs=0.002)


def test_the_units_have_the_headline_as_their_mean() -> None:
    random = np.random.default_rng(1)
    truth = random.random((60, 3)) < 0.4
    sides = [
        Predictions(kind="set", row_id=ids(60), target=truth, output=random.random((60, 3)), classes=("x", "y", "z"), model=name)
        for name in ("form", "original")
    ]
    units = units_of(*sides)
    for share, side in zip((units.form, units.original), sides, strict=True):
        both = (truth & side.chosen).sum()
        assert share.mean() == pytest.approx(2 * both / (truth.sum() + side.chosen.sum()))
    found = noninferior(*sides, HOW, margin=0.05)
    assert found.difference == pytest.approx(units.form.mean() - units.original.mean())


def test_more_rows_are_named_where_more_are_needed() -> None:
    assert rows_of_classes(0.0, 0.0, 0.01, 0.95, 0) == 299
    found = [rows_of_classes(0.02, 0.02, margin, level, 0) for margin, level in ((0.02, 0.95), (0.01, 0.95), (0.01, 0.99))]
    assert all(found)
    assert found == sorted(found)
    form, original = differing(500, 5, 6)
    assert rows_to_decide(form, original, HOW, 0.01, 0.95) > 500
    assert rows_to_decide(*differing(500, 5, 10), HOW, 0.01, 0.95) is None, "the difference seen is the margin itself"
    assert rows_to_decide(*differing(500, 0, 20), HOW, 0.01, 0.95) is None
    assert rows_of_classes(0.1, 0.1 + 0.009999999, 0.01, 0.95, 0) is None, "beyond 10^9"


def test_the_rows_named_are_those_of_the_normal_approximation_where_many_rows_differ() -> None:
    """Between two correlated rates: (z + z')^2 times the variance over the squared distance to the margin."""
    found = rows_of_classes(0.10, 0.10, 0.01, 0.95, 0)
    assert found == pytest.approx((1.6449 + 0.8416) ** 2 * 0.2 / 0.01**2, rel=0.06)


def test_rows_of_numbers_are_named_from_their_differences() -> None:
    random = np.random.default_rng(2)
    off = random.normal(size=300)
    near, far = (rows_to_decide(number(off + noise * random.normal(size=300)), number(off, "o"), HOW, 0.05, 0.95) for noise in (0.05, 0.2))
    assert near < far
    assert rows_to_decide(number(1.5 * off), number(off, "o"), HOW, 0.05, 0.95) is None


def test_the_binomial_of_the_exact_test_is_scipys() -> None:
    """Only losses: the p-value is a plain binomial sum."""
    n, margin, lost = 300, 0.05, 7
    tail = float(binom.cdf(lost, n, margin))
    assert exact_p_value(0, lost, n, margin) >= tail
    assert exact_p_value(0, lost, n, margin) == pytest.approx(tail, abs=0.02)
