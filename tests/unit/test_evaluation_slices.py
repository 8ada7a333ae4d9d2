"""Law: a weak slice is found on some rows and judged on others; its words mean exactly the rows that were judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.evaluation.controls_spread import no_weak_slice, weak_range, weak_value
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.slice_findings import slice_findings
from weighbridge.evaluation.slice_inputs import Condition, Feature, holds
from weighbridge.evaluation.slices import _nodes, find_slices, one_sided, slices_json


def answers(right: np.ndarray, group: np.ndarray | None = None) -> Predictions:
    target = np.arange(len(right)) % 2
    chosen = np.where(right, target, 1 - target)
    output = np.stack([1 - chosen, chosen], axis=1).astype(float)
    ids = np.char.zfill(np.arange(len(right)).astype(str), 6)
    return Predictions(kind="category", row_id=ids, target=target, output=output, classes=("a", "b"), group=group)


def inputs(random: np.random.Generator, n: int) -> list[Feature]:
    hours = random.integers(0, 60, n).astype(float)
    hours[random.random(n) < 0.1] = np.nan
    tags = np.empty(n, dtype=object)
    tags[:] = [("hot", "wet") if flip else None if other else ("wet",) for flip, other in random.random((n, 2)) < 0.3]
    return [
        Feature(name="hours", kind="number", values=hours, middle=30.0),
        Feature(name="sex", kind="category", values=random.choice(np.array(["f", "m", None], dtype=object), n)),
        Feature(name="when", kind="date", values=random.integers(18000, 19000, n).astype(float), middle=18500.0),
        Feature(name="tags", kind="set", values=tags),
    ]


@pytest.mark.parametrize("trial", [weak_value, weak_range, no_weak_slice])
def test_a_planted_slice_is_found_and_a_clean_set_is_quiet(trial: object) -> None:
    """A first look; tests/controls/test_spread.py measures the rates."""
    assert callable(trial)
    assert trial(1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_words_of_a_node_name_exactly_its_rows(seed: int) -> None:
    random = np.random.default_rng(seed)
    features = inputs(random, 400)
    named = {feature.name: feature for feature in features}
    nodes = _nodes(random.random(400), features, 3, 30, seed=1)
    assert nodes
    for conditions, rows in nodes:
        told = np.all([holds(condition, named[condition.name]) for condition in conditions], axis=0)
        assert np.array_equal(told, rows), [condition.words for condition in conditions]


def test_conditions_are_said_in_signs() -> None:
    said = [
        Condition(name="hours", relation="<=", bound=20.0).words,
        Condition(name="hours", relation=">", bound=20.5, with_missing=True).words,
        Condition(name="sex", relation="=", value="Female").words,
        Condition(name="work", relation="!=", value=None).words,
        Condition(name="when", relation="<=", bound=18264.0, date=True).words,
        Condition(name="tags", relation="not in", value="hot").words,
    ]
    assert said == ["hours ≤ 20", "hours > 20.5 | NA", "sex = Female", "work ≠ NA", "when ≤ 2020-01-03", "tags ∌ hot"]


def test_a_bound_is_the_shortest_number_that_cuts_the_same_rows() -> None:
    values = np.array([1.0, 2.0, 19.0, 20.0, 21.0, 40.0])
    question, _ = Feature(name="x", kind="number", values=values).columns()[0]
    assert question(20.5, True).bound == 20.0


def test_rows_of_a_group_do_not_count_as_independent() -> None:
    """Ten groups, one of them wrong throughout: over rows the slice is beyond doubt, over groups nothing is shown."""
    group = np.repeat(np.arange(12), 20)
    loss = (group == 0).astype(float)
    mask = np.isin(group, [0, 1, 2])
    assert one_sided(loss, mask, None) < 1e-6
    assert one_sided(loss, mask, group) > 0.05


def test_a_slice_is_told_with_the_rest_its_interval_and_how_many_were_tested() -> None:
    random = np.random.default_rng(3)
    sides = []
    for n in (1200, 1600):
        made = inputs(random, n)
        weak = made[1].values == "f"
        sides.append((answers(random.random(n) < np.where(weak, 0.6, 0.9)), made))
    found = find_slices(*sides[0], *sides[1], seed=0)
    first, *others = slice_findings(found, sides[1][0], 1200, "weigh evaluate runs/a")
    assert str(first.title) == "Weak slice, share right where sex = f"
    assert first.verdict == "limitation"
    assert first.interval is not None
    assert first.reference is not None
    assert first.interval[0] < 0.6 < first.interval[1] < 0.9
    assert first.reference.value == pytest.approx(0.9, abs=0.03)
    assert f"{found.tested} slices" in str(first.method)
    assert all(one.verdict == "neutral" for one in others)
    assert slices_json(found, "category")["slices"][0]["where"] == ["sex = f"]


def test_too_few_rows_give_no_slice_and_say_so() -> None:
    random = np.random.default_rng(3)
    model, made = answers(random.random(100) < 0.8), inputs(random, 100)
    finding = slice_findings(find_slices(model, made, model, made, seed=0), model, 100, "c")[0]
    assert finding.verdict == "unmeasured"
