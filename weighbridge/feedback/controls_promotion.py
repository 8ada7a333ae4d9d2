"""Controls of the circle: equal challengers are let pass as seldom as stated, better ones pass, lies do not, worse ones are withdrawn.

Predictions are simulated as two models that differ on a tenth of the rows, as a model and its successor do; where labels lie, real linear
models are fitted to them.
"""

from __future__ import annotations

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.feedback.canary import compare_sides
from weighbridge.feedback.gate import Pair, judge
from weighbridge.feedback.influence import influence
from weighbridge.feedback.select import select, weighted_mean
from weighbridge.recipe.feedback import GateOptions
from weighbridge.storage.seeds import rng

GATE, CANARY, POISON, QUEUE = "feedback.gate", "feedback.canary", "feedback.influence", "feedback.select"
CLASSES, KEYS, RECENT, OLD = ("a", "b", "c", "d"), 5, 200, 1000
HOW = Resampling(resamples=200, level=0.95, seed=0)
NEW_ROWS, LIE = 600, 0.25  # a quarter of one key's labels: 5 % of all


def _said(right: Array, target: Array, name: str) -> Predictions:
    chosen = np.where(right, target, (target + 1) % len(CLASSES))
    output = np.full((len(target), len(CLASSES)), 0.04)
    output[np.arange(len(target)), chosen] = 0.88
    ids = np.array([f"r{place:06d}" for place in range(len(target))])
    return Predictions(kind="category", row_id=ids, target=target, output=output, classes=CLASSES, model=name)


def pair(random: np.random.Generator, n: int, accuracy: float, gain: float, *, differ: float = 0.1) -> Pair:
    """n rows on which the champion is right with `accuracy` and the challenger with `accuracy + gain`."""
    target, champion = random.integers(0, len(CLASSES), n), random.random(n) < accuracy
    lost, won = max(differ - gain, 0) / 2, (differ + gain) / 2  # shares of all rows that only one of the two gets right
    draw = random.random(n)
    challenger = np.where(champion, draw >= lost / accuracy, draw < won / (1 - accuracy))
    who = np.array([f"k{key}" for key in random.integers(0, KEYS, n)], dtype=object)
    return Pair(challenger=_said(challenger, target, "challenger"), champion=_said(champion, target, "champion"), who=who)


def passes(random: np.random.Generator, recent: float, old: float) -> bool:
    """Whether a challenger passes whose accuracy is by this much another than the champion's."""
    return judge(pair(random, RECENT, 0.8, recent), pair(random, OLD, 0.9, old, differ=0.04), GateOptions(), HOW).passed


@control(GATE, "clean", "an equal challenger on 200 recent rows: it does not pass", trials=300, low=0.95)
def equal_does_not_pass(seed: int) -> bool:
    return not passes(rng(seed, "control", GATE, "equal"), 0.0, 0.0)


@control(GATE, "planted", "a challenger that is 12 points better on recent rows and equal on old ones passes", trials=200, low=0.8)
def better_passes(seed: int) -> bool:
    return passes(rng(seed, "control", GATE, "better"), 0.12, 0.0)


@control(GATE, "planted", "12 points better on recent rows, 4 points worse on old ones: it does not pass", trials=200, low=0.95)
def forgetful_does_not_pass(seed: int) -> bool:
    return not passes(rng(seed, "control", GATE, "forgot"), 0.12, -0.04)


@control(GATE, "planted", "the gain is one key's invention, the others see none: it does not pass", trials=200, low=0.95)
def gain_of_one_key_does_not_pass(seed: int) -> bool:
    random = rng(seed, "control", GATE, "one key")
    made = pair(random, RECENT, 0.8, 0.0)
    assert made.who is not None
    liar = made.who == "k0"  # its labels are what the challenger says
    target = np.where(liar, made.challenger.chosen, made.challenger.target)
    sides = [_relabelled(one, target) for one in (made.challenger, made.champion)]
    recent = Pair(challenger=sides[0], champion=sides[1], who=made.who)
    return not judge(recent, pair(random, OLD, 0.9, 0.0, differ=0.04), GateOptions(), HOW).passed


def _relabelled(rows: Predictions, target: Array) -> Predictions:
    return Predictions(kind=rows.kind, row_id=rows.row_id, target=target, output=rows.output, classes=rows.classes, model=rows.model)


def _withdrawn(random: np.random.Generator, champion: float, challenger: float, labels: int = 2000) -> bool:
    sides = [(random.random(labels) < share).astype(np.float64) for share in (champion, challenger)]
    return compare_sides(sides[0], sides[1], 0.05).worse


@control(CANARY, "clean", "an equal challenger over 2,000 labels a side, looked at after each: it stays", trials=200, low=0.95)
def equal_stays(seed: int) -> bool:
    return not _withdrawn(rng(seed, "control", CANARY, "equal"), 0.9, 0.9)


@control(CANARY, "planted", "a challenger that is 12 points worse is withdrawn within 2,000 labels", trials=200, low=0.95)
def worse_is_withdrawn(seed: int) -> bool:
    return _withdrawn(rng(seed, "control", CANARY, "worse"), 0.9, 0.78)


@control(CANARY, "planted", "a challenger that is 8 points worse is withdrawn within 2,000 labels", trials=200, low=0.6)
def somewhat_worse_is_withdrawn(seed: int) -> bool:
    return _withdrawn(rng(seed, "control", CANARY, "somewhat"), 0.9, 0.82)


