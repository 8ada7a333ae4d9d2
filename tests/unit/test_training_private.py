"""Law: no row moves a step of private training by more than the norm, rows come by equal chance, the noise keeps the promise that is
counted, what would break it is refused in a line, and a training that is killed meanwhile ends with the same bits.
"""

from __future__ import annotations

import math
import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from weighbridge import lifecycle, training
from weighbridge.errors import DataError, RecipeError, Stopped, TrainingError
from weighbridge.models.registry import DIAL, NetworkSpec, build_network
from weighbridge.preprocessing import Block
from weighbridge.recipe import PrivacyOptions, Recipe, parse_recipe
from weighbridge.report.words import translate
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
from weighbridge.training.accountant import delta_of, epsilon_of, noise_for
from weighbridge.training.checkpoint import Trained
from weighbridge.training.companion import Piece
from weighbridge.training.findings_private import private_findings
from weighbridge.training.losses import Loss
from weighbridge.training.poisson import PoissonBatches, private_batch
from weighbridge.training.private import Private, add_cut, poisson_of, row_gradients
from weighbridge.training.stage import measure_plan

FIXED = {"batch_size": 64, "threads": 1, "device": "cpu"}
ENTROPY = nn.functional.cross_entropy
LOSS = Loss(mean=ENTROPY, rows=lambda out, target: ENTROPY(out, target, reduction="none"))


def recipe_of(folder: Path, *, data: dict[str, Any] | None = None, **keys: Any) -> Recipe:
    """Two classes that two numbers tell apart, and a text of three words."""
    random, count = np.random.default_rng(11), 900
    x, y = random.normal(size=(2, count))
    words = random.choice(["heavy truck", "light cart", "long heavy train"], count)
    lines = [f"{x[i]:.4f},{y[i]:.4f},{words[i]},{1 + i % 3},{'yes' if x[i] + y[i] > 0 else 'no'}" for i in range(count)]
    (folder / "t.csv").write_text("\n".join(["x,y,words,counts,label", *lines]) + "\n", encoding="utf-8")
    return parse_recipe(
        {
            "name": "run",
            "data": {
                "source": (folder / "t.csv").as_posix(), "columns": {"words": "text", "counts": "ignore"},
                "clean": {"duplicates": "keep"}, "allow": ["near_duplicates", "duplicates"], **(data or {}),
            },
            "optimization": False,
            "training": {**FIXED, "model": {"type": "mlp", "size": "xs"}, "epochs": 6, "privacy": {"epsilon": 4.0}, **keys},
        }
    )  # fmt: skip


def course_of(folder: Path, **keys: Any) -> training.Course:
    recipe = recipe_of(folder, **keys)
    lifecycle.run(recipe, folder / "run", until="preprocessing")
    return training.Course.of_run(folder / "run", recipe.training, seed=0, folder=folder / "private")


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> training.Course:
    return course_of(tmp_path_factory.mktemp("private"))


def companion(course: training.Course) -> Private:
    plan = measure_plan(course)
    return Private(course, plan, course.first_network().train(), LOSS)


def pieces(course: training.Course, rows: np.ndarray) -> Piece:
    batch, target = poisson_of(course, measure_plan(course)).gather(rows)
    return Piece(batch=batch, target=target, rows=rows, step=0, place=0)


