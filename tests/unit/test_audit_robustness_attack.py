"""Law: an attack stays in its ball, a stronger one is never weaker, what is near is found, and gradients that hide the way are told."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from weighbridge.audit import controls_robustness as planted
from weighbridge.audit.attack_cascade import STAGES, Hunter
from weighbridge.audit.attack_search import random_search
from weighbridge.audit.attack_space import Space, number_space, picture_space
from weighbridge.audit.attacks import Prey, apgd, cross_entropy, fgsm, logit_ratio, margin, pgd, squared_error
from weighbridge.preprocessing import Arrays
from weighbridge.preprocessing.encoder import Encoder
from weighbridge.preprocessing.image import ImageFeature
from weighbridge.preprocessing.number import NumberFeature

EPSILONS = (0.1, 0.3, 0.6)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ids(count: int) -> np.ndarray:
    return np.array([f"r{row:04d}" for row in range(count)], dtype="S8")


class Dense(nn.Module):
    """A smooth network of the block `number`; `rounding` hides its gradients."""

    def __init__(self, width: int, outputs: int, seed: int = 0) -> None:
        super().__init__()
        random = np.random.default_rng(seed)
        self.first, self.second = (
            nn.Parameter(torch.from_numpy(random.normal(size=size)).float()) for size in ((width, 12), (12, outputs))
        )

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.tanh(batch["number"] @ self.first) @ self.second


class Bright(nn.Module):
    """Class 1 where the mean pixel of the block `image.p` is above 100."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        over_B = batch["image.p"].float().mean((1, 2, 3)) - 100.0
        return torch.stack([-over_B, over_B], dim=1)


def numbers(count: int = 24, width: int = 5, outputs: int = 3) -> tuple[Dense, np.ndarray, np.ndarray]:
    network, x = Dense(width, outputs), np.random.default_rng(1).normal(size=(count, width))
    with torch.no_grad():
        target = network({"number": torch.from_numpy(x).float()}).argmax(1).numpy()
    return network, x, target


def prey(count: int = 24) -> Prey:
    network, x, target = numbers(count)
    return planted.hunter_of(network, x, target, 0).prey


def pictures(mean: np.ndarray, side: int = 6, channels: int = 1) -> tuple[Arrays, Encoder]:
    """Return flat pictures of these brightnesses, whose class is whether they are above 100."""
    image = np.broadcast_to(mean[:, None, None, None], (len(mean), side, side, channels)).astype(np.uint8)
    feature = ImageFeature(
        column="p", height=side, width=side, channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels, rows=9, missing=0
    )
    return Arrays(blocks={"image.p": image}, target=(mean > 100).astype(np.int64), stored_ids=ids(len(mean))), Encoder(features=(feature,))


def picture_space_of(mean: np.ndarray) -> Space:
    space = picture_space(*pictures(mean))
    assert space is not None
    return space


def answer_of(network: nn.Module) -> Callable[[Arrays], np.ndarray]:
    def answer(arrays: Arrays) -> np.ndarray:
        with torch.no_grad():
            batch = {name: torch.from_numpy(np.array(values)) for name, values in arrays.blocks.items()}
            made: np.ndarray = network(batch).double().softmax(1).numpy()
        return made

    return answer


@settings(max_examples=15, deadline=None)
@given(epsilon=st.sampled_from([0.01, 0.2, 1.5]), seed=st.integers(0, 20))
def test_no_attack_leaves_the_ball(epsilon: float, seed: int) -> None:
    one = prey(6)
    rows = np.arange(6)
    start = one.space.start_ND
    for made in (
        fgsm(one, rows, epsilon, cross_entropy).point_BD,
        pgd(one, rows, epsilon, cross_entropy, generator(seed)).point_BD,
        apgd(one, rows, epsilon, logit_ratio, generator(seed), 10).point_BD,
        random_search(one.space, rows, epsilon, lambda point, rows: -np.ones(len(rows)), np.random.default_rng(seed), 12),
    ):
        assert float((made - start).abs().max()) <= epsilon * 1.00001


