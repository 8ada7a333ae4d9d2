"""Law: an attack stays within its bound and moves only what may be moved, the network and its gradients are as before it, what has learnt
from attacked rows withstands the attack better, and a training that is killed meanwhile ends with the same bits.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.unit.test_training_step import CPU, THREE, piece, updater, weights
from weighbridge import lifecycle, preprocessing, training
from weighbridge.errors import RecipeError, Stopped
from weighbridge.recipe import AdversarialOptions, Recipe, TrainingSection, parse_recipe
from weighbridge.storage import read_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.training.adversarial import Adversary, Attack, adversary_of, bounds_of
from weighbridge.training.companion import Piece
from weighbridge.training.losses import make_loss
from weighbridge.training.stage import measure_plan

LOSS = make_loss(TrainingSection(), THREE, None, CPU)
FIXED = {"batch_size": 32, "threads": 1, "precision": "fp32", "device": "cpu", "compile": False, "memory_format": "contiguous"}


class Linear(nn.Module):
    """Three classes of three numbers, of which the network reads the first two, with a layer that differs while training."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0, 0.0], [-1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
        self.norm, self.drop = nn.BatchNorm1d(3, affine=False), nn.Dropout(0.5)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        out: torch.Tensor = self.drop(self.norm(batch["number"])) @ self.weight.T
        return out


def attack(bound: object = 0.5, steps: int = 5, pixels: frozenset[str] = frozenset()) -> Attack:
    return Attack({"number": torch.as_tensor(bound, dtype=torch.float32)}, pixels=pixels, steps=steps, precision="fp32")


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=30)
@given(bound=st.lists(st.floats(0, 3), min_size=3, max_size=3), steps=st.integers(1, 4), seed=st.integers(0, 99))
def test_no_input_is_moved_beyond_its_bound_and_one_of_bound_nothing_not_at_all(bound: list[float], steps: int, seed: int) -> None:
    batch = {"number": torch.randn(6, 3, generator=drawn(seed)), "other": torch.ones(6, 1)}
    moved = attack(bound, steps)(Linear(), LOSS, batch, torch.arange(6) % 3, drawn(seed))
    assert bool(((moved["number"] - batch["number"]).abs() <= torch.tensor(bound) + 1e-5).all())
    assert moved["other"] is batch["other"]


def test_pixels_stay_levels_of_a_pixel() -> None:
    batch = {"number": torch.tensor([[0, 255, 128]] * 4, dtype=torch.uint8)}
    moved = attack(40.0, pixels=frozenset({"number"}))(Linear(), LOSS, batch, torch.arange(4) % 3, drawn())["number"]
    assert moved.dtype == torch.float32
    assert 0 <= float(moved.min()) < float(moved.max()) <= 255
    assert float((moved - batch["number"]).abs().max()) <= 40


def test_of_a_linear_network_the_attack_finds_the_worst_corner() -> None:
    network, batch, target = Linear().eval(), {"number": torch.randn(40, 3)}, torch.zeros(40, dtype=torch.long)
    moved = attack(0.3, steps=10)(network, LOSS, batch, target, drawn())
    worst = batch["number"] + 0.3 * torch.tensor([-1.0, 1.0, 0.0])
    assert torch.allclose(moved["number"][:, :2], worst[:, :2], atol=1e-5)


def test_the_network_and_its_gradients_are_as_before_and_the_same_draw_gives_the_same_rows() -> None:
    network, batch, target = Linear().train(), {"number": torch.randn(12, 3)}, torch.arange(12) % 3
    state = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    one, again = (attack()(network, LOSS, batch, target, drawn(3)) for _ in range(2))
    assert torch.equal(one["number"], again["number"])
    assert network.training
    assert network.weight.grad is None
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


def test_each_batch_is_learnt_from_as_the_attack_left_it() -> None:
    section = TrainingSection.model_validate({"optimizer": {"type": "sgd"}, "clip": None})
    one, other = updater(section), updater(section)
    for each in (one, other):
        each.network.eval()
    arrays = preprocessing.Arrays(blocks={}, target=None, stored_ids=np.empty(0, "S1"))
    adversary = Adversary(attack(0.2), one.network, LOSS, kind="category", seed=1, validation=arrays)
    one.rules = replace(one.rules, companions=[adversary])
    batch, target, rows = piece()
    moved = adversary.before(Piece(batch=batch, target=target, rows=rows, step=0, place=0)).batch
    one.update(0, [(batch, target, rows)])
    other.update(0, [(moved, target, rows)])
    assert torch.equal(weights(one), weights(other))