def network_of(kind: str, **keys: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a network of a kind and five rows of what it reads."""
    blocks = (
        Block(name="n", kind="number", shape=(3,), dtype="float32", columns=("a", "b", "c"), names=("a", "b", "c")),
        Block(name="c", kind="category", shape=(2,), dtype="int32", columns=("d", "e"), cardinalities=(5, 7)),
    )  # fmt: skip
    image = Block(name="i", kind="image", shape=(8, 8, 1), dtype="uint8", columns=("i",), mean=(0.5,), std=(0.3,))
    text = Block(name="t", kind="text", shape=(6,), dtype="int32", columns=("t",), cardinalities=(40,))
    blocks += (image,) if kind in ("cnn", "mlp", "linear") else ()
    blocks += (text,) if kind in ("transformer", "rnn", "mlp") else ()
    torch.manual_seed(3)
    batch = {
        "n": torch.randn(5, 3), "c": torch.randint(0, 5, (5, 2), dtype=torch.int32),
        "i": torch.randint(0, 256, (5, 8, 8, 1), dtype=torch.uint8), "t": torch.randint(1, 40, (5, 6), dtype=torch.int32),
    }  # fmt: skip
    batch["t"][1, 3:] = 0
    batch["t"][2] = 0  # a text that is missing
    spec = NetworkSpec(type=kind, blocks=blocks, outputs=3, sizes=DIAL["xs"], norm=False, **keys)
    return build_network(spec).train(), {block.name: batch[block.name] for block in blocks}


@pytest.mark.parametrize("kind", ["linear", "mlp", "cnn", "transformer"])
def test_a_rows_gradient_is_that_of_the_network_alone_with_it(kind: str) -> None:
    network, batch = network_of(kind)
    target = torch.tensor([0, 1, 2, 1, 0])
    gradients, loss_B = row_gradients(network, LOSS, batch, target)
    for row in range(5):
        network.zero_grad()
        alone = ENTROPY(network({name: value[row : row + 1] for name, value in batch.items()}), target[row : row + 1])
        alone.backward()  # type: ignore[no-untyped-call]
        assert loss_B[row].item() == pytest.approx(alone.item(), abs=1e-5)
        for name, parameter in network.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert torch.allclose(gradients[name][row], expected, atol=1e-5), name


def test_the_librarys_own_way_gives_the_same_gradients_of_layers_that_it_knows() -> None:
    """Of convolutions it does not where activations lie channels last (docs/mitigation-privacy.md)."""
    from opacus import GradSampleModule

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.body = nn.Embedding(7, 4), nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.LayerNorm(5), nn.Linear(5, 3))

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            out: Tensor = self.body(torch.cat([batch["n"], self.table(batch["c"][:, 0])], 1))
            return out

    network, batch = Plain(), network_of("transformer")[1]
    target = torch.tensor([0, 1, 2, 1, 0])
    gradients, _ = row_gradients(network, LOSS, batch, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ENTROPY(GradSampleModule(network, loss_reduction="sum")(batch), target, reduction="sum").backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert torch.allclose(gradients[name], parameter.grad_sample, atol=1e-6), name


def test_each_row_has_dropout_of_its_own() -> None:
    network, batch = network_of("mlp", dropout=0.5)
    same = {name: value[:1].expand(5, *value.shape[1:]) for name, value in batch.items()}
    losses = []
    for _ in range(2):
        torch.manual_seed(5)
        losses.append(row_gradients(network, LOSS, same, torch.zeros(5, dtype=torch.long))[1])
    assert len(set(losses[0].tolist())) > 1
    assert torch.equal(losses[0], losses[1]), "the same seed hides the same"


@given(
    scale=st.floats(1e-6, 1e6), clip=st.floats(0.01, 100.0), seed=st.integers(0, 2**16), rows=st.integers(1, 8),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_row_more_moves_the_sum_by_at_most_the_norm(scale: float, clip: float, seed: int, rows: int) -> None:
    torch.manual_seed(seed)
    gradients = {"a": scale * torch.randn(rows, 4, 3), "b": scale * torch.randn(rows, 3)}
    sums = []
    for count in (rows, rows - 1):
        known = {name: nn.Parameter(torch.zeros(value.shape[1:])) for name, value in gradients.items()}
        for one in known.values():
            one.grad = torch.zeros_like(one)
        if count:
            add_cut(known, {name: value[:count] for name, value in gradients.items()}, clip)
        sums.append(torch.cat([one.grad.flatten() for one in known.values() if one.grad is not None]))
    moved = float((sums[0] - sums[1]).norm())
    last = math.hypot(*(float(value[-1].norm()) for value in gradients.values()))
    assert moved <= clip * (1 + 1e-4)
    assert moved == pytest.approx(min(last, clip), rel=1e-2, abs=1e-4 * clip)


def test_a_step_is_the_cut_gradients_and_the_noise_over_the_rows_that_are_expected(course: training.Course) -> None:
    private, rows = companion(course), np.arange(40)
    loss = private.learn(pieces(course, rows))
    before = {name: one.grad.clone() for name, one in private.parameters.items() if one.grad is not None}
    private.gathered(7)
    noise = torch.cat([
        (one.grad * private.expected - before[name]).flatten() for name, one in private.parameters.items() if one.grad is not None
    ])  # fmt: skip
    assert 0.1 < loss < 2.0
    assert float(torch.linalg.vector_norm(torch.cat([one.flatten() for one in before.values()]))) <= 40 * private.clip
    assert float(noise.std()) == pytest.approx(private.noise * private.clip, rel=0.05)
    assert abs(float(noise.mean())) < 4 * private.noise * private.clip / math.sqrt(len(noise))
    assert private.expected == 64


def test_a_step_without_rows_is_noise_alone(course: training.Course) -> None:
    private = companion(course)
    empty = replace(pieces(course, np.arange(1)), rows=np.empty(0, dtype=np.int64))
    empty = replace(empty, batch={name: value[:0] for name, value in empty.batch.items()}, target=empty.target[:0])
    assert private.learn(empty) == 0.0
    private.gathered(0)
    assert all(one.grad is not None and float(one.grad.abs().sum()) > 0 for one in private.parameters.values())


def test_gradients_that_were_not_cut_stop_the_training(course: training.Course) -> None:
    private = companion(course)
    private.learn(pieces(course, np.arange(4)))
    next(iter(private.parameters.values())).grad.add_(100.0)  # type: ignore[union-attr]
    with pytest.raises(TrainingError, match="the promise is off"):
        private.gathered(0)


def test_rows_come_by_equal_chance_and_apart_from_each_other(course: training.Course) -> None:
    batches = PoissonBatches(arrays=course.train, batch_size=60, seed=3, device=torch.device("cpu"))
    steps = 600
    inside = np.zeros((steps, batches.rows))
    for step in range(steps):
        inside[step, batches.drawn(step)] = 1
    spread = math.sqrt(batches.rate * (1 - batches.rate))
    assert abs(inside.mean() - batches.rate) < 4 * spread / math.sqrt(inside.size)
    assert inside.sum(1).var() == pytest.approx(batches.rows * spread**2, rel=0.3), "sizes vary as those of draws by chance"
    assert abs(inside.mean(0) - batches.rate).max() < 5 * spread / math.sqrt(steps)


def test_an_epoch_gone_on_with_draws_the_same_and_a_rare_draw_may_be_empty(course: training.Course) -> None:
    batches = PoissonBatches(arrays=course.train, batch_size=1, seed=3, device=torch.device("cpu"))
    whole = [rows for _, _, rows in batches.epoch(2)]
    assert [rows.tolist() for _, _, rows in batches.epoch(2, start=5)] == [rows.tolist() for rows in whole[5:]]
    sizes = [(len(rows), len(target), {len(value) for value in batch.values()}) for batch, target, rows in batches.epoch(0)]
    assert all(count == targets and blocks == {count} for count, targets, blocks in sizes)
    assert min(count for count, _, _ in sizes) == 0


@pytest.mark.parametrize(("noise", "epochs", "published"), [(1.12, 60, 2.92), (0.6, 30, 9.74), (1.2, 10, 1.20)])
def test_the_accountant_gives_what_is_published_for_mnist(noise: float, epochs: int, published: float) -> None:
    """Published: the table of TensorFlow Privacy's MNIST tutorial, 60,000 rows in steps of 256, delta 1e-5."""
    from opacus.accountants.analysis import rdp

    rate, steps = 256 / 60_000, epochs * 60_000 // 256
    orders = [1 + x / 10.0 for x in range(1, 100)] + list(range(11, 64))
    spent = rdp.compute_rdp(q=rate, noise_multiplier=noise, steps=steps, orders=orders)
    before_2020 = min(one + math.log(1e5) / (order - 1) for one, order in zip(spent, orders, strict=True))  # Mironov 2017
    ours = epsilon_of(noise, 1e-5, rate, steps)
    assert before_2020 == pytest.approx(published, rel=0.02)
    assert 0.7 * published < ours <= before_2020, "a sharper step from Renyi divergences to epsilon (Balle 2020) says less"


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_the_noise_keeps_the_promise_and_is_hardly_more_than_that(epsilon: float) -> None:
    noise = noise_for(epsilon, 1e-5, 0.05, 200)
    spent = epsilon_of(noise, 1e-5, 0.05, 200)
    assert 0.98 * epsilon < spent <= epsilon
    assert epsilon_of(noise, 1e-5, 0.05, 100) < spent < epsilon_of(noise, 1e-6, 0.05, 200)


def test_delta_is_below_one_in_the_rows() -> None:
    assert delta_of(None, 500) == 1e-5
    assert delta_of(None, 1_000_000) == pytest.approx(1 / (1e6 * math.log(1e6)))
    assert delta_of(1e-4, 5000) == 1e-4
    with pytest.raises(RecipeError, match=r"training.privacy.delta: 0.01 is not below 1 / 500 training rows"):
        delta_of(0.01, 500)


def test_the_size_of_a_step_follows_the_rows() -> None:
    assert [private_batch(rows) for rows in (20, 500, 1200, 54_000, 10**7)] == [20, 64, 128, 512, 1024]


def test_where_no_rate_is_named_the_noise_moves_a_weight_by_half_at_most(course: training.Course) -> None:
    rates = []
    for epsilon in (0.5, 2.0, 100.0):
        section = course.section.model_copy(update={"privacy": PrivacyOptions(epsilon=epsilon, clip=0.5)})
        plan = measure_plan(replace(course, section=section))
        noise = noise_for(epsilon, 1e-5, plan.batch_size / len(course.train), plan.updates) * 0.5 / plan.batch_size
        assert plan.lr * noise * math.sqrt(plan.updates) / (1 - 0.9) <= 0.5 * (1 + 1e-9)
        rates.append(plan.lr)
    assert rates[0] < rates[1] <= rates[2] == 0.4
    named = course.section.model_copy(update={"optimizer": course.section.optimizer.model_copy(update={"lr": 0.3})})
    assert measure_plan(replace(course, section=named)).lr == 0.3


def test_where_no_rule_is_named_it_is_momentum(tmp_path: Path) -> None:
    assert recipe_of(tmp_path).training.optimizer.type == "momentum"
    assert recipe_of(tmp_path, optimizer="adamw").training.optimizer.type == "adamw"
    assert recipe_of(tmp_path, privacy={}).training.optimizer.type == "adamw"
    again = parse_recipe(recipe_of(tmp_path).model_dump(mode="json"))
    assert again == recipe_of(tmp_path), "the resolved recipe says so and stays as it is"


def test_killed_and_gone_on_with_it_ends_with_the_same_bits(
    tmp_path: Path, course: training.Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.training.loop.SHOW_S", 0.0)
    plan, stop = measure_plan(course), StopRequest()

    def at_thirteen(label: str, done: int, total: int | None, note: str = "") -> None:
        if done >= 13:
            stop.signal = signal.SIGTERM

    whole, cut = replace(course, folder=tmp_path / "whole"), replace(course, folder=tmp_path / "cut")
    training.train_like(whole, plan, label="t", progress=silent, stop=StopRequest())
    with pytest.raises(Stopped, match="saved at step 13 of"):
        training.train_like(cut, plan, label="t", progress=at_thirteen, stop=stop)
    training.train_like(cut, plan, label="t", progress=silent, stop=StopRequest())
    assert training.model_hash(whole.folder) == training.model_hash(cut.folder)


def test_what_was_spent_is_a_finding_within_the_promise(course: training.Course) -> None:
    private = companion(course)
    private.steps += measure_plan(course).updates
    trained = Trained(network=private.network, optimizer=torch.optim.SGD(private.network.parameters(), lr=1.0), companions=(private,))
    [finding] = private_findings(course, trained, "weigh train RUN")
    assert isinstance(finding.value, float)
    assert 3.5 < finding.value <= 4.0
    assert finding.verdict == "neutral"
    assert "who does not know the seed" in str(finding.reason)
    assert all(translate(words, "zh") != str(words) for words in (finding.title, finding.reason, finding.method))


def test_a_secret_draws_other_rows_and_other_noise(course: training.Course, monkeypatch: pytest.MonkeyPatch) -> None:
    options = PrivacyOptions(epsilon=4.0, secret="env:WEIGH_TEST_SECRET")
    hidden = replace(course, section=course.section.model_copy(update={"privacy": options}))
    with pytest.raises(DataError, match=r"training.privacy.secret: the environment has no WEIGH_TEST_SECRET"):
        poisson_of(hidden, measure_plan(course))
    plan, drawn = measure_plan(course), []
    for secret in ("a" * 32, "b" * 32):
        monkeypatch.setenv("WEIGH_TEST_SECRET", secret)
        drawn.append(poisson_of(hidden, plan).drawn(0).tolist())
    assert len({str(rows) for rows in [*drawn, poisson_of(course, plan).drawn(0).tolist()]}) == 3


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"privacy": {"epsilon": 0}}, "training.privacy.epsilon: 0: nothing could be learnt"),
        ({"privacy": {"epsilon": -1}}, "training.privacy.epsilon: -1: nothing could be learnt"),
        ({"privacy": {"epsilon": 1e6}}, "a promise so weak is none"),
        ({"privacy": {"clip": 2.0}}, "training.privacy.clip without training.privacy.epsilon promises nothing"),
        ({"accumulate": 2}, "training.privacy and training.accumulate"),
        ({"class_weights": "balanced"}, "training.privacy and training.class_weights"),
        ({"balance": "resample"}, "training.privacy and training.balance"),
        ({"reweigh": ["words"]}, "training.privacy and training.reweigh"),
        ({"order": "blocks"}, "training.privacy and training.order"),
        ({"precision": "bf16"}, "training.privacy and training.precision"),
        ({"compile": True}, "training.privacy and training.compile"),
        ({"debias": {"columns": ["words"]}}, "training.privacy and training.debias"),
        ({"constrain": {"columns": ["words"]}}, "training.privacy and training.constrain"),
        ({"adversarial": {"numbers": 0.1}}, "training.privacy and training.adversarial"),
        ({"augment": {"mixup": 0.2}}, "training.privacy and training.augment.mixup"),
    ],
)
def test_what_breaks_the_promise_is_refused_in_a_line(tmp_path: Path, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says) as refused:
        recipe_of(tmp_path, **keys)
    assert "\n" not in str(refused.value)