def test_pixels_stay_whole_and_within_their_range_and_what_is_sent_is_bytes() -> None:
    space = picture_space_of(np.array([2, 60, 254]))
    rows = np.arange(3)
    far = space.settled(space.within(space.start_ND + 7.4, rows, 4.0))
    assert far[:, 0].tolist() == [6.0, 64.0, 255.0]
    sent = space.sent(far, rows)
    assert sent.blocks["image.p"].dtype == np.uint8
    assert np.asarray(sent.blocks["image.p"])[:, 0, 0, 0].tolist() == [6, 64, 255]
    found = random_search(space, rows, 4.0, lambda point, rows: -np.ones(len(rows)), np.random.default_rng(0), 20)
    assert torch.equal(found, found.round())
    assert float((found - space.start_ND).abs().max()) <= 4.0


def test_missing_cells_and_their_marks_do_not_move() -> None:
    plain = {"scale": "standard", "center": 0.0, "spread": 2.0, "fill": 0.0, "clip": 3.0, "rows": 9, "missing": 1}
    encoder = Encoder(
        features=(
            NumberFeature(column="a", indicator=True, **plain),  # type: ignore[arg-type]
            NumberFeature(column="b", indicator=False, **plain),  # type: ignore[arg-type]
        )
    )
    block = np.array([[0.0, 1.0, 2.9], [0.5, 0.0, 0.1]], np.float32)  # a is missing in the first row
    space = number_space(Arrays(blocks={"number": block}, target=np.zeros(2, np.int64), stored_ids=ids(2)), encoder)
    assert space is not None
    moved = space.sent(space.within(space.start_ND + 1.0, np.arange(2), 0.5), np.arange(2)).blocks["number"]
    assert np.allclose(np.asarray(moved), [[0.0, 1.0, 3.0], [1.0, 0.0, 0.6]])


def test_numbers_without_scaling_are_moved_in_deviations_of_their_column() -> None:
    feature = NumberFeature(
        column="a", scale="none", center=50.0, spread=10.0, fill=0.0, indicator=False, clip=10.0, rows=9, missing=0
    )  # fmt: skip
    arrays = Arrays(blocks={"number": np.array([[60.0]], np.float32)}, target=np.zeros(1, np.int64), stored_ids=ids(1))
    space = number_space(arrays, Encoder(features=(feature,)))
    assert space is not None
    moved = space.sent(space.within(space.start_ND + 9, np.arange(1), 0.5), np.arange(1)).blocks["number"]
    assert float(np.asarray(moved)[0, 0]) == pytest.approx(65.0, rel=1e-5)


def test_rows_without_numbers_or_pictures_have_no_space() -> None:
    arrays, encoder = pictures(np.array([10]))
    assert number_space(arrays, encoder) is None
    assert picture_space(arrays, planted.number_encoder(2)) is None


def test_the_ratio_of_logits_is_the_margin_over_what_the_top_three_span_and_the_margin_for_two_classes() -> None:
    out, target = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([0])
    assert float(margin(out, target)) == -2.0
    assert float(logit_ratio(out, target)) == pytest.approx(-2 / 3)
    assert float(logit_ratio(out[:, :2], target)) == -2.0
    assert float(logit_ratio(1000 * out, target)) == pytest.approx(-2 / 3), "it does not saturate where a network is sure"


def test_more_steps_never_do_less_harm_along_one_way() -> None:
    one, rows = prey(), np.arange(24)
    before = fgsm(one, rows, 0.3, cross_entropy).harm_B
    start = one.look(one.space.start_ND, rows, cross_entropy)[2]
    assert bool((before >= start).all()), "who stands still does as much harm as the row itself"
    short, long = (apgd(one, rows, 0.3, cross_entropy, generator(), steps).harm_B.mean() for steps in (5, 40))
    assert float(long) >= float(short) - 1e-6


def test_a_stronger_attack_is_never_weaker() -> None:
    network, x, target = numbers(40)
    hunt = planted.hunter_of(network, x, target, 0).hunt(EPSILONS, check=0.3, alone=True)
    left = [level.left[stage] for level in hunt.levels for stage in STAGES]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[-1]
    wholes = [level.whole for level in hunt.levels]
    assert all((later <= earlier).all() for earlier, later in pairwise(wholes))
    assert not planted.is_masked(hunt, 40), "a row that luck finds is no sign of masking"


