"""Law: what goes along with a step changes it as it says and no further, and a killed training goes on with its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.test_training_step import CPU, THREE, piece, updater, weights
from weighbridge.preprocessing import TargetFeature
from weighbridge.recipe import TrainingSection
from weighbridge.training.checkpoint import Progressed, Trained, load_state, save_state
from weighbridge.training.companion import Companion, Piece
from weighbridge.training.loop import best_epoch
from weighbridge.training.losses import make_loss

PLAIN = TrainingSection.model_validate({"optimizer": {"type": "sgd"}, "clip": None})


class Weighing(Companion):
    name = "weighing"

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight, self.steps = weight, torch.zeros(1)

    def before(self, piece: Piece) -> Piece:
        return replace(piece, weight_B=self.weight[torch.from_numpy(piece.rows)])

    def gathered(self, step: int) -> None:
        self.steps += 1

    def state(self) -> dict[str, torch.Tensor]:
        return {"steps": self.steps}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        self.steps = state["steps"]


class Doubled(Companion):
    """Makes the gradients itself: those of twice the sum of the outputs."""

    name = "doubled"

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def learn(self, piece: Piece) -> float | None:
        (2 * self.network(piece.batch).sum()).backward()  # type: ignore[no-untyped-call]
        return 7.0


def still(one: object) -> object:
    """Switch dropout off, which draws by batch."""
    one.network.eval()  # type: ignore[attr-defined]
    return one


def test_a_row_of_weight_two_moves_the_weights_like_the_row_twice_and_one_of_weight_nothing_not_at_all() -> None:
    batch, target, rows = piece(rows=4)
    weighed = updater(PLAIN, companions=[Weighing(torch.tensor([2.0, 1.0, 1.0, 0.0]))])
    repeated = updater(PLAIN)
    for one in (weighed, repeated):
        still(one)
    weighed.update(0, [(batch, target, rows)])
    again = torch.tensor([0, 0, 1, 2])
    repeated.update(0, [({"number": batch["number"][again]}, target[again], rows[again.numpy()])])
    assert torch.allclose(weights(weighed), weights(repeated), atol=1e-7)


def test_weights_of_one_leave_the_step_as_it_is_over_accumulated_batches_too() -> None:
    batch, target, rows = piece(rows=8)
    pieces = [({"number": batch["number"][part]}, target[part], rows[part]) for part in (slice(0, 4), slice(4, 8))]
    weighed, plain = updater(PLAIN, companions=[Weighing(torch.ones(8))]), updater(PLAIN)
    for one in (weighed, plain):
        still(one)
        one.update(0, pieces)
    assert torch.allclose(weights(weighed), weights(plain), atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("category", {}),
        ("category", {"loss": "focal"}),
        ("category", {"label_smoothing": 0.1}),
        ("set", {}),
        ("number", {}),
        ("number", {"loss": "huber"}),
    ],
)
def test_the_terms_of_the_rows_have_the_loss_as_their_mean(kind: str, keys: dict[str, object]) -> None:
    target = TargetFeature(kind=kind, column="y", classes=("a", "b", "c") if kind != "number" else (), rows=3)  # type: ignore[arg-type]
    loss = make_loss(TrainingSection.model_validate(keys), target, None, CPU)
    torch.manual_seed(1)
    out = torch.randn(12, 1 if kind == "number" else 3)
    truth = torch.randn(12) if kind == "number" else torch.randint(0, 3, (12,)) if kind == "category" else torch.rand(12, 3).round()
    terms = loss.rows(out, truth)
    assert terms.shape == (12,)
    assert float(terms.mean()) == pytest.approx(float(loss(out, truth)), rel=1e-5)
    assert float(loss(out, truth, torch.full((12,), 0.5))) == pytest.approx(0.5 * float(loss(out, truth)), rel=1e-5)


def test_balanced_classes_and_row_weights_multiply() -> None:
    loss = make_loss(TrainingSection.model_validate({"class_weights": "balanced"}), THREE, np.array([80, 10, 10]), CPU)
    out, target = torch.randn(3, 3), torch.tensor([0, 1, 2])
    plain = make_loss(TrainingSection(), THREE, None, CPU).rows(out, target)
    assert torch.allclose(loss.rows(out, target), plain * torch.tensor([100 / 240, 100 / 30, 100 / 30]), rtol=1e-5)


def test_a_companion_may_make_the_gradients_in_a_way_of_its_own() -> None:
    one = updater(PLAIN)
    still(one)
    one.rules = replace(one.rules, companions=[Doubled(one.network)])
    before = weights(one).clone()
    batch, target, rows = piece()
    assert one.update(0, [(batch, target, rows)]) == 7.0
    assert torch.allclose(before[-3:] - weights(one)[-3:], torch.full((3,), 0.01 * 2 * 8)), "the bias of each output: two a row"


def test_what_a_companion_holds_is_saved_with_the_state_and_comes_back(tmp_path: Path) -> None:
    companion = Weighing(torch.ones(8))
    one = updater(PLAIN, companions=[companion])
    for step in range(3):
        one.update(step, [piece(step)])
    trained = Trained(network=one.network, optimizer=one.optimizer, companions=[companion])
    save_state(tmp_path / "checkpoints", trained, Progressed(step=3), plan="p")
    fresh = Weighing(torch.ones(8))
    other = updater(PLAIN, companions=[fresh])
    again = Trained(network=other.network, optimizer=other.optimizer, companions=[fresh])
    progressed, warnings = load_state(tmp_path / "checkpoints", again, plan="p", device="cpu", best_step=lambda _: -1)
    assert (progressed.step, warnings) == (3, [])
    assert float(fresh.steps) == 3
    assert torch.equal(weights(one), weights(other))


def test_what_a_remedy_counts_against_weights_is_part_of_what_is_kept_by() -> None:
    section = TrainingSection()
    plain = [{"validation_loss": loss} for loss in (0.5, 0.3, 0.4, 0.6)]
    assert best_epoch(plain, section) == 1
    counted = [{**epoch, "penalty": penalty} for epoch, penalty in zip(plain, (0.2, 0.4, 0.1, 0.0), strict=True)]
    assert best_epoch(counted, section) == 2
    accuracy = TrainingSection.model_validate({"early_stopping": {"metric": "accuracy"}})
    right = [{"validation_accuracy": share, "penalty": penalty} for share, penalty in ((0.9, 0.3), (0.8, 0.0), (0.7, 0.0))]
    assert best_epoch(right, accuracy) == 1
