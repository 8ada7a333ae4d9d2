"""Law: seeds are not rows. The spread over seeds is told with what it rests on, and a difference smaller than it is never told alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.evaluation.comparison import compare
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.seeds import mean_over_seeds, mention_spread, seeds_finding, spread
from weighbridge.findings import Finding, Message, Reference

HOW = Resampling(resamples=300, seed=1)


def answers(right: Any, name: str = "model") -> Predictions:
    right = np.asarray(right, dtype=bool)
    target = np.arange(len(right)) % 2
    chosen = np.where(right, target, 1 - target)
    return Predictions(
        kind="category", row_id=np.char.zfill(np.arange(len(right)).astype(str), 5), target=target, classes=("a", "b"), model=name,
        output=np.stack([1 - chosen, chosen], axis=1).astype(float),
    )  # fmt: skip


def networks(count: int, rows: int = 300, *, between: float = 0.02, seed: int = 0) -> list[Predictions]:
    random = np.random.default_rng(seed)
    return [answers(random.random(rows) < 0.8 + between * random.normal()) for _ in range(count)]


def test_the_mean_is_that_of_the_seeds_and_lies_in_its_interval() -> None:
    models = networks(4)
    found = spread(models, HOW)
    accuracies = [float((one.chosen == one.target).mean()) for one in models]
    assert found.values == pytest.approx(accuracies)
    assert found.mean.value == pytest.approx(np.mean(accuracies))
    assert found.deviation == pytest.approx(np.std(accuracies, ddof=1))
    assert found.mean.interval[0] < found.mean.value < found.mean.interval[1]
    assert found.deviation_interval[0] < found.deviation < found.deviation_interval[1]


def test_more_seeds_on_the_same_rows_do_not_pass_for_more_rows() -> None:
    """Equal networks: ten of them tell no more than one, where pooled rows would claim an interval three times narrower."""
    one = networks(1)[0]
    low, high = mean_over_seeds([one] * 10, HOW).interval
    rate = float((one.chosen == one.target).mean())
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(rate * (1 - rate) / len(one)), rel=0.15)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6), st.integers(10, 80), st.integers(0, 10_000))
def test_the_interval_is_ordered_within_bounds_and_the_same_for_the_same_seed(seeds: int, rows: int, seed: int) -> None:
    models = networks(seeds, rows, between=0.1, seed=seed)
    first, again = (mean_over_seeds(models, HOW) for _ in range(2))
    assert first == again
    assert 0 <= first.interval[0] <= first.value <= first.interval[1] <= 1


def test_seeds_that_are_always_right_get_the_exact_bound_of_their_rows() -> None:
    low, high = mean_over_seeds([answers([True] * 50)] * 3, HOW).interval
    assert high == 1.0
    assert low == pytest.approx(0.025 ** (1 / 50), abs=1e-6)


def test_fewer_than_three_seeds_say_that_the_spread_is_not_known() -> None:
    finding = seeds_finding(networks(2), [], HOW, "weigh evaluate runs/a")
    assert finding.verdict == "unmeasured"
    assert "2 seeds were trained" in str(finding.reason)


def test_the_verdict_goes_by_the_lead_over_the_best_baseline_on_the_mean_of_the_seeds() -> None:
    models = networks(5, 2000)
    random = np.random.default_rng(9)
    verdicts = {
        share: seeds_finding(models, [answers(random.random(2000) < share, "linear")], HOW, "c").verdict for share in (0.6, 0.8, 0.95)
    }
    assert verdicts == {0.6: "advantage", 0.8: "neutral", 0.95: "limitation"}


@pytest.mark.parametrize("word", ["better", "worse", "not measurably"])
def test_a_difference_smaller_than_the_spread_is_told_with_it_and_a_larger_one_as_it_was(word: str) -> None:
    models = networks(4, between=0.05)
    deviation = spread(models, HOW).deviation
    template = f"{word} than {{name}} (p {{p}})"
    made = [
        Finding(
            key=f"evaluation.against.{name}", title=Message("x"), value=size, reason=Message(template, name=name, p="= 0.01"),
            reference=Reference(name=Message("x"), difference=size),
        )
        for name, size in (("small", deviation / 2), ("large", deviation * 2))
    ]  # fmt: skip
    small, large = mention_spread(made, models)
    assert "spread from seed to seed" in str(small.reason)
    assert str(small.reason).startswith(word)
    assert large == made[1]
    assert mention_spread(made, models[:2]) == made  # two seeds know no spread


def test_the_lead_on_the_mean_of_equal_seeds_is_the_paired_difference() -> None:
    models, other = [networks(1)[0]] * 3, answers(np.random.default_rng(4).random(300) < 0.6, "other")
    lead, paired = mean_over_seeds(models, HOW, other=other), compare(models[0], other, HOW)
    assert lead.value == pytest.approx(paired.difference)
    assert lead.interval == pytest.approx(paired.interval, abs=0.02)
