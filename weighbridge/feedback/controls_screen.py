"""Controls of the screen of labels: a key that lies in one label of twenty, keys that are honest and differ, and the naive test that
suspects whoever has the harder cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weighbridge.controls import control
from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.feedback import key_looks, screen
from weighbridge.storage.seeds import rng

DISAGREEMENT, DISPUTES, BURSTS, DOUBTFUL = (f"feedback.{name}" for name in ("disagreement", "disputes", "bursts", "doubtful_labels"))
LOOKS = "feedback.keys"
KEYS, CLASSES = 8, 10
HONEST = 0.0003  # spread of honest keys beyond their cases, intraclass correlation: 0.5 points around a tenth


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Labels of several keys about answers of one model: predictions with truth as labelled, key str [n]."""

    rows: Predictions
    key: Array


def traffic(
    random: np.random.Generator, *, labels: int = 2000, keys: int = KEYS, lies: float = 0.0, mixed: float = 2.0, errs: float = 0.01
) -> Traffic:
    """Return labels of `keys` keys, of which the first turns a share of its labels into another class.

    Each key has its own mix of classes (Dirichlet with `mixed`), classes differ in how hard they are, and each honest key errs a bit
    differently, in `errs` of its labels. The model is right in about nine of ten answers and its probabilities are calibrated.
    """
    n = labels * keys
    key = np.repeat(np.arange(keys), labels)
    mixes = random.dirichlet(np.full(CLASSES, mixed), size=keys)
    said = np.concatenate([random.choice(CLASSES, labels, p=mix) for mix in mixes])
    sure = random.beta(9 - 0.5 * said, 1)  # class 0 is told with 0.90, class 9 with 0.82
    output = np.repeat(((1 - sure) / (CLASSES - 1))[:, None], CLASSES, axis=1)
    output[np.arange(n), said] = sure
    truth = np.where(random.random(n) < sure, said, (said + random.integers(1, CLASSES, n)) % CLASSES)
    share = random.beta(*_beta(errs, HONEST), size=keys)[key] if errs else np.zeros(n)
    share[key == 0] += lies
    labelled = np.where(random.random(n) < share, (truth + random.integers(1, CLASSES, n)) % CLASSES, truth)
    ids = np.array([f"{number:07d}" for number in range(n)])
    rows = Predictions(kind="category", row_id=ids, target=labelled, output=output, classes=tuple(map(str, range(CLASSES))))
    return Traffic(rows=rows, key=np.array([f"k{one}" for one in key], dtype=object))


def _beta(mean: float, spread: float) -> tuple[float, float]:
    weight = 1 / spread - 1
    return mean * weight, (1 - mean) * weight


def suspected(made: Traffic, *, strata: bool = True) -> list[str]:
    verdicts = screen.disagreeing_keys(made.key, screen.against_model(made.rows), screen.strata_of(made.rows) if strata else None)
    return [one.key for one in verdicts if one.suspected]


@control(DISAGREEMENT, "planted", "one of 8 keys flips 5 % of 3,000 labels: it is suspected and nobody else", trials=300, low=0.9)
def liar_is_suspected(seed: int) -> bool:
    return suspected(traffic(rng(seed, "control", DISAGREEMENT, "planted"), labels=3000, lies=0.05)) == ["k0"]


@control(DISAGREEMENT, "planted", "one of 8 keys flips 5 % of 2,000 labels", trials=300, low=0.75)
def liar_of_fewer_labels_is_suspected(seed: int) -> bool:
    return suspected(traffic(rng(seed, "control", DISAGREEMENT, "planted"), lies=0.05)) == ["k0"]


@control(DISAGREEMENT, "clean", "8 honest keys with cases of their own: nobody is suspected", trials=300, low=0.95)
def honest_keys_pass(seed: int) -> bool:
    return suspected(traffic(rng(seed, "control", DISAGREEMENT, "clean"))) == []


@control(DISAGREEMENT, "clean", "30 honest keys of 100 labels: nobody is suspected", trials=300, low=0.95)
def many_honest_keys_pass(seed: int) -> bool:
    return suspected(traffic(rng(seed, "control", DISAGREEMENT, "many"), labels=100, keys=30)) == []


@control(DISAGREEMENT, "planted", "the plain binomial test suspects an honest key for its cases", trials=300, low=0.5)
def plain_test_accuses(seed: int) -> bool:
    """The naive way: each key against the mean of the others, as if keys and cases did not differ."""
    from scipy.stats import binom

    made = traffic(rng(seed, "control", DISAGREEMENT, "plain"), mixed=0.3)
    hit = screen.against_model(made.rows)
    for key in np.unique(made.key.astype(str)):
        own = made.key == key
        if binom.sf(int(hit[own].sum()) - 1, int(own.sum()), hit[~own].mean()) <= screen.LEVEL / KEYS:
            return True
    return False


@control(DISAGREEMENT, "clean", "8 honest keys with very different cases: nobody is suspected", trials=300, low=0.95)
def different_cases_pass(seed: int) -> bool:
    return suspected(traffic(rng(seed, "control", DISAGREEMENT, "plain"), mixed=0.3)) == []


