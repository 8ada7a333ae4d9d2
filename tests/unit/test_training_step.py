"""Law: one step depends on its number, the weights and the rows, and on nothing else; what is not finite never reaches a weight."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from weighbridge.errors import RecipeError, TrainingError
from weighbridge.preprocessing import Block, TargetFeature
from weighbridge.recipe import AugmentOptions, ScheduleOptions, TrainingSection
from weighbridge.training.augment import Augmenter, crop, erase, flip
from weighbridge.training.losses import make_loss
from weighbridge.training.optimizers import add_l1, load_state_tensors, lr_factor, make_optimizer, state_tensors
from weighbridge.training.step import Rules, Updater

IMAGE = Block(name="image.x", kind="image", shape=(8, 8, 1), dtype="uint8", columns=("x",), mean=(0.5,), std=(0.25,))
NUMBERS = Block(name="number", kind="number", shape=(3,), dtype="float32", columns=("a", "b", "c"))
CPU = torch.device("cpu")
THREE = TargetFeature(kind="category", column="y", classes=("a", "b", "c"), counts=(1, 1, 1), rows=3)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        out: torch.Tensor = self.layers(batch["number"])
        return out


def updater(section: TrainingSection, **rules: Any) -> Updater:
    torch.manual_seed(0)
    network = Net()
    augmenter = Augmenter(section.augment, (NUMBERS,), kind="category", outputs=3)
    settings = {"loss": make_loss(section, THREE, None, CPU), "augmenter": augmenter, "precision": "fp32", "seed": 1, "clip": section.clip}
    return Updater(network, make_optimizer(section, network, 0.01), Rules(**{**settings, **rules}))


def piece(seed: int = 0, rows: int = 8) -> tuple[dict[str, torch.Tensor], torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    return {"number": torch.randn(rows, 3, generator=generator)}, torch.randint(0, 3, (rows,), generator=generator), np.arange(rows)


def weights(one: Updater) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in one.parameters])


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"])
def test_the_same_steps_give_the_same_bits_and_a_stored_state_goes_on_with_them(kind: str) -> None:
    section = TrainingSection.model_validate({"optimizer": kind, "augment": {"noise": 0.1}})
    whole, first = updater(section), updater(section)
    for step in range(6):
        whole.update(step, [piece(step)])
    for step in range(3):
        first.update(step, [piece(step)])
    second = updater(section)
    second.network.load_state_dict(first.network.state_dict())
    load_state_tensors(second.optimizer, state_tensors(first.optimizer))
    torch.manual_seed(99)  # the global state is no part of a step
    for step in range(3, 6):
        second.update(step, [piece(step)])
    assert torch.equal(weights(whole), weights(second))


@pytest.mark.parametrize("where", ["input", "target"])
def test_a_row_that_is_not_finite_stops_before_the_update_and_is_named(where: str) -> None:
    number = TargetFeature(kind="number", column="y", rows=3)
    one = updater(TrainingSection(), loss=make_loss(TrainingSection(), number, None, CPU))
    one.network.layers[3] = nn.Linear(16, 1)  # type: ignore[operator, index]
    one.parameters = list(one.network.parameters())
    batch, _, rows = piece()
    target = torch.zeros(8)
    if where == "input":
        batch["number"][5, 1] = math.nan
    else:
        target[5] = math.inf
    before = weights(one).clone()
    with pytest.raises(TrainingError, match="row 105 of the training split"):
        one.update(0, [(batch, target, rows + 100)])
    assert torch.equal(before, weights(one))


def test_accumulated_batches_move_the_weights_like_one_batch_of_all_rows() -> None:
    section = TrainingSection.model_validate({"optimizer": {"type": "sgd"}, "clip": None})
    apart, together = updater(section), updater(section)
    for one in (apart, together):
        one.network.eval()  # dropout draws by batch
    batch, target, rows = piece(rows=8)
    halves = [({"number": batch["number"][part]}, target[part], rows[part]) for part in (slice(0, 4), slice(4, 8))]
    apart.update(0, halves)
    together.update(0, [(batch, target, rows)])
    assert torch.allclose(weights(apart), weights(together), atol=1e-7)


def test_the_moving_average_follows_the_weights() -> None:
    section = TrainingSection.model_validate({"ema": 0.5})
    one = updater(section, ema=0.5)
    start = [parameter.detach().clone() for parameter in one.parameters]
    average = Net().requires_grad_(False)
    average.load_state_dict(one.network.state_dict())
    one.average = average
    one.update(0, [piece()])
    for kept, before, now in zip(average.parameters(), start, one.parameters, strict=True):
        assert torch.allclose(kept, 0.5 * before + 0.5 * now.detach(), atol=1e-7)


def test_l1_adds_the_sign_of_matrices_and_leaves_biases() -> None:
    network = Net()
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    add_l1(network, 0.5)
    for parameter in network.parameters():
        assert parameter.grad is not None
        expected = 0.5 * parameter.detach().sign() if parameter.ndim >= 2 else torch.zeros_like(parameter)
        assert torch.equal(parameter.grad, expected)


@pytest.mark.parametrize("kind", ["constant", "cosine", "one_cycle", "plateau"])
def test_every_schedule_stays_between_nothing_and_the_highest_rate(kind: str) -> None:
    options = ScheduleOptions.model_validate({"type": kind})
    factors = [lr_factor(options, step, 100, [1.0] * (step // 10)) for step in range(100)]
    assert min(factors) >= 0
    assert max(factors) <= 1
    assert max(factors) > 0.95


def test_cosine_and_one_cycle_end_at_nothing_and_plateau_falls_when_nothing_improves() -> None:
    assert lr_factor(ScheduleOptions.model_validate({"type": "cosine"}), 99, 100, []) < 1e-3
    assert lr_factor(ScheduleOptions.model_validate({"type": "one_cycle"}), 99, 100, []) < 1e-2
    plateau = ScheduleOptions.model_validate({"type": "plateau", "patience": 2, "warmup": 0})
    assert lr_factor(plateau, 50, 100, [3.0, 2.0, 1.0]) == 1.0
    assert lr_factor(plateau, 50, 100, [1.0, 1.0, 1.0, 1.0]) == pytest.approx(0.3)


@pytest.mark.parametrize(("kind", "loss"), [("number", "cross_entropy"), ("category", "mse"), ("set", "huber")])
def test_a_loss_that_does_not_fit_the_target_is_refused_with_those_that_do(kind: str, loss: str) -> None:
    section = TrainingSection.model_validate({"loss": loss})
    target = TargetFeature(kind=kind, column="y", classes=("a", "b") if kind != "number" else (), rows=2)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="does not fit a target of type"):
        make_loss(section, target, None, CPU)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    out, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    focal = make_loss(TrainingSection.model_validate({"loss": "focal", "focal_gamma": 0}), THREE, None, CPU)
    plain = make_loss(TrainingSection(), THREE, None, CPU)
    assert torch.allclose(focal(out, target), plain(out, target), atol=1e-6)


def test_balanced_weights_make_rare_classes_count_as_much_as_frequent_ones() -> None:
    section = TrainingSection.model_validate({"class_weights": "balanced"})
    loss = make_loss(section, THREE, np.array([80, 10, 10]), CPU)
    out = torch.zeros(100, 3)
    target = torch.tensor([0] * 80 + [1] * 10 + [2] * 10)
    out.requires_grad_(True)
    loss(out, target).backward()  # type: ignore[no-untyped-call]
    assert out.grad is not None
    by_class = [out.grad[target == code].abs().sum() for code in range(3)]
    assert torch.allclose(torch.stack(by_class), by_class[0].expand(3), rtol=1e-5)


def test_class_weights_that_name_no_class_are_refused() -> None:
    with pytest.raises(RecipeError, match="which are no classes"):
        make_loss(TrainingSection.model_validate({"class_weights": {"d": 2.0}}), THREE, None, CPU)


def test_flip_mirrors_some_images_and_changes_no_other() -> None:
    images = torch.arange(64 * 8 * 8, dtype=torch.int64).remainder(251).to(torch.uint8).view(64, 8, 8, 1)
    out = flip(images, torch.Generator().manual_seed(0))
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(2)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 15 < int(mirrored.sum()) < 50


def test_crop_shifts_each_image_by_at_most_the_given_pixels() -> None:
    images = torch.zeros(50, 9, 9, 1, dtype=torch.uint8)
    images[:, 4, 4] = 255
    out = crop(images, 2, torch.Generator().manual_seed(0))
    rows, columns = torch.nonzero(out[..., 0])[:, 1:].T
    assert len(rows) == 50
    assert int((rows - 4).abs().max()) == 2
    assert int((columns - 4).abs().max()) == 2


def test_erase_hides_a_rectangle_in_about_the_given_share_of_images() -> None:
    images = torch.full((400, 16, 16, 1), 255, dtype=torch.uint8)
    out = erase(images, 0.5, torch.Generator().manual_seed(0))
    hidden = (out == 0).flatten(1).float().mean(1)
    assert 0.4 < float((hidden > 0).float().mean()) < 0.6
    assert float(hidden.max()) < 0.35


@pytest.mark.parametrize("change", ["mixup", "cutmix"])
def test_mixed_targets_are_shares_that_sum_to_one(change: str) -> None:
    augmenter = Augmenter(AugmentOptions.model_validate({change: 0.4}), (IMAGE,), kind="category", outputs=3)
    images = torch.randint(0, 255, (16, 8, 8, 1), dtype=torch.uint8)
    batch, target = augmenter({"image.x": images}, torch.arange(16) % 3, torch.Generator().manual_seed(3))
    assert target.shape == (16, 3)
    assert torch.allclose(target.sum(1), torch.ones(16))
    assert batch["image.x"].shape == images.shape
