"""Controls of one answer's explanation: its faithfulness holds where it should, and at most as often by chance as it states.

That occlusion ranks a planted column, square or word first is controlled with the audit's explanations, which are made by the same code.
"""

from __future__ import annotations

import numpy as np

from weighbridge.controls import control
from weighbridge.runtime.curves import Shares
from weighbridge.runtime.occlusion import Faithfulness, faithfulness
from weighbridge.storage.seeds import rng

TRIALS = 200
INSTRUMENT = "runtime.explanation.faithfulness"


def told(shares: Shares, parts: int) -> Faithfulness:
    """Return the faithfulness of what occlusion says of the answers `shares`."""
    strength = shares(np.ones((1, parts), bool))[0] - shares(~np.eye(parts, dtype=bool))
    found = faithfulness(shares, strength)
    assert found is not None
    return found


def reads_three(seed: int, parts: int) -> Shares:
    """Return the answers of a model that reads three parts."""
    weights = np.where(np.arange(parts) < 3, 2.0, 0.0)[rng(seed, "control", "occlusion", "reads").permutation(parts)]
    return lambda keep: np.asarray(1 / (1 + np.exp(3.0 - keep @ weights)))


def at_random(seed: int) -> Shares:
    """Return the answers of a model that says something else, always the same, of every set of parts."""
    random, known = rng(seed, "control", "occlusion", "random"), dict[bytes, float]()
    return lambda keep: np.array([known.setdefault(row.tobytes(), random.random()) for row in keep])


def _held(parts: int, power: float) -> None:
    @control(INSTRUMENT, "planted", f"a model that reads 3 of {parts} parts: holds", trials=TRIALS, low=power)
    def holds(seed: int) -> bool:
        return told(reads_three(seed, parts), parts).status == "holds"

    @control(INSTRUMENT, "clean", f"a model that answers sets of {parts} parts at random: not said to hold", trials=TRIALS, low=0.95)
    def by_chance(seed: int) -> bool:
        return told(at_random(seed), parts).status != "holds"


_held(10, 0.8)
_held(64, 0.95)


@control(INSTRUMENT, "clean", "a model that ignores its input: fails", trials=100, low=1)
def constant(seed: int) -> bool:
    return told(lambda keep: np.full(len(keep), 0.7), 2 + seed % 63).status == "fails"


@control(INSTRUMENT, "planted", "naive: any lead over random orders is believed, model of 10 parts at random", trials=TRIALS, low=0.4)
def naive(seed: int) -> bool:
    return told(at_random(seed), 10).lead > 0
