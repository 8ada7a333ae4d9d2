"""Law: a row counts as its column says, and by reweighing so that groups and classes go together by chance; killed anywhere, a weighted
training ends with the same bits.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge import lifecycle, training
from weighbridge.errors import DataError, RecipeError, Stopped
from weighbridge.findings import by_key
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.training.beside import MISSING, column_beside, crossed, groups_beside
from weighbridge.training.weights import reweighing, row_weights, worth

FIXED = {"batch_size": 16, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}
CODES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=80)


def table(count: int = 240) -> str:
    """Return rows whose class goes with the group, with a column of weights, ages, and a few groups that are not known."""
    random = np.random.default_rng(4)
    group = random.random(count) < 0.4
    label = random.random(count) < np.where(group, 0.7, 0.3)
    x = random.normal(size=count) + label
    lines = [
        f"{x[i]:.4f},{'' if i % 40 == 7 else 'ab'[int(group[i])]},{20 + i % 50},{1 + (i % 3)},{'yes' if label[i] else 'no'}"
        for i in range(count)
    ]
    return "\n".join(["x,group,age,counts,label", *lines]) + "\n"


def recipe_of(folder: Path, *, data: dict[str, object] | None = None, **training_keys: object) -> Recipe:
    (folder / "table.csv").write_text(table(), encoding="utf-8")
    return parse_recipe(
        {
            "name": "run", "data": {"source": (folder / "table.csv").as_posix(), "target": "label", "protected": ["group"], **(data or {})},
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 3, **training_keys},
            "optimization": False, "audit": False, "deployment": {"enabled": False},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> training.Course:
    """A course over encoded rows with a column of weights; the recipe asks for no reweighing yet."""
    folder = tmp_path_factory.mktemp("weights")
    recipe = recipe_of(folder, data={"weight": "counts"})
    lifecycle.run(recipe, folder / "run", until="preprocessing")
    return training.Course.of_run(folder / "run", recipe.training, seed=0, folder=folder / "run" / "training")


def with_keys(course: training.Course, **keys: object) -> training.Course:
    return replace(course, section=course.section.model_copy(update=keys))


@settings(deadline=None)
@given(pairs=CODES)
def test_in_reweighed_rows_the_group_tells_nothing_of_the_class(pairs: list[tuple[int, int]]) -> None:
    groups, target = (np.array(codes) for codes in zip(*pairs, strict=True))
    weight = reweighing(groups, target)
    assert weight.min() > 0
    for group in np.unique(groups):
        whole = {code for code in np.unique(target) if ((groups == group) & (target == code)).any()}
        for code in whole:
            share = weight[(groups == group) & (target == code)].sum() / len(groups)
            assert share == pytest.approx((groups == group).mean() * (target == code).mean())


def test_what_rows_are_worth_is_all_of_them_when_alike_and_one_when_one_counts() -> None:
    assert worth(np.ones(50, np.float32)) == pytest.approx(50)
    assert worth(np.array([0, 0, 3.0], np.float32)) == pytest.approx(1)


def test_the_column_of_weights_is_no_input_and_its_values_reach_the_rows_by_id(course: training.Course) -> None:
    assert "counts" not in {column for block in course.encoder.blocks for column in block.columns}
    weight = row_weights(course)
    assert weight is not None
    assert weight.mean() == pytest.approx(1, abs=1e-6)
    own = column_beside(course.data, "counts", course.train.row_ids)
    assert np.allclose(weight, own / own.mean())
    part = replace(course, train=course.train.subset(np.array([5, 2, 30])))
    assert part.weights is not None
    assert np.allclose(part.weights, own[[5, 2, 30]] / own[[5, 2, 30]].mean())


def test_both_kinds_of_weights_are_multiplied_and_one_alone_stands_alone(course: training.Course) -> None:
    both = with_keys(course, reweigh=["group"]).weights
    assert both is not None
    groups = groups_beside(course.data, "group", course.train.row_ids)
    assert groups.names == (MISSING, "a", "b")
    assert course.train.target is not None
    expected = column_beside(course.data, "counts", course.train.row_ids) * reweighing(groups.codes, np.asarray(course.train.target))
    assert np.allclose(both, expected / expected.mean())
    assert replace(course, data=None).weights is None


def test_numbers_are_groups_by_their_quarters_and_columns_are_crossed(course: training.Course) -> None:
    ages = groups_beside(course.data, "age", course.train.row_ids)
    assert len(ages.names) == 4
    shares = np.bincount(ages.codes) / len(ages.codes)
    assert abs(shares - 0.25).max() < 0.08
    few = groups_beside(course.data, "counts", course.train.row_ids)
    assert few.names == ("1", "2", "3")
    several = crossed([few, groups_beside(course.data, "group", course.train.row_ids)])
    assert len(several.names) == len(np.unique(several.codes)) <= 9
    assert "1 a" in several.names


def test_a_weighted_training_that_is_killed_goes_on_to_the_same_bits(
    tmp_path: Path, course: training.Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    weighed = with_keys(course, reweigh=["group"], checkpoint_s=1e-9)
    plan = training.Plan.from_json(plan_of(course))
    whole = replace(weighed, folder=tmp_path / "whole")
    training.train_like(whole, plan, label="t", progress=silent, stop=StopRequest())
    stop, cut = StopRequest(), replace(weighed, folder=tmp_path / "cut")

    def at_eleven(label: str, done: int, total: int | None, note: str = "") -> None:
        if done >= 11:
            stop.signal = signal.SIGTERM

    with pytest.raises(Stopped, match="saved at step 11 of 30"):
        training.train_like(cut, plan, label="t", progress=at_eleven, stop=stop)
    training.train_like(cut, plan, label="t", progress=silent, stop=StopRequest())
    assert training.model_hash(whole.folder) == training.model_hash(cut.folder)
    plain = replace(course, data=None, folder=tmp_path / "plain")
    training.train_like(plain, plan, label="t", progress=silent, stop=StopRequest())
    assert training.model_hash(plain.folder) != training.model_hash(whole.folder)


def plan_of(course: training.Course) -> dict[str, object]:
    from weighbridge.training.stage import measure_plan

    return measure_plan(course).to_json()


def test_a_run_says_what_its_weighted_rows_are_worth(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, data={"weight": "counts"}, reweigh=["group"])
    found = by_key(lifecycle.run(recipe, tmp_path / "run", until="training"), "training.weights")
    assert found is not None
    assert isinstance(found.value, float)
    assert 0 < found.value < (found.n or 0)
    assert "data.weight: counts; training.reweigh: group" in str(found.reason)


@pytest.mark.parametrize(
    ("data", "keys", "error", "words"),
    [
        ({}, {"reweigh": ["grup"]}, DataError, "no column 'grup'.*group"),
        ({"target": "x"}, {"reweigh": ["group"]}, RecipeError, "training.reweigh: group does not fit a target of type number"),
        ({"weight": "group"}, {}, DataError, "data.weight 'group' is read as category"),
        ({"weight": "x"}, {}, DataError, "data.weight 'x': .* training rows have none, or one below 0"),
    ],
)
def test_what_can_not_weigh_is_refused_in_one_line(
    tmp_path: Path, data: dict[str, object], keys: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        lifecycle.run(recipe_of(tmp_path, data=data, **keys), tmp_path / "run", until="training")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"reweigh": ["a", "a"]}, "training.reweigh names 'a' twice"),
        ({"reweigh": ["a"], "balance": "resample"}, "training.balance: resample and training.reweigh contradict"),
        ({"reweigh": ["a"], "loss": "mse"}, "training.reweigh and training.loss: mse contradict"),
    ],
)
def test_contradictions_name_both_keys(keys: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parse_recipe({"data": {"source": "x.csv"}, "training": keys})


def test_a_target_can_not_be_the_weight() -> None:
    with pytest.raises(RecipeError, match=r"data\.target 'y' is also named"):
        parse_recipe({"data": {"source": "x.csv", "target": "y", "weight": "y"}})
