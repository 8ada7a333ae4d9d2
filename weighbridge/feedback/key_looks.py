"""When keys are looked at, and at which level: so that looking again costs nothing of the stated rate.

Looks happen when a champion's labelled answers reach 200, 400, 800, ... Look k of a screen has the level 0.025 / (k (k + 1)); these add up
to 0.025. There are two screens, so the chance that any honest key is ever suspected is at most 5 % a champion (Bonferroni over looks).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from weighbridge.feedback.screen import LEVEL, KeyVerdict

FIRST_LABELS, SCREENS = 200, 2


def look_of(labels: int) -> int:
    """Return which look so many labels make due, 1 for the first; 0 while none is."""
    return 0 if labels < FIRST_LABELS else 1 + int(math.log2(labels / FIRST_LABELS))


def level_of(look: int) -> float:
    """Return the level of one screen at a look."""
    return LEVEL / SCREENS / (look * (look + 1))


def suspected(verdicts: Iterable[KeyVerdict], look: int) -> list[dict[str, Any]]:
    """Return, as JSON, those of a screen's verdicts that are suspected at this look: key, hits, n, expected share, corrected p-value."""
    return [
        {"key": one.key, "hits": one.hits, "n": one.n, "expected": one.expected, "p_value": one.p_value}
        for one in verdicts
        if one.p_value is not None and one.p_value <= level_of(look)
    ]