def looked(random: np.random.Generator, *, lies: float, labels: int, keys: int = KEYS) -> list[str]:
    """Return whom the looks of a watch suspect, first at the first of them that does, while labels of all keys come in, mixed."""
    made = traffic(random, labels=labels, keys=keys, lies=lies)
    came = random.permutation(len(made.key))
    for look in range(1, key_looks.look_of(len(came)) + 1):
        rows = np.sort(came[: key_looks.FIRST_LABELS * 2 ** (look - 1)])
        here = made.rows.rows(rows)
        verdicts = screen.disagreeing_keys(made.key[rows], screen.against_model(here), screen.strata_of(here))
        if found := key_looks.suspected(verdicts, look):
            return [one["key"] for one in found]
    return []


@control(LOOKS, "clean", "8 honest keys, 25,600 labels, 8 looks: nobody is suspected, ever", trials=200, low=0.95)
def honest_keys_pass_every_look(seed: int) -> bool:
    return looked(rng(seed, "control", LOOKS, "clean"), lies=0.0, labels=3200) == []


@control(
    LOOKS, "planted", "one of 8 keys flips 5 % of 3,200 labels: it is suspected and nobody else, at one of the looks", trials=200, low=0.5
)
def one_in_twenty_is_seen(seed: int) -> bool:
    return looked(rng(seed, "control", LOOKS, "5"), lies=0.05, labels=3200) == ["k0"]


@control(LOOKS, "planted", "it flips 10 % of 1,600", trials=200, low=0.85)
def one_in_ten_is_seen(seed: int) -> bool:
    return looked(rng(seed, "control", LOOKS, "10"), lies=0.1, labels=1600) == ["k0"]


@control(LOOKS, "planted", "it flips 30 % of 400", trials=200, low=0.9)
def three_in_ten_are_seen(seed: int) -> bool:
    return looked(rng(seed, "control", LOOKS, "30"), lies=0.3, labels=400) == ["k0"]


def _disputed(random: np.random.Generator, lies: float, answers: int = 4000) -> list[str]:
    """Two of six keys label each answer; the first lies."""
    shares = np.array([0.02 + lies, *[0.02] * 5])
    pairs = np.array([random.choice(6, 2, replace=False) for _ in range(answers)])
    wrong = random.random(pairs.shape) < shares[pairs]
    values = np.where(wrong, random.integers(1, CLASSES, pairs.shape), 0)
    events = [
        {"id": str(answer), "who": f"k{key}", "value": str(value)}
        for answer in range(answers)
        for key, value in zip(pairs[answer], values[answer], strict=True)
    ]
    return [one.key for one in screen.disagreeing_keys(*screen.disputes(events)) if one.suspected]


@control(DISPUTES, "planted", "one of 6 keys flips 5 % of what others label, too: it is suspected and nobody else", trials=200, low=0.9)
def liar_is_disputed(seed: int) -> bool:
    return _disputed(rng(seed, "control", DISPUTES, "planted"), 0.05) == ["k0"]


@control(DISPUTES, "clean", "6 honest keys that err in 2 %: nobody is suspected", trials=300, low=0.95)
def honest_keys_are_not_disputed(seed: int) -> bool:
    return _disputed(rng(seed, "control", DISPUTES, "clean"), 0.0) == []


def _history(random: np.random.Generator, keys: int, windows: int) -> Floats:
    """Counts [K, W] with a pace of each key and days that are busier than others."""
    pace = random.gamma(2.0, 20.0, size=keys)[:, None] * random.gamma(4.0, 0.25, size=(keys, windows))
    return np.asarray(random.poisson(pace))


@control(BURSTS, "planted", "one of 5 keys sends ten times its mean", trials=300, low=0.95)
def burst_is_seen(seed: int) -> bool:
    counts = _history(rng(seed, "control", BURSTS, "planted"), 5, 300)
    counts[0, -1] = 10 * max(counts[0, :-1].mean(), 1)
    found = screen.bursting_keys({f"k{key}": row.tolist() for key, row in enumerate(counts)})
    return found[0].key == "k0" and found[0].suspected


@control(BURSTS, "clean", "5 keys of uneven pace: none bursts", trials=1000, low=0.95)
def uneven_pace_is_no_burst(seed: int) -> bool:
    counts = _history(rng(seed, "control", BURSTS, "clean"), 5, 300)
    return not any(one.suspected for one in screen.bursting_keys({f"k{key}": row.tolist() for key, row in enumerate(counts)}))


@control(DOUBTFUL, "planted", "5 % of 4,000 labels flipped: of the named three quarters are wrong", trials=100, low=0.9)
def flips_are_doubted(seed: int) -> bool:
    random = rng(seed, "control", DOUBTFUL)
    made = traffic(random, labels=4000, keys=1)
    flipped = random.random(4000) < 0.05
    target = np.where(flipped, (made.rows.chosen + random.integers(1, CLASSES, 4000)) % CLASSES, made.rows.chosen)
    rows = Predictions(kind="category", row_id=made.rows.row_id, target=target, output=made.rows.output, classes=made.rows.classes)
    named = screen.doubtful_labels(rows)
    wrong = set(rows.row_id[flipped].tolist())
    return len(named) > 20 and bool(np.mean([one in wrong for one in named.tolist()]) >= 0.75)


@control(DOUBTFUL, "clean", "4,000 right labels of a model that errs in a tenth, as it says: at most 3 % are named", trials=100, low=0.95)
def right_labels_are_not_doubted(seed: int) -> bool:
    """On the road the model's own errors disagree with right labels."""
    made = traffic(rng(seed, "control", DOUBTFUL, "clean"), labels=4000, keys=1, errs=0.0)
    return len(screen.doubtful_labels(made.rows)) <= 0.03 * 4000
