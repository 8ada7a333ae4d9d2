"""A challenger that answers a share of the requests: is it measurably worse than the champion that answers the others?

Each side has a confidence sequence of its own at half the level (sequences.Mean), so that both hold at every look with `1 - level`. The
challenger is worse when its interval lies below the champion's; that a challenger which is not worse is ever withdrawn happens with at most
`level`, however often one looks. Sides share no rows: requests are parted by a hash of their id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.evaluation.predictions import Array, Floats, Predictions
from weighbridge.feedback.sequences import Mean
from weighbridge.findings import Finding, Message, Reference, Verdict

if TYPE_CHECKING:
    from weighbridge.recipe.feedback import CanaryOptions

SOURCE = "Waudby-Smith and Ramdas 2024"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The confidence sequences of both sides."""

    champion: Mean
    challenger: Mean

    @property
    def worse(self) -> bool:
        return self.challenger.interval[1] < self.champion.interval[0]


def outcomes(rows: Predictions, scale: float = 1.0) -> Floats:
    """Return float64 [n] in [0, 1], 1 for right: of sets the share of labels that is right; of numbers 1 less the error over `scale`."""
    if rows.kind == "number":
        return np.asarray(1 - np.minimum(np.abs(rows.output - rows.target) / max(scale, 1e-300), 1.0))
    right: Array = rows.chosen == rows.target
    return np.asarray(right.mean(axis=1) if rows.kind == "set" else right, dtype=np.float64)


def compare_sides(champion: Floats, challenger: Floats, level: float) -> Sides:
    """Return both sequences after outcomes in the order in which labels came."""
    start = Mean(alpha=level / 2)
    return Sides(champion=start.add(champion), challenger=start.add(challenger))


def canary_finding(sides: Sides, options: CanaryOptions, *, command: str = "") -> Finding:
    """Return `feedback.canary`: a limitation where the challenger is worse, neutral where it held over labels enough, else unmeasured."""
    n, least = sides.challenger.n, options.least_labels
    few = n < least or not sides.champion.n
    verdict: Verdict = "limitation" if sides.worse else "unmeasured" if few else "neutral"
    if sides.worse:
        reason = Message("its interval lies below the champion's, and holds at every look")
    elif few:
        reason = Message(
            "{n} of its answers have a label, {champion} of the champion's; {least} are needed", n=n, champion=sides.champion.n, least=least
        )
    else:
        reason = Message("not measurably worse than the champion meanwhile")
    return Finding(
        key="feedback.canary", title=Message("Challenger in service"), value=sides.challenger.value, interval=sides.challenger.interval,
        unit="share", n=n, verdict=verdict, reason=reason, method=Message("confidence sequences by betting, one a side"), source=SOURCE,
        reference=Reference(name=Message("the champion"), value=sides.champion.value), command=command,
    )  # fmt: skip
