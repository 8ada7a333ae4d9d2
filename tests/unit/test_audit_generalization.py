"""Law: a fall with time, a group that does worse and labels that leak are claimed where rows show them and not where they do not; what a
network learns by heart of labels that mean nothing stands beside its gap; what a run has no column for is said, and the rest is measured.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge import lifecycle
from weighbridge.audit import shift
from weighbridge.audit.controls_generalization import answered, hits
from weighbridge.audit.shuffled import by_chance
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Kind, Predictions
from weighbridge.findings import Finding, Message, by_key
from weighbridge.recipe import parse_recipe
from weighbridge.report.plots_audit_generalization import memorised, over_time
from weighbridge.storage.seeds import rng


def predictions(kind: Kind, n: int, seed: int) -> Predictions:
    """Return answers of a kind that have nothing to do with the truth."""
    random, ids = rng(seed, "test", kind), np.array([f"{row:04d}" for row in range(n)])
    if kind == "number":
        return Predictions(kind=kind, row_id=ids, target=random.normal(2, 1, n), output=random.normal(size=n))
    if kind == "set":
        sets = random.random((n, 3)) < 0.4
        return Predictions(kind=kind, row_id=ids, target=sets, output=random.random((n, 3)), classes=("a", "b", "c"))
    return answered(random.integers(0, 3, n), random.integers(0, 3, n))


@pytest.mark.parametrize("kind", ["category", "number", "set"])
def test_the_expected_score_is_the_mean_over_exchanged_labels(kind: Kind) -> None:
    known, random = predictions(kind, 200, 1), rng(1, "test", "exchange")
    drawn = []
    for _ in range(400):
        order = random.permutation(200)
        parts = {name: getattr(known, name) for name in ("kind", "row_id", "output", "classes")}
        drawn.append(HEADLINES[kind].value(Predictions(target=known.target[order], **parts)))
    expected = by_chance(known, 0, 0).expected
    assert expected == pytest.approx(np.mean(drawn), abs=0.01)


@pytest.mark.parametrize("kind", ["category", "number", "set"])
def test_answers_that_are_the_truth_are_above_chance_and_others_are_not(kind: Kind) -> None:
    known = predictions(kind, 120, 2)
    output = known.target.astype(float) if kind != "category" else np.eye(3)[known.target]
    told = Predictions(kind=kind, row_id=known.row_id, target=known.target, output=output, classes=known.classes)
    assert by_chance(told, 0, 199).p_value == pytest.approx(0.005)
    assert by_chance(known, 0, 199).p_value > 0.01


def test_one_class_only_is_at_chance() -> None:
    found = by_chance(answered(np.zeros(50, int), np.zeros(50, int)), 0, 99)
    assert (found.expected, found.p_value) == (1.0, 1.0)


def test_a_planted_fall_is_found_where_it_is() -> None:
    when = np.arange(800.0)
    found = shift.trend(hits(800, 0.95 - 0.3 * when / 799, rng(0, "test", "fall")), when)
    assert found.interval[1] < -0.1 < found.interval[0] + 0.4
    assert found.start == pytest.approx(0.95, abs=0.08)
    assert found.blocks.shape == (40, 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 1e3), st.floats(-1e3, 1e3))
def test_a_trend_depends_on_the_order_of_times_alone(seed: int, scale: float, start: float) -> None:
    random = rng(seed, "test", "order")
    when, score = random.permutation(150).astype(float), random.random(150)
    one, other = shift.trend(score, when), shift.trend(score, start + scale * when)
    assert one.value == pytest.approx(other.value)
    assert one.interval[0] <= one.value <= one.interval[1]
    assert shift.trend(score, -when).value == pytest.approx(-one.value)


def test_few_rows_or_one_time_are_no_trend() -> None:
    with pytest.raises(ValueError, match="too few"):
        shift.trend(np.ones(50), np.arange(50.0))
    with pytest.raises(ValueError, match="too few"):
        shift.trend(np.ones(500), np.zeros(500))


def test_a_group_that_does_worse_is_named_and_small_groups_are_left_out() -> None:
    random = rng(0, "test", "groups")
    group = np.concatenate([np.repeat(["a", "b", "c"], 100), ["tiny"] * 3])
    score = hits(303, np.where(group == "b", 0.5, 0.95), random)
    score[-3:] = 0
    found = shift.lowest_group(score, group, shares=True)
    assert found is not None
    assert (found.name, found.groups, found.worse, found.n) == ("b", 3, ("b",), 100)
    assert shift.lowest_group(score[:100], group[:100], shares=True) is None


def test_numbers_are_scored_by_their_error_and_sets_by_their_labels() -> None:
    known = predictions("number", 40, 3)
    assert shift.scores_of(known) == pytest.approx(-np.abs(known.output - known.target))
    empty = Predictions(
        kind="set", row_id=np.array(["a", "b"]), target=np.array([[False, False], [True, False]]),
        output=np.array([[0.1, 0.1], [0.9, 0.9]]), classes=("x", "y"),
    )  # fmt: skip
    assert shift.scores_of(empty).tolist() == [1.0, pytest.approx(2 / 3)]


def test_unknown_groups_are_held_against_known_ones() -> None:
    random, group = rng(0, "test", "unseen"), np.repeat([f"g{k}" for k in range(20)], 30)
    unseen = np.isin(group, [f"g{k}" for k in range(10)])
    score = hits(600, np.where(unseen, 0.6, 0.9), random)
    found = shift.unseen_against_seen(score, group, [f"g{k}" for k in range(10, 20)])
    assert found is not None
    assert found[1][1] < -0.1
    assert found[2] == 300
    assert shift.unseen_against_seen(score, group, ["none"]) is None


def say(message: Message) -> str:
    return str(message)


def test_what_is_not_of_the_form_is_not_drawn() -> None:
    assert memorised({"scores": []}, say) == ""
    assert over_time({"blocks": [[0, 1, 0.1]]}, say) == ""


def table(n: int = 700) -> str:
    random = np.random.default_rng(5)
    label = random.integers(0, 2, n)
    x = random.normal(size=n) + 2 * label
    late = np.arange(n) > 640
    x[late] = random.normal(size=int(late.sum())) + 1
    rows = [
        f"2024-{1 + i // 60:02d}-{1 + i % 28:02d},s{i % 4},{x[i]:.4f},{random.normal():.4f},{'yes' if label[i] else 'no'}" for i in range(n)
    ]
    return "\n".join(["day,shop,x,z,label", *rows]) + "\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Finding], Path]:
    folder = tmp_path_factory.mktemp("generalization")
    (folder / "t.csv").write_text(table(), encoding="utf-8")
    off = {name: False for name in ("calibration", "robustness", "explanation", "fairness", "privacy", "quality", "cost", "security")}
    recipe = parse_recipe(
        {
            "name": "run", "optimization": False, "audit": off,
            "data": {"source": (folder / "t.csv").as_posix(), "target": "label", "time": "day", "group": "shop",
                     "split": {"method": "time"}, "allow": ["group"], "columns": {"shop": "category"}},
            "training": {"model": {"type": "mlp", "size": "xs"}, "epochs": 6, "batch_size": 32, "threads": 1, "precision": "fp32"},
            "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
        }
    )  # fmt: skip
    made = lifecycle.run(recipe, folder / "run", until="audit")
    return [one for one in made if one.key.startswith("audit.generalization")], folder / "run"


@pytest.mark.slow
def test_a_run_with_time_and_groups_has_every_figure(found: tuple[list[Finding], Path]) -> None:
    keys = {one.key.split(".")[2] for one in found[0]}
    assert keys == {"gap", "memorised", "shuffled", "repeats", "time", "group"}
    measured = {one.key.split(".")[2]: one for one in found[0] if one.verdict != "unmeasured"}
    for name in ("gap", "memorised", "shuffled", "time", "group"):
        assert measured[name].interval is not None
        assert measured[name].n
    assert measured["shuffled"].verdict == "neutral"
    assert "evaluation.learning_curve" in str(measured["repeats"].reason)


@pytest.mark.slow
def test_the_evidence_is_drawn_and_the_training_is_cleared_away(found: tuple[list[Finding], Path]) -> None:
    place = found[1] / "audit"
    assert not (place / "shuffled").exists()
    assert "<svg" in memorised(json.loads((place / "generalization.json").read_text()), say)
    assert "<svg" in over_time(json.loads((place / "time.json").read_text()), say)


@pytest.mark.slow
def test_the_gap_stands_beside_that_of_shuffled_labels(found: tuple[list[Finding], Path]) -> None:
    gap = by_key(found[0], "audit.generalization.gap")
    assert gap is not None
    assert gap.reference is not None
    assert isinstance(gap.reference.value, float)
