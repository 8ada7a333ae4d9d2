"""Law: a step of debiasing never helps the adversary, what answers tell of a column is measured as what it is, answers learnt under it tell
less, and a training that is killed meanwhile ends with the same bits.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from weighbridge import lifecycle, training
from weighbridge.errors import DataError, RecipeError, Stopped
from weighbridge.recipe import DebiasOptions, Recipe, parse_recipe
from weighbridge.storage import read_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.training.companion import Piece
from weighbridge.training.debias import Debias, Reader, groups_of_splits, told_nats
from weighbridge.training.stage import measure_plan

FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}


def recipe_of(folder: Path, *, target: str = "label", **keys: object) -> Recipe:
    """A group that has more of the class, an input that tells of the group, and a column that is the same everywhere but protected."""
    random, count = np.random.default_rng(11), 1200
    group = random.random(count) < 0.5
    merit, other = random.normal(size=(2, count))
    score = merit + 1.5 * group - 0.75 + 0.5 * random.normal(size=count)
    proxy = group + 0.5 * random.normal(size=count)
    lines = [
        f"{merit[i]:.4f},{other[i]:.4f},{proxy[i]:.4f},{'ab'[int(group[i])]},one,{'yes' if score[i] > 0 else 'no'},{score[i]:.4f}"
        for i in range(count)
    ]
    (folder / "t.csv").write_text("\n".join(["merit,other,proxy,group,same,label,score", *lines]) + "\n", encoding="utf-8")
    ignored = {"label": "score", "score": "label"}[target]
    return parse_recipe(
        {
            "name": "run",
            "data": {
                "source": (folder / "t.csv").as_posix(), "target": target, "protected": ["group", "same"], "columns": {ignored: "ignore"},
                "allow": ["target"],
            },
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 8, **keys},
        }
    )  # fmt: skip


def course_of(folder: Path, **keys: object) -> training.Course:
    recipe = recipe_of(folder, **keys)  # type: ignore[arg-type]
    lifecycle.run(recipe, folder / "run", until="preprocessing")
    return training.Course.of_run(folder / "run", recipe.training, seed=0, folder=folder / "plain")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> training.Course:
    return course_of(tmp_path_factory.mktemp("debias"))


def debiased(course: training.Course, **options: object) -> training.Course:
    section = DebiasOptions.model_validate({"columns": ["group"], "weight": 2.0, **options})
    return replace(course, section=course.section.model_copy(update={"debias": section}), folder=course.folder.parent / "debiased")


def some_rows(course: training.Course, count: int = 64) -> Piece:
    batch = {name: torch.from_numpy(np.array(values[:count])) for name, values in course.train.blocks.items()}
    assert course.train.target is not None
    target = torch.from_numpy(np.array(course.train.target[:count]))
    return Piece(batch=batch, target=target, rows=np.arange(count), step=0, place=0)


def gradient(network: nn.Module) -> torch.Tensor:
    return torch.cat([torch.zeros(one.numel()) if one.grad is None else one.grad.flatten() for one in network.parameters()])


@pytest.mark.parametrize("criterion", ["parity", "odds"])
def test_the_step_is_the_losss_without_what_helps_the_adversary_less_the_adversarys(course: training.Course, criterion: str) -> None:
    one = debiased(course, criterion=criterion, weight=0.5)
    plan = measure_plan(one)
    network = one.first_network().eval()
    companion, piece = Debias(one, plan, network), some_rows(course)
    out = network(piece.batch)
    theirs = torch.cat([
        torch.zeros(0) if slope is None else slope.flatten()
        for slope in torch.autograd.grad(
            nn.functional.cross_entropy(companion.reader(out, piece.target)[0], companion.codes[0][:64]), list(network.parameters()),
            retain_graph=True, allow_unused=True,
        )
    ])  # fmt: skip
    companion.beside(piece, out, share=0.5)
    companion.beside(piece, out, share=0.5)  # two batches of one update
    nn.functional.cross_entropy(out, piece.target).backward()  # type: ignore[no-untyped-call]
    ours = gradient(network).clone()
    companion.gathered(0)
    turned = gradient(network)
    expected = ours - (ours @ theirs) / (theirs @ theirs) * theirs - 0.5 * theirs
    assert torch.allclose(turned, expected, atol=1e-6)
    assert float(-turned @ theirs) > 0, "a step along it makes the adversary's loss larger"


def test_the_adversary_learns_to_read_answers_that_tell(course: training.Course) -> None:
    companion = Debias(debiased(course), measure_plan(course), nn.Linear(1, 1))
    codes = companion.codes[0]
    answers = torch.stack([codes * 2.0, torch.zeros(len(codes))], 1).requires_grad_(True)
    rows = some_rows(course, len(codes))
    losses = []
    for step in range(150):
        losses.append(nn.functional.cross_entropy(companion.reader(answers, rows.target)[0], codes).item())
        companion.beside(rows, answers, share=1.0)
        companion.gathered(step)
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize(("kind", "outputs"), [("category", 3), ("set", 4), ("number", 1)])
@pytest.mark.parametrize("odds", [False, True])
def test_the_adversary_reads_every_kind_of_answer(kind: str, outputs: int, odds: bool) -> None:
    reader = Reader(kind, outputs, [2, 5], odds=odds)
    target = torch.zeros(6, dtype=torch.long) if kind == "category" else torch.zeros(6, 4) if kind == "set" else torch.zeros(6)
    assert [tuple(scores.shape) for scores in reader(torch.randn(6, outputs), target)] == [(6, 2), (6, 5)]


@pytest.mark.parametrize("kind", ["category", "set", "number"])
def test_answers_that_are_the_group_tell_all_of_it_and_those_drawn_apart_tell_nothing(kind: str) -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 2, 4000)
    told = 3.0 * groups + 0.01 * random.normal(size=4000)
    apart = random.normal(size=4000)
    assert told_nats(as_answers(told, apart, kind), groups, kind) == pytest.approx(np.log(2), abs=0.12)
    assert told_nats(as_answers(random.permutation(told), apart, kind), groups, kind) < 0.004


def as_answers(one: np.ndarray, other: np.ndarray, kind: str) -> np.ndarray:
    return one[:, None] if kind == "number" else np.stack([-one if kind == "category" else other, one], 1)


def test_odds_ask_only_for_what_goes_beyond_the_truth() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 2, 6000)
    truth = (random.random(6000) < np.where(groups == 1, 0.8, 0.2)).astype(np.int64)
    answers = np.zeros((6000, 2))
    answers[:, 1] = 2.0 * truth + 0.5 * random.normal(size=6000)
    assert told_nats(answers, groups, "category") > 0.1
    assert told_nats(answers, groups, "category", truth) < 0.005
    answers[:, 1] += groups
    assert told_nats(answers, groups, "category", truth) > 0.05


def test_answers_learnt_under_it_tell_less_of_the_column(course: training.Course) -> None:
    plan, hard = measure_plan(course), debiased(course)
    told = {}
    for one in (course, hard):
        training.train_like(one, plan, label="t", progress=silent, stop=StopRequest())
        answers = training.forward_all(training.load_network(one.folder), course.validation)
        told[one.folder.name] = told_nats(answers, groups_of_splits(hard)[1][0].codes, "category")
    assert told["debiased"] < 0.4 * told["plain"]
    epochs = read_json(hard.folder / "history.json")["epochs"]
    assert all(epoch["penalty"] == pytest.approx(2.0 * epoch["told_nats"]) for epoch in epochs)


def test_killed_and_gone_on_with_it_ends_with_the_same_bits(
    tmp_path: Path, course: training.Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    hard, plan, stop = debiased(course), measure_plan(course), StopRequest()

    def at_thirty_one(label: str, done: int, total: int | None, note: str = "") -> None:
        if done >= 31:
            stop.signal = signal.SIGTERM

    whole, cut = replace(hard, folder=tmp_path / "whole"), replace(hard, folder=tmp_path / "cut")
    training.train_like(whole, plan, label="t", progress=silent, stop=StopRequest())
    with pytest.raises(Stopped, match="saved at step 31 of"):
        training.train_like(cut, plan, label="t", progress=at_thirty_one, stop=stop)
    training.train_like(cut, plan, label="t", progress=silent, stop=StopRequest())
    assert training.model_hash(whole.folder) == training.model_hash(cut.folder)


def test_numbers_are_learnt_without_telling_the_group_too(tmp_path: Path) -> None:
    course = course_of(tmp_path, target="score")
    plan, hard = measure_plan(course), debiased(course)
    training.train_like(hard, plan, label="t", progress=silent, stop=StopRequest())
    epochs = read_json(hard.folder / "history.json")["epochs"]
    assert min(epoch["told_nats"] for epoch in epochs) < 0.02


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        (["same"], DataError, "training.debias: column 'same' has one value in all training rows"),
        (["nobody"], DataError, "there is no column 'nobody'"),
    ],
)
def test_a_column_that_has_no_groups_is_refused(course: training.Course, columns: list[str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        measure_plan(debiased(course, columns=columns))


def test_without_stored_rows_it_is_refused(course: training.Course) -> None:
    with pytest.raises(RecipeError, match="column 'group' is not at hand"):
        measure_plan(replace(debiased(course), data=None))


def test_a_compiled_network_is_refused_and_none_is_compiled_by_itself(course: training.Course) -> None:
    with pytest.raises(RecipeError, match=r"training\.compile: true and training\.debias contradict each other"):
        parse_recipe({"data": {"source": "x.csv"}, "training": {"compile": True, "debias": {"columns": ["a"]}}})
    one = debiased(course)
    updater, _, trained = one.new(replace(measure_plan(one), compile=True))
    assert updater.forward is trained.network
