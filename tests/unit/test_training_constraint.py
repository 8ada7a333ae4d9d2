"""Law: multipliers grow for the rate that is off and for no other, the network is pushed by their gradient, rates learnt under them are
alike, and a training that is killed meanwhile ends with the same bits.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from weighbridge import lifecycle, training
from weighbridge.errors import DataError, RecipeError, Stopped
from weighbridge.recipe import ConstrainOptions, Recipe, parse_recipe
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.training.companion import Piece
from weighbridge.training.constraint import Constraint, farthest, groups_of
from weighbridge.training.findings_remedies import constraint_findings
from weighbridge.training.stage import measure_plan

FIXED = {"batch_size": 64, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}


def recipe_of(folder: Path, target: str = "label") -> Recipe:
    """Two groups of which one has more of the class, and a third of twenty rows."""
    random, count = np.random.default_rng(11), 2000
    group = random.choice(["a", "b"], count).astype(object)
    group[:20] = "few"
    merit = random.normal(size=count)
    score = merit + np.where(group == "b", 0.7, -0.7) + 0.5 * random.normal(size=count)
    lines = [f"{merit[i]:.4f},{group[i]},one,{'yes' if score[i] > 0 else 'no'},{score[i]:.4f}" for i in range(count)]
    (folder / "t.csv").write_text("\n".join(["merit,group,same,label,score", *lines]) + "\n", encoding="utf-8")
    ignored = {"label": "score", "score": "label"}[target]
    return parse_recipe(
        {
            "name": "run",
            "data": {
                "source": (folder / "t.csv").as_posix(), "target": target, "protected": ["group", "same"], "columns": {ignored: "ignore"},
                "allow": ["target"],
            },
            "training": {**FIXED, "model": {"type": "mlp", "hidden": [16]}, "epochs": 12, "optimizer": {"type": "adamw", "lr": 0.01}},
        }
    )  # fmt: skip


def course_of(folder: Path, target: str = "label") -> training.Course:
    recipe = recipe_of(folder, target)
    lifecycle.run(recipe, folder / "run", until="preprocessing")
    return training.Course.of_run(folder / "run", recipe.training, seed=0, folder=folder / "plain")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> training.Course:
    return course_of(tmp_path_factory.mktemp("constraint"))


def constrained(course: training.Course, **options: object) -> training.Course:
    section = ConstrainOptions.model_validate({"columns": ["group"], **options})
    folder = course.folder.parent / f"constrained-{section.alike}"
    return replace(course, section=course.section.model_copy(update={"constrain": section}), folder=folder)


def all_rows(course: training.Course) -> Piece:
    assert course.train.target is not None
    batch = {name: torch.from_numpy(np.array(values)) for name, values in course.train.blocks.items()}
    return Piece(batch=batch, target=torch.from_numpy(np.array(course.train.target)), rows=np.arange(len(course.train)), step=0, place=0)


def test_the_distance_of_a_rate_is_counted_by_hand_and_small_groups_are_left_out() -> None:
    codes = np.array([[0]] * 40 + [[1]] * 40 + [[2]] * 5)
    selected = np.array([True] * 30 + [False] * 10 + [True] * 10 + [False] * 30 + [True] * 5)
    target = np.array([1] * 20 + [0] * 20 + [1] * 20 + [0] * 20 + [1] * 5)
    assert farthest(selected, target, codes, odds=False) == pytest.approx(45 / 85 - 0.25)
    assert farthest(selected, target, codes, odds=True) == 0.0  # twenty rows of a class and group tell nothing


@pytest.mark.parametrize("alike", ["parity", "odds"])
def test_multipliers_grow_for_what_is_off_and_stay_under_the_bound(course: training.Course, alike: str) -> None:
    one = constrained(course, alike=alike, bound=3.0)
    companion, piece = Constraint(one, measure_plan(one)), all_rows(course)
    codes = groups_of(one)[0][:, 0]
    a, b, few = (int(code) for code in (codes[_named(course, name)][0] for name in ("a", "b", "few")))
    answers = torch.stack([torch.zeros(len(codes)), torch.from_numpy(np.where(codes == b, 2.0, -2.0)).float()], 1).requires_grad_(True)
    for step in range(300):
        companion.beside(piece, answers, share=1.0)
        companion.gathered(step)
    by_group = companion.multipliers().reshape(companion.groups, -1)
    assert (by_group[b] > 0).all()
    assert (by_group[a] < 0).all()
    assert float(by_group[b].sum() - by_group[a].sum()) > 1.0
    assert (by_group[few] == 0).all()
    assert float(companion.multipliers().abs().sum()) <= 3.0
    assert answers.grad is not None
    assert (answers.grad[codes == b, 1] > 0).all(), "a step against the gradient answers b less often"


def test_rates_that_are_alike_raise_no_multiplier(course: training.Course) -> None:
    one = constrained(course)
    companion, piece = Constraint(one, measure_plan(one)), all_rows(course)
    answers = torch.stack([torch.zeros(len(piece.rows)), torch.full((len(piece.rows),), -1.0)], 1).requires_grad_(True)
    for step in range(100):
        companion.beside(piece, answers, share=1.0)
        companion.gathered(step)
    assert float(companion.multipliers().abs().max()) < 1e-6


def _named(course: training.Course, name: str) -> np.ndarray:
    from weighbridge.training.beside import column_beside

    return np.asarray(column_beside(course.data, "group", course.train.row_ids) == name)


@pytest.mark.slow
@pytest.mark.parametrize("alike", ["parity", "odds"])
def test_rates_learnt_under_it_are_alike(course: training.Course, alike: str) -> None:
    plan, one = measure_plan(course), constrained(course, alike=alike)
    apart = {}
    for each in (course, one):
        training.train_like(each, plan, label="t", progress=silent, stop=StopRequest())
        answers = training.forward_all(training.load_network(each.folder), course.train)
        selected, target = answers[:, 1] > answers[:, 0], np.asarray(course.train.target)
        apart[each.folder.name] = farthest(selected, target, groups_of(one)[0], odds=alike == "odds")
    assert apart["plain"] > 0.15
    assert apart[f"constrained-{alike}"] < 0.4 * apart["plain"]


def test_killed_and_gone_on_with_it_ends_with_the_same_bits(
    tmp_path: Path, course: training.Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    one, stop = constrained(course), StopRequest()
    plan = replace(measure_plan(course), updates=66)

    def at_thirty_one(label: str, done: int, total: int | None, note: str = "") -> None:
        if done >= 31:
            stop.signal = signal.SIGTERM

    whole, cut = replace(one, folder=tmp_path / "whole"), replace(one, folder=tmp_path / "cut")
    training.train_like(whole, plan, label="t", progress=silent, stop=StopRequest())
    with pytest.raises(Stopped, match="saved at step 31 of"):
        training.train_like(cut, plan, label="t", progress=at_thirty_one, stop=stop)
    training.train_like(cut, plan, label="t", progress=silent, stop=StopRequest())
    assert training.model_hash(whole.folder) == training.model_hash(cut.folder)


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        (["same"], DataError, "training.constrain: column 'same' has one value in all training rows"),
        (["nobody"], DataError, "there is no column 'nobody'"),
    ],
)
def test_a_column_that_has_no_groups_is_refused(course: training.Course, columns: list[str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        measure_plan(constrained(course, columns=columns))


def test_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.constrain is for a target of two classes"):
        measure_plan(constrained(course_of(tmp_path, target="score")))


def test_what_was_held_alike_is_a_finding_with_what_was_let_be(course: training.Course) -> None:
    (finding,) = constraint_findings(constrained(course), {"apart": 0.031}, "weigh train RUN")
    assert (finding.key, finding.value) == ("training.constrain", 0.031)
    assert finding.reference is not None
    assert finding.reference.value == 0.02
    assert constraint_findings(course, {}, "weigh train RUN") == []