def test_what_reads_the_rows_beside_the_network_is_refused(tmp_path: Path, course: training.Course) -> None:
    known = recipe_of(tmp_path).model_dump(mode="json")
    with pytest.raises(RecipeError, match=r"training.privacy and optimization contradict each other"):
        parse_recipe({**known, "optimization": {"enabled": True}})
    plan = measure_plan(course)
    begun = training.Start(spec=course.spec, tensors=dict(course.first_network().state_dict()), sha256="x")
    with pytest.raises(RecipeError, match="does not cover what another network learnt"):
        Private(replace(course, start=begun), plan, course.first_network(), LOSS)


@pytest.mark.parametrize(
    ("part", "says"),
    [(nn.BatchNorm1d(2), "set training.model.norm: false"), (nn.LSTM(2, 2), "a recurrent network gives no gradient of a single row")],
)
def test_layers_that_can_not_be_learnt_row_by_row_are_refused(course: training.Course, part: nn.Module, says: str) -> None:
    network = nn.ModuleList([course.first_network(), part])
    with pytest.raises(RecipeError, match=says):
        Private(course, measure_plan(course), network, LOSS)


def test_a_network_that_reads_values_to_decide_is_refused(course: training.Course) -> None:
    class Deciding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 2))

        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            value = next(iter(batch.values())).float().reshape(1, -1)[:, :1]
            return value @ self.weight if float(value.sum()) > 0 else -value @ self.weight

    with pytest.raises(RecipeError, match="this network gives no gradient of a single row"):
        Private(course, measure_plan(course), Deciding(), LOSS)


def test_weighted_rows_are_refused(tmp_path: Path) -> None:
    weighted = course_of(tmp_path, data={"weight": "counts", "columns": {"words": "ignore"}})
    with pytest.raises(RecipeError, match=r"training.privacy and data.weight contradict each other"):
        measure_plan(weighted)
