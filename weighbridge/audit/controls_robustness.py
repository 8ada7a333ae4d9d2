"""Controls of the audit of robustness: losses at known rates, columns that a model reads or does not, distances that are known exactly.

Of a linear model the smallest change that makes class j overtake class y is (z_y - z_j) / |w_y - w_j|_1 in L-infinity: an attack must find
it where epsilon is larger, and can not where it is smaller. A network that rounds its inputs has no gradients, and is no less fragile.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.damage_findings import MOST_LOST
from weighbridge.audit.damage_losses import Losses, losses
from weighbridge.audit.damage_table import FACTORS, wrong_units
from weighbridge.controls import control
from weighbridge.evaluation import populations
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.storage.seeds import rng

if TYPE_CHECKING:
    from torch import nn

    from weighbridge.audit.attack_cascade import Hunt, Hunter
    from weighbridge.preprocessing import Encoder

KINDS, LEVELS = 3, 5
RESAMPLES = 500
INSIDE, OUTSIDE = 0.98, 1.02  # parts of epsilon within which a distance is too near to call
ROWS, WIDTH, CLASSES = 12, 6, 3
SPACING = 0.25  # of the inputs that a masked network tells apart


def answered(right: np.ndarray) -> Predictions:
    """Return predictions of two classes that are right where `right` says so."""
    target = np.arange(len(right)) % 2
    chosen = np.where(right, target, 1 - target)
    return Predictions(kind="category", row_id=populations.ids(len(right)), target=target, output=np.eye(2)[chosen], classes=("a", "b"))


def simulated(n: int, clean: float, rates: np.ndarray, random: np.random.Generator) -> Losses:
    """Return the losses of conditions [kinds, levels] in which a model is right at these rates, in independent rows."""
    said = [answered(random.random(n) < rate) for rate in rates.ravel()]
    family = np.repeat(np.arange(rates.shape[0]), rates.shape[1]).tolist()
    return losses(answered(random.random(n) < clean), said, family, Resampling(resamples=RESAMPLES, seed=0))


def _holds(loss: float, interval: tuple[float, float]) -> bool:
    return interval[0] <= loss <= interval[1]


@control("audit.robustness.damage", "clean", "the interval of the mean holds a loss of 0, n = 200", trials=400, low=0.93, high=0.975)
def nothing_is_lost(seed: int) -> bool:
    """Right at 0.85 with and without damage, in other rows."""
    found = simulated(200, 0.85, np.full((KINDS, LEVELS), 0.85), rng(seed, "control", "nothing lost"))
    return _holds(0.0, found.mean.interval)


@control("audit.robustness.damage", "clean", "the interval of the mean holds a loss of 0.10, n = 200", trials=400, low=0.93, high=0.975)
def the_loss_is_held(seed: int) -> bool:
    """Right at 0.85, and under damage at 0.85 down to 0.65."""
    rates = np.tile(np.linspace(0.85, 0.65, LEVELS), (KINDS, 1))
    return _holds(0.10, simulated(200, 0.85, rates, rng(seed, "control", "loss held")).mean.interval)


@control("audit.robustness.damage", "clean", "no kind of three is called a limitation where 0.05 is lost, n = 300", trials=400, low=0.95)
def the_edge_is_no_limitation(seed: int) -> bool:
    """At the threshold itself, judged by the corrected intervals."""
    found = simulated(300, 0.85, np.full((KINDS, LEVELS), 0.85 - MOST_LOST), rng(seed, "control", "edge"))
    return all(family.corrected[0] <= MOST_LOST for family in found.families)


@control(
    "audit.robustness.damage", "clean", "the worst of 15 conditions is not called worse than 0.05 where all lose 0.05", trials=400, low=0.95
)
def the_worst_is_no_chance_find(seed: int) -> bool:
    """What is chosen for being the largest carries the correction."""
    found = simulated(300, 0.85, np.full((KINDS, LEVELS), 0.85 - MOST_LOST), rng(seed, "control", "worst"))
    return found.each[found.worst].corrected[0] <= MOST_LOST


@control("audit.robustness.damage", "planted", "a kind that costs 0.20 on average is found among three, n = 300", trials=400, low=0.95)
def a_kind_is_found(seed: int) -> bool:
    """The other two cost nothing."""
    rates = np.full((KINDS, LEVELS), 0.85)
    rates[1] = 0.65
    found = simulated(300, 0.85, rates, rng(seed, "control", "kind"))
    return [family.corrected[0] > MOST_LOST for family in found.families] == [False, True, False]


def columns_judged(seed: int, read: bool) -> bool:
    """Whether a column in a wrong unit is called a limitation, for a model that reads it, or reads another column alone."""
    random = rng(seed, "control", "columns", int(read))
    columns = {"mine": random.normal(3, 1, 200), "other": random.normal(3, 1, 200)}
    truth = (columns["mine"] > 3).astype(int)

    def said(given: dict[str, np.ndarray]) -> Predictions:
        above = given["mine"] > 3
        target = np.where(random.random(200) < 0.05, 1 - truth, truth) if given is columns else clean.target
        return Predictions(
            kind="category", row_id=populations.ids(200), target=target, output=np.eye(2)[above.astype(int)], classes=("a", "b")
        )

    clean = said(columns)
    tried = [said(changed) for _, _, changed in wrong_units(columns, ["mine" if read else "other"])]
    found = losses(clean, tried, [0] * len(FACTORS), Resampling(resamples=RESAMPLES, seed=0))
    return found.each[found.worst].corrected[0] > MOST_LOST


@control("audit.robustness.units", "planted", "a wrong unit in the column that the model reads is found", trials=200, low=0.99)
def a_read_column_is_found(seed: int) -> bool:
    """Times 10 puts every row on one side."""
    return columns_judged(seed, True)


@control("audit.robustness.units", "clean", "a wrong unit in a column that the model does not read costs nothing", trials=200, low=0.99)
def an_idle_column_passes(seed: int) -> bool:
    """No answer changes."""
    return not columns_judged(seed, False)


def number_encoder(width: int) -> Encoder:
    """Return an encoder of so many columns of numbers of deviation 1."""
    from weighbridge.preprocessing.encoder import Encoder
    from weighbridge.preprocessing.number import NumberFeature

    plain = {"scale": "standard", "center": 0.0, "spread": 1.0, "fill": 0.0, "indicator": False, "clip": 10.0, "rows": 100, "missing": 0}
    return Encoder(features=tuple(NumberFeature(column=f"x{place}", **plain) for place in range(width)))  # type: ignore[arg-type]


def hunter_of(network: nn.Module, x: np.ndarray, target: np.ndarray, seed: int) -> Hunter:
    """Return who attacks a network of numbers [n, D]; the form that answers is the network itself."""
    import torch

    from weighbridge.audit.attack_cascade import Hunter
    from weighbridge.audit.attack_space import number_space
    from weighbridge.audit.attacks import Prey
    from weighbridge.preprocessing import Arrays

    arrays = Arrays(blocks={"number": x.astype(np.float32)}, target=target, stored_ids=populations.ids(len(x)).astype(np.bytes_))
    space = number_space(arrays, number_encoder(x.shape[1]))
    assert space is not None

    def answer(rows: Arrays) -> np.ndarray:
        with torch.no_grad():
            made = network({"number": torch.from_numpy(np.asarray(rows.blocks["number"]))}).double().softmax(1)
        return np.asarray(made.numpy())

    return Hunter(prey=Prey.of(network.eval(), space, "category"), answer=answer, scale=lambda said: said, seed=seed)


@functools.lru_cache(maxsize=128)  # two controls look at each
def linear_hunt(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's exact distance in units of the epsilon that it is attacked with, [n], and whether it is whole afterwards."""
    import torch
    from torch import Tensor, nn

    random = rng(seed, "control", "linear")
    weight, bias = random.normal(size=(CLASSES, WIDTH)), random.normal(size=CLASSES)
    x = random.normal(size=(ROWS, WIDTH))
    logits = x @ weight.T + bias
    target, row = logits.argmax(axis=1), np.arange(ROWS)
    above = logits[row, target][:, None] - logits
    apart = np.abs(weight[target][:, None] - weight[None]).sum(axis=2)
    exact = np.divide(above, apart, out=np.full_like(above, np.inf), where=apart > 0).min(axis=1)

    class Plain(nn.Module):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            return batch["number"] @ torch.from_numpy(weight.T).float() + torch.from_numpy(bias).float()

    epsilon = float(np.median(exact))
    hunt = hunter_of(Plain(), x, target, seed).hunt([epsilon], check=None, alone=False)
    return exact / epsilon, hunt.levels[0].whole


