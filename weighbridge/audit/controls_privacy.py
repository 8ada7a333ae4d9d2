"""Controls of membership inference, canaries and attribute inference: what was learnt by heart is found, what was not gives no alarm.

Members and strangers are drawn here, so the truth is known: answers of a model that knows a part of its rows by heart, and of one that
treats all alike.
"""

from __future__ import annotations

import numpy as np

from weighbridge.audit.attribute import guesses
from weighbridge.audit.canary import CHANCE_BITS, EACH, NEVER, exposed
from weighbridge.audit.membership_score import attack, corrected, halves, likelihood_ratio
from weighbridge.controls import control
from weighbridge.evaluation.predictions import Floats
from weighbridge.evaluation.resampling import Resampling
from weighbridge.storage.seeds import rng

LEVEL = 0.05
TRIALS, FEW = 2000, 200


def _loss(seed: int, name: str, by_heart: float, n: int = 1000) -> tuple[Floats, Floats]:
    """Return scores of members, of which a share is known by heart, and of strangers: logits of the true class, hard rows lower."""
    random = rng(seed, "control", "membership", name)
    member, stranger = random.normal(2, 2, n), random.normal(2, 2, n)
    known = random.random(n) < by_heart
    member[known] = random.normal(9, 1, int(known.sum()))
    return member, stranger


def _alarm(member: Floats, stranger: Floats) -> bool:
    """Return whether any figure of an attack is called more than chance, corrected over them."""
    made = attack(member, stranger)
    return min(corrected([made.p_value, *(one.p_value for one in made.named)])) < LEVEL


@control("audit.privacy.membership", "clean", "members and strangers alike, 1,000 each: no alarm", trials=TRIALS, low=0.95)
def alike(seed: int) -> bool:
    return not _alarm(*_loss(seed, "alike", 0.0))


@control("audit.privacy.membership", "clean", "alike, scores of five values only: ties give no alarm", trials=TRIALS, low=0.95)
def ties(seed: int) -> bool:
    member, stranger = _loss(seed, "ties", 0.0)
    return not _alarm(
        np.asarray(np.clip(member, 0, 4).round(), dtype=np.float64), np.asarray(np.clip(stranger, 0, 4).round(), dtype=np.float64)
    )


@control("audit.privacy.membership", "planted", "3 % of the members known by heart: found", trials=TRIALS, low=0.9)
def few_by_heart(seed: int) -> bool:
    return _alarm(*_loss(seed, "few", 0.03))


@control("audit.privacy.membership", "planted", "the area alone misses the 3 % known by heart (naive)", trials=TRIALS, low=0.5)
def area_misses(seed: int) -> bool:
    """Why members named at 1 % stand beside the area."""
    return attack(*_loss(seed, "few", 0.03)).p_value >= LEVEL


@control("audit.privacy.membership", "clean", "Newcombe's interval holds the area of the population", trials=TRIALS, low=0.94)
def interval_of_area(seed: int) -> bool:
    random = rng(seed, "control", "membership", "area")
    low, high = attack(random.normal(0.5, 1, 300), random.normal(0, 1, 300)).interval
    return low <= 0.63816 <= high  # of two normal scores half a deviation apart: the normal distribution at 0.5 / sqrt(2)


def _shadows(seed: int, effect: float, models: int = 8, n: int = 600) -> tuple[Floats, np.ndarray]:
    """Return the likelihood ratios of rows, and which are members; how hard a row is hides what having seen it adds."""
    random = rng(seed, "control", "shadows", str(effect))
    hard, inside = random.normal(0, 3, n), halves(models, n, random)
    shadows = hard + effect * inside + random.normal(0, 0.7, (models, n))
    member = np.arange(n) < n // 2
    return likelihood_ratio(hard + effect * member + random.normal(0, 0.7, n), shadows, inside), member


@control("audit.privacy.membership", "clean", "shadow models, having seen a row adds nothing: no alarm", trials=TRIALS, low=0.95)
def shadows_alike(seed: int) -> bool:
    score, member = _shadows(seed, 0.0)
    return not _alarm(score[member], score[~member])


@control(
    "audit.privacy.membership", "planted", "shadow models, having seen a row adds a seventh of what hides it: found", trials=TRIALS, low=0.9
)
def shadows_find(seed: int) -> bool:
    score, member = _shadows(seed, 0.43)
    return _alarm(score[member], score[~member])


@control("audit.privacy.membership", "planted", "the loss alone misses the same (naive)", trials=TRIALS, low=0.4)
def loss_misses(seed: int) -> bool:
    random = rng(seed, "control", "shadows", "plain")
    n = 600
    hard, member = random.normal(0, 3, n), np.arange(n) < n // 2
    seen = hard + 0.43 * member + random.normal(0, 0.7, n)
    return not _alarm(seen[member], seen[~member])


@control("audit.privacy.canary", "clean", "canaries that were not learnt do not stand out", trials=TRIALS, low=0.95)
def canary_unknown(seed: int) -> bool:
    random = rng(seed, "control", "canary", "clean")
    return exposed(1, random.normal(size=EACH), random.normal(size=NEVER)).interval[0] <= CHANCE_BITS


@control("audit.privacy.canary", "planted", "canaries known two deviations better stand out", trials=TRIALS, low=0.95)
def canary_known(seed: int) -> bool:
    random = rng(seed, "control", "canary", "planted")
    return exposed(1, random.normal(2, 1, EACH), random.normal(size=NEVER)).interval[0] > CHANCE_BITS


def _guessed(seed: int, gives_away: bool) -> bool:
    """Return whether answers are said to add to guessing a column of two groups; the inputs tell a part of it."""
    random = rng(seed, "control", "attribute", str(gives_away))
    n = 600
    codes = random.integers(0, 2, n)
    table = np.column_stack([codes + random.normal(0, 1.2, n), random.normal(size=n)])
    said = random.normal(size=(n, 2)) + (1.5 * codes[:, None] if gives_away else 0.0)
    found = guesses(table, said, codes, [False, False], Resampling(seed=seed))
    assert found is not None
    return found[0].interval[0] > 0.01


@control("audit.privacy.attribute", "clean", "answers that tell nothing of the column add nothing", trials=FEW, low=0.95)
def attribute_kept(seed: int) -> bool:
    return not _guessed(seed, gives_away=False)


@control("audit.privacy.attribute", "planted", "answers that tell the column add to guessing it", trials=FEW, low=0.9)
def attribute_given_away(seed: int) -> bool:
    return _guessed(seed, gives_away=True)