def recipe_of(folder: Path, **keys: object) -> Recipe:
    """One number that tells the class nine times in ten, and twelve that tell it together, each by less than the attack may move it
    (Tsipras 2019).
    """
    random = np.random.default_rng(5)
    label = 2 * (random.random(500) < 0.5) - 1
    sound = label * np.where(random.random(500) < 0.9, 1, -1)
    frail = 0.45 * label[:, None] + random.normal(size=(500, 12))
    lines = [",".join([str(sound[i]), *(f"{value:.3f}" for value in frail[i]), "yes" if label[i] > 0 else "no"]) for i in range(500)]
    names = ["sound", *(f"frail{i}" for i in range(12)), "label"]
    (folder / "t.csv").write_text("\n".join([",".join(names), *lines]) + "\n", encoding="utf-8")
    return parse_recipe(
        {
            "name": "run", "data": {"source": (folder / "t.csv").as_posix(), "target": "label", "columns": {"sound": "number"}},
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "optimizer": {"type": "adamw", "lr": 0.01}, "epochs": 6, **keys},
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> training.Course:
    folder = tmp_path_factory.mktemp("adversarial")
    recipe = recipe_of(folder)
    lifecycle.run(recipe, folder / "run", until="preprocessing")
    return training.Course.of_run(folder / "run", recipe.training, seed=0, folder=folder / "plain")


def attacked(course: training.Course) -> training.Course:
    options = AdversarialOptions.model_validate({"numbers": 0.6, "steps": 3})
    return replace(course, section=course.section.model_copy(update={"adversarial": options}))


def test_what_learnt_from_attacked_rows_withstands_the_attack_better(course: training.Course) -> None:
    plan, hard = measure_plan(course), attacked(course)
    hard = replace(hard, folder=course.folder.parent / "hard")
    judge = adversary_of(hard, plan, nn.Identity(), LOSS)
    right = {}
    for one in (course, hard):
        training.train_like(one, plan, label="t", progress=silent, stop=StopRequest())
        right[one.folder.name] = judge.judged(training.load_network(one.folder), plan)
    assert right["hard"]["attacked_accuracy"] > right["plain"]["attacked_accuracy"] + 0.2
    assert right["plain"]["penalty"] > right["hard"]["penalty"] > 0
    epochs = read_json(hard.folder / "history.json")["epochs"]
    assert all({"attacked_loss", "attacked_accuracy", "penalty"} <= set(epoch) for epoch in epochs)


def test_killed_and_gone_on_with_it_ends_with_the_same_bits(
    tmp_path: Path, course: training.Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    hard, plan, stop = attacked(course), measure_plan(course), StopRequest()

    def at_eleven(label: str, done: int, total: int | None, note: str = "") -> None:
        if done >= 11:
            stop.signal = signal.SIGTERM

    whole, cut = replace(hard, folder=tmp_path / "whole"), replace(hard, folder=tmp_path / "cut")
    training.train_like(whole, plan, label="t", progress=silent, stop=StopRequest())
    with pytest.raises(Stopped, match="saved at step 11 of"):
        training.train_like(cut, plan, label="t", progress=at_eleven, stop=stop)
    training.train_like(cut, plan, label="t", progress=silent, stop=StopRequest())
    assert training.model_hash(whole.folder) == training.model_hash(cut.folder)


def test_an_attack_on_what_is_not_there_is_refused_and_numbers_alone_are_moved(course: training.Course) -> None:
    with pytest.raises(RecipeError, match=r"training\.adversarial\.images attacks pictures, and the data has none"):
        bounds_of(AdversarialOptions(images=8), course.encoder, CPU)
    bounds = bounds_of(AdversarialOptions(numbers=0.5), course.encoder, CPU)
    assert bounds["number"].tolist() == [0.5] * 13
    first: Any = course.encoder.features[0]
    raw = replace(first, scale="none", spread=4.0, indicator=True)
    assert bounds_of(AdversarialOptions(numbers=0.5), preprocessing.Encoder(features=(raw,)), CPU)["number"].tolist() == [2.0, 0.0]
