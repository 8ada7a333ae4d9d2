"""Law: what the section optimization asks for is a recipe of its own, or one line says which key, value and rule is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weighbridge.errors import RecipeError
from weighbridge.recipe import Recipe, Step, parse_form, parse_recipe, varied
from weighbridge.recipe.optimization import STEPS

LR = "training.optimizer.lr"


def recipe(optimization: Any = True, **more: Any) -> Recipe:
    return parse_recipe({"data": {"source": "x.csv", "target": "y"}, "optimization": optimization, **more})


def space(**entries: Any) -> dict[str, Any]:
    return {"search": {"space": {LR: [0.001, 0.01], **entries}}}


@pytest.mark.parametrize(
    ("optimization", "words"),
    [
        ({"search": {"space": {"training.optmizer.lr": [1, 2]}}}, r"no recipe key 'training.optmizer.lr' \(did you mean"),
        ({"search": {"space": {"data.limit": [1, 2]}}}, "data.limit can not be varied: results under different values of data"),
        ({"search": {"space": {"evaluation.resamples": [200, 300]}}}, "evaluation.resamples can not be varied"),
        ({"search": {"space": {LR: [0.1]}}}, "a list of 1 is nothing to choose from"),
        ({"search": {"space": {LR: {"low": 0.1, "high": 0.01}}}}, "low 0.1 is not below high 0.01"),
        ({"search": {"space": {LR: {"low": 0.0, "high": 0.01, "log": True}}}}, "a logarithmic scale begins above 0"),
        ({"search": {"space": {LR: {"low": -1.0, "high": 0.01}}}}, "a learning rate is above 0 and below 100, not -1"),
        ({"search": {"space": {LR: {"low": 0.1, "high": 0.2}}, "method": "grid"}}, "a grid needs a list of values or a range with a step"),
        ({"search": {"space": {"training.model.size": ["s", "huge"]}}}, "not 'huge'"),
        ({"search": {"budget": 0}}, "greater than 0, not 0"),
        ({**space(), "search": {**space()["search"], "storage": "study.db"}}, "study.db is no database URL"),
        ({"cross_validation": {"folds": 1}}, "one fold leaves nothing to train on"),
        ({"choice": {"margin": 0}}, "a margin of 0 can not be shown by any number of rows"),
        ({"choice": {"margin": 1}}, "less than 1, not 1"),
        ({"choice": {"cost": "price"}}, "not 'price'"),
        ({"candidates": {"recipe": {LR: 0.1}}}, "'recipe' can not name a candidate"),
        ({"candidates": {"Big": {LR: 0.1}}}, "'Big' can not name a candidate"),
        ({"candidates": {"same": {}}}, "'same' changes nothing"),
        ({"candidates": {"boosting": {LR: 0.1}}}, "'boosting' is a baseline and takes no recipe keys"),
        ({"candidates": [{"a": 1}]}, "has no name; write candidates as a mapping"),
        ({"candidates": {"wide": {"training.model.hidden": [0]}}}, "greater than or equal to 1, not 0"),
        ({"compression": {"student": {"data.limit": 3}}}, "data.limit can not be varied"),
        ({"compression": {"forms": ["half", "half"]}}, "holds a form twice"),
        ({"compression": {"forms": ["hlaf"]}}, "no step 'hlaf' \\(did you mean 'half'"),
    ],
)  # fmt: skip
def test_what_can_not_be_followed_is_refused_in_one_line(optimization: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        recipe(optimization)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("half+int8_static", "in the order"),
        ("int8_static+int8_dynamic", "in the order"),
        ("int8_dynamic+int8_static", "weights are quantised in one way"),
        ("structured+structured", "steps come once"),
        ("structured:0", "not a share between 0 and 1"),
        ("structured:1.0", "not a share"),
        ("structured:half", "not a share"),
        ("half:0.5", "half takes no value"),
        ("student:huge", "is no size"),
        ("int8_torch+half", "stands alone"),
        ("structured+int8_torch", "stands alone"),
        ("", "there is no step ''"),
    ],
)
def test_a_chain_that_says_nothing_sensible_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_form(text)


def test_a_chain_is_read_with_its_shares_and_sizes() -> None:
    assert parse_form("student:xs+structured:0.25+int8_static+half") == (
        Step(kind="student", size="xs"), Step(kind="structured", share=0.25), Step(kind="int8_static"), Step(kind="half"),
    )  # fmt: skip


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=4))
def test_every_chain_is_read_back_or_refused_with_its_own_name(kinds: list[str]) -> None:
    text = "+".join(kinds)
    quantised = [kind for kind in kinds if kind.startswith("int") and kind != "int8_torch"]
    alone = len(kinds) == 1 or "int8_torch" not in kinds
    if alone and kinds == sorted(set(kinds), key=STEPS.index) and len(quantised) < 2:
        assert [step.kind for step in parse_form(text)] == kinds
    else:
        with pytest.raises(ValueError, match=re.escape(f"form '{text}'")):
            parse_form(text)


def test_a_list_of_types_and_baselines_stands_for_candidates() -> None:
    assert recipe({"candidates": ["boosting", "mlp"]}).optimization.candidates == {
        "boosting": {},
        "mlp": {"training.model.type": "mlp"},
    }


def test_whole_ends_give_whole_values_and_fractions_do_not() -> None:
    section = recipe(space(**{"training.epochs": {"low": 5, "high": 50}, "training.l2": {"low": 0, "high": 1}})).optimization.search
    assert section.space["training.epochs"].whole  # type: ignore[union-attr]
    assert not section.space["training.l2"].whole  # type: ignore[union-attr]


def test_a_varied_recipe_differs_in_the_named_keys_only_and_optimises_nothing() -> None:
    base = recipe(space(), training={"epochs": 7})
    changed = varied(base, {LR: 0.02, "training.model": "mlp"})
    assert changed.training.optimizer.lr == 0.02
    assert changed.training.model.type == "mlp"
    assert changed.training.epochs == 7
    assert not changed.optimization.enabled
    same = {"optimizer": base.training.optimizer, "model": base.training.model}
    assert changed.training.model_copy(update=same) == base.training
    assert changed.preprocessing == base.preprocessing


def test_a_candidate_may_read_another_pretrained_source() -> None:
    base = recipe(training={"model": {"type": "pretrained", "source": "one"}})
    assert varied(base, {"training.model.source": "two"}).preprocessing.pretrained == "two"


def test_false_switches_the_stage_off_and_a_resolved_recipe_loads_to_itself() -> None:
    assert not recipe(False).optimization.enabled
    full = recipe({**space(), "candidates": ["mlp"], "compression": {"forms": ["student+int8_static"]}})
    assert parse_recipe(full.model_dump(mode="json")) == full
