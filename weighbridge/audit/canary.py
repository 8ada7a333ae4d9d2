"""Whether texts are learnt by heart: nonsense with a random label is put among the rows of a copy of the training (Carlini 2019).

A canary is a row of tokens drawn at random, of a length that rows have, with a label drawn at random: nothing but having seen it tells its
label. How much better the copy knows canaries that it saw once, four or sixteen times than canaries that it never saw is its exposure, in
bits. The run's own network is not touched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.audit.membership import answers_of_copy, joined, no_copies, told
from weighbridge.audit.membership_score import exposure
from weighbridge.audit.subject import Unmeasured
from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.predictions import Floats
from weighbridge.findings import Message
from weighbridge.preprocessing.ragged import PAD, Ragged, ragged
from weighbridge.storage import read_json
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject
    from weighbridge.preprocessing import Arrays

TIMES = (1, 4, 16)
EACH, NEVER = 16, 255  # canaries seen so many times; never seen
CHANCE_BITS = 1.4427  # mean exposure of what was never seen: log2(e)
LEAST = 200  # training rows: fewer would be drowned in canaries
MOST, CAP_S = 4000, 20.0


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """Mean exposure in bits of canaries that were seen `times` times, with Student's interval over n of them."""

    times: int
    bits: float
    interval: Interval
    n: int


def canaries(subject: Subject) -> list[Exposed]:
    """Return how far canaries stand out by how often they were seen. Raises Unmeasured, TrainingError, Stopped."""
    if reason := no_copies(subject):
        raise Unmeasured(reason)
    train = subject.arrays["train"]
    if len(train) < LEAST:
        raise Unmeasured(Message("{rows} training rows are too few: {least} are needed", rows=len(train), least=LEAST))
    most = rows_in_time(subject)
    if most < LEAST:
        why = Message(
            "in {cap} s a copy of the training learns {rows} rows: {least} are needed", cap=round(cap_s(subject)), rows=most, least=LEAST
        )
        raise Unmeasured(why)
    random = rng(subject.seed, "audit", "canary")
    rows = train.subset(np.sort(random.permutation(len(train))[:most]))
    planted, never = (strange_rows(rows, count, random) for count in (EACH * len(TIMES), NEVER))
    again = np.repeat(np.arange(EACH * len(TIMES)), np.repeat(TIMES, EACH))
    learnt = joined(rows, planted.subset(again))
    seed = seed31(subject.seed, "audit", "canary", "training")
    answer = answers_of_copy(subject, learnt, np.arange(len(learnt)), seed=seed, label="learn canaries")
    score = [told(subject, answer(part), part) for part in (planted, never)]
    return [exposed(times, score[0][place * EACH : (place + 1) * EACH], score[1]) for place, times in enumerate(TIMES)]


def cap_s(subject: Subject) -> float:
    """Return the seconds that the copy may take: those of the run's own training, and CAP_S at least."""
    return max(CAP_S, subject.training_s)


def rows_in_time(subject: Subject) -> int:
    """Return how many training rows the copy learns beside its canaries, at most MOST."""
    rows = int(read_json(subject.folder / "preprocessing" / "train" / "arrays.json")["rows"])
    fit = int(cap_s(subject) / max(subject.training_s / max(rows, 1), 1e-9)) - EACH * sum(TIMES)
    return max(0, min(rows, MOST, fit))


def takes_s(subject: Subject) -> float:
    """Return about the seconds of the copy; 0 where there is none."""
    rows, seen = int(read_json(subject.folder / "preprocessing" / "train" / "arrays.json")["rows"]), rows_in_time(subject)
    return 0.0 if seen < LEAST else subject.training_s * (seen + EACH * sum(TIMES)) / max(rows, 1) + 1.0


def strange_rows(like: Arrays, count: int, random: np.random.Generator) -> Arrays:
    """Return rows of random tokens and random labels; other blocks and the lengths are those of rows drawn at random, each by itself."""
    assert like.target is not None
    picks = random.integers(0, len(like), count)
    blocks: dict[str, np.ndarray | Ragged] = {}
    for name, values in like.blocks.items():
        if isinstance(values, Ragged):
            known = np.unique(np.asarray(values.tokens))
            padded = values[picks]
            blocks[name] = ragged(np.where(padded != PAD, random.choice(known, padded.shape), PAD).astype(np.int32))
        else:
            blocks[name] = np.asarray(values)[random.integers(0, len(like), count)]
    target = np.asarray(like.target)
    if np.issubdtype(target.dtype, np.integer):
        drawn = random.choice(np.unique(target), count).astype(target.dtype)
    else:
        drawn = target[random.integers(0, len(like), count)]
    return replace(like, blocks=blocks, target=drawn, stored_ids=np.array([f"canary {row:05}" for row in range(count)]).astype("S"))


def exposed(times: int, canary: Floats, never: Floats) -> Exposed:
    """Return how far canaries [n] stand out among those that were never seen [m]; scores, more: better known."""
    from scipy.stats import t

    bits = exposure(canary, never)
    half = float(t.ppf(0.975, len(bits) - 1) * bits.std(ddof=1) / np.sqrt(len(bits)))
    mean, most = float(bits.mean()), float(np.log2(len(never) + 1))
    return Exposed(times=times, bits=mean, interval=(max(0.0, mean - half), min(most, mean + half)), n=len(bits))