def test_an_attack_without_bounds_breaks_every_picture_and_leaves_the_levels_as_they_were() -> None:
    space = picture_space_of(np.array([20, 90, 110, 240]))
    hunter = Hunter(prey=Prey.of(Bright(), space, "category"), answer=answer_of(Bright()), scale=lambda said: said, seed=0)
    hunt = hunter.hunt((4.0, 8.0, 16.0), check=8.0, alone=True)
    assert hunt.unbounded == 0
    assert [level.whole.tolist() for level in hunt.levels] == [[True] * 4, [True] * 4, [True, False, False, True]]
    assert hunter.whole.tolist() == [True, False, False, True]


def test_the_form_decides_not_the_network() -> None:
    """A form that rounds to tens is broken where the rounded picture crosses the line, whatever the network says."""
    space = picture_space_of(np.array([96]))

    class Coarse(Bright):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return super().forward({"image.p": (batch["image.p"].float() / 20).round() * 20 - 1})

    hunter = Hunter(prey=Prey.of(Bright(), space, "category"), answer=answer_of(Coarse()), scale=lambda said: said, seed=0)
    hunt = hunter.hunt((8.0, 16.0), check=None, alone=False)
    assert [bool(level.whole[0]) for level in hunt.levels] == [True, False]
    assert hunt.levels[0].left["FGSM"] == 1, "the network calls it wrong at 5, the form does not yet"


def test_numbers_and_sets_only_get_worse_with_epsilon() -> None:
    x = np.random.default_rng(2).normal(size=(20, 4))
    arrays = Arrays(blocks={"number": x.astype(np.float32)}, target=np.zeros(20, np.float32), stored_ids=ids(20))
    space = number_space(arrays, planted.number_encoder(4))
    assert space is not None
    network = Dense(4, 1)

    def answer(rows: Arrays) -> np.ndarray:
        with torch.no_grad():
            made: np.ndarray = network({"number": torch.from_numpy(np.asarray(rows.blocks["number"]))}).numpy()[:, 0].astype(np.float64)
        return 3.0 * made + 1.0

    hunter = Hunter(prey=Prey.of(network, space, "number"), answer=answer, scale=lambda said: (said - 1.0) / 3.0, seed=0)
    undamaged = hunter.harm_N.copy()
    hunt = hunter.hunt(EPSILONS, check=0.3, alone=True)
    assert (hunt.by_steps, hunt.unbounded) == (None, None)
    harms = [hunter.harm(level.point_ND, np.arange(20)) for level in hunt.levels]
    assert all((later >= earlier - 1e-9).all() for earlier, later in zip([undamaged, *harms], harms, strict=False))
    assert harms[-1].mean() > 2 * undamaged.mean()

    sets = Arrays(blocks=arrays.blocks, target=np.ones((20, 2), np.float32), stored_ids=arrays.stored_ids)
    spaced = number_space(sets, planted.number_encoder(4))
    assert spaced is not None
    labels = Dense(4, 2)

    def said(rows: Arrays) -> np.ndarray:
        with torch.no_grad():
            made: np.ndarray = labels({"number": torch.from_numpy(np.asarray(rows.blocks["number"]))}).sigmoid().numpy()
        return made

    of_sets = Hunter(prey=Prey.of(labels, spaced, "set"), answer=said, scale=lambda said: said, seed=0)
    before = of_sets.harm_N.mean()
    of_sets.hunt((0.3,), check=None, alone=True)
    assert of_sets.harm_N.mean() > before


def test_squared_error_is_in_scaled_units() -> None:
    assert float(squared_error(torch.tensor([[2.0]]), torch.tensor([0.5]))) == 2.25


def test_equal_seeds_give_the_same_points() -> None:
    network, x, target = numbers()
    one, two = (planted.hunter_of(network, x, target, 7).hunt((0.3,), check=None, alone=False).levels[0].point_ND for _ in range(2))
    assert torch.equal(one, two)


def test_a_rounded_network_is_told_and_a_smooth_one_is_not() -> None:
    assert planted.is_masked(planted.hunted(1, masked=True), 60)
    assert not planted.is_masked(planted.hunted(1, masked=False), 60)