def _world(random: np.random.Generator, n: int, moved: float = 0.0) -> tuple[Floats, Array]:
    points = random.normal(size=(n, 4))
    return points, (points @ np.array([1.5, -1.0 + moved, 0.5, 0.0]) + 0.6 * random.normal(size=n) > 0).astype(np.int64)


def lies(random: np.random.Generator, share: float, moved: float = 0.0) -> tuple[list[str], bool]:
    """Return which keys are put into quarantine, and whether a linear challenger that learnt from all labels passes the gate.

    One of five keys gives a wrong label in this share of its rows; half of the new rows are held out for the gate, with their lies.
    """
    from sklearn.linear_model import LogisticRegression

    old, new, test = _world(random, 600), _world(random, 2 * NEW_ROWS, moved), _world(random, OLD)
    who = np.array([f"k{key}" for key in random.integers(0, KEYS, 2 * NEW_ROWS)], dtype=object)
    flipped = (who == "k0") & (random.random(2 * NEW_ROWS) < share)
    given = np.where(flipped, 1 - new[1], new[1])
    learnt, held = np.arange(2 * NEW_ROWS) < NEW_ROWS, np.arange(2 * NEW_ROWS) >= NEW_ROWS
    trusted = _world(random, 400)

    def fitted(which: Array) -> LogisticRegression:
        points, labels = np.concatenate([old[0], new[0][learnt][which]]), np.concatenate([old[1], given[learnt][which]])
        return LogisticRegression().fit(points, labels)

    def trained(which: Array) -> tuple[Predictions, Predictions]:
        model = fitted(which)
        return _answers(model, new[0][learnt], given[learnt], "new"), _answers(model, *trusted, "trusted")

    ids = [f"{place:06d}" for place in range(NEW_ROWS)]
    keys = [one.key for one in influence(ids, who[learnt], trained, HOW) if one.harms]
    champion, challenger = LogisticRegression().fit(*old), fitted(np.ones(NEW_ROWS, dtype=bool))
    recent, tested = (
        Pair(challenger=_answers(challenger, *rows, "challenger"), champion=_answers(champion, *rows, "champion"), who=names)
        for rows, names in (((new[0][held], given[held]), who[held]), (test, None))
    )
    return keys, judge(recent, tested, GateOptions(), HOW).passed


def _answers(model: object, points: Floats, target: Array, name: str) -> Predictions:
    ids = np.array([f"{place:06d}" for place in range(len(target))])
    output = model.predict_proba(points)  # type: ignore[attr-defined]  # of scikit-learn, which has no types
    return Predictions(kind="category", row_id=ids, target=target, output=output, classes=("no", "yes"), model=name)


@control(POISON, "planted", "one of 5 keys gives a wrong label in a quarter of its rows: it is found and nobody else", trials=100, low=0.8)
def liar_is_found(seed: int) -> bool:
    return lies(rng(seed, "control", POISON, "planted"), LIE)[0] == ["k0"]


@control(POISON, "planted", "a challenger that learnt from 5 % of lies does not pass the gate", trials=100, low=0.95)
def poisoned_does_not_pass(seed: int) -> bool:
    return not lies(rng(seed, "control", POISON, "gate"), LIE)[1]


@control(POISON, "clean", "5 honest keys: nobody is put into quarantine", trials=100, low=0.9)
def honest_keys_stay(seed: int) -> bool:
    return lies(rng(seed, "control", POISON, "clean"), 0.0)[0] == []


@control(POISON, "clean", "5 honest keys in a world that moved against the old rows: nobody is put into quarantine", trials=100, low=0.9)
def honest_keys_stay_in_a_moved_world(seed: int) -> bool:
    return lies(rng(seed, "control", POISON, "moved"), 0.0, 3.0)[0] == []


def estimates(seed: int, rounds: int = 40) -> tuple[float, float, float]:
    """Return means over many queues of one pool: the truth, the weighted estimate, and the plain mean of the rows asked for."""
    random = rng(seed, "control", QUEUE)
    score = random.random(500)
    wrong = (random.random(500) < 0.05 + 0.4 * score).astype(np.float64)  # what is unsure is wrong more often
    weighted, plain = [], []
    for place in range(rounds):
        asked = select(score, None, rows=50, random=0.4, seed=seed * rounds + place)
        weighted.append(weighted_mean(wrong[asked.place], asked.probability, asked.pool))
        plain.append(float(wrong[asked.place].mean()))
    return float(wrong.mean()), float(np.mean(weighted)), float(np.mean(plain))


@control(QUEUE, "clean", "the weighted estimate of 40 queues is within three standard errors of the truth", trials=100, low=0.95)
def weighted_estimate_is_unbiased(seed: int) -> bool:
    truth, weighted, _ = estimates(seed)
    error = np.sqrt(truth * (1 - truth) / 20 / 40)  # 20 drawn rows in each of 40 queues
    return bool(abs(weighted - truth) < 3 * error)


@control(QUEUE, "planted", "the plain mean of rows that were asked for is more than three standard errors off", trials=100, low=0.9)
def plain_estimate_is_biased(seed: int) -> bool:
    truth, _, plain = estimates(seed)
    return bool(abs(plain - truth) > 3 * np.sqrt(truth * (1 - truth) / 50 / 40))