@control("audit.robustness.attack", "planted", "every row of a linear model nearer than 1/1.02 of epsilon is broken", trials=100, low=0.99)
def near_rows_are_broken(seed: int) -> bool:
    """Twelve rows, three classes, six columns."""
    exact, whole = linear_hunt(seed)
    return not whole[exact < 1 / OUTSIDE].any()


@control("audit.robustness.attack", "clean", "no row of a linear model farther than 1/0.98 of epsilon is broken", trials=100, low=0.99)
def far_rows_are_whole(seed: int) -> bool:
    """What lies outside the ball is out of reach."""
    exact, whole = linear_hunt(seed)
    return bool(whole[exact > 1 / INSIDE].all())


def hunted(seed: int, *, masked: bool) -> Hunt:
    """Return the hunt on a random network with two layers, whose inputs are rounded (its gradients are 0) or not; 60 rows, all right."""
    import torch
    from torch import Tensor, nn

    random = rng(seed, "control", "masked", int(masked))
    first, second = (torch.from_numpy(random.normal(size=size)).float() for size in ((WIDTH, 16), (16, CLASSES)))
    x = random.normal(size=(60, WIDTH))

    class Network(nn.Module):
        def forward(self, batch: dict[str, Tensor]) -> Tensor:
            x_BD = batch["number"]
            return torch.tanh(((x_BD / SPACING).round() * SPACING if masked else x_BD) @ first) @ second

    with torch.no_grad():
        target = Network()({"number": torch.from_numpy(x).float()}).argmax(1).numpy()
    return hunter_of(Network(), x, target, seed).hunt([0.4], check=0.4, alone=False)


def is_masked(hunt: Hunt, n: int) -> bool:
    """Whether the audit says so."""
    from weighbridge.audit.attack_findings import masking

    return any(masking(hunt, n))


@control("audit.robustness.gradients", "planted", "a network that rounds its inputs is told to mask its gradients", trials=40, low=0.95)
def a_masked_network_is_told(seed: int) -> bool:
    """The random search breaks rows that the gradients did not."""
    return is_masked(hunted(seed, masked=True), 60)


@control("audit.robustness.gradients", "clean", "a smooth network is not told to mask its gradients", trials=40, low=0.95)
def a_smooth_network_passes(seed: int) -> bool:
    """The same network without the rounding."""
    return not is_masked(hunted(seed, masked=False), 60)
