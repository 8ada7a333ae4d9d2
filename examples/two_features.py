"""`examples/two_features.csv` is this program's output: python examples/two_features.py > examples/two_features.csv

Two inputs, `hours` studied and `sleep` the night before, each to one decimal. The chance to pass is

    p = 1 / (1 + exp(-(1.2 (hours - 5) + 0.8 (sleep - 7))))

so the best possible border is the line 1.2 hours + 0.8 sleep = 11.6. Random numbers come from Park and Miller's "minimal
standard" generator (1988), x <- 16807 x mod (2^31 - 1) from seed 2026, which can be followed with a pocket calculator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator


def uniform(seed: int) -> Iterator[float]:
    """Give numbers in (0, 1)."""
    while True:
        seed = 16807 * seed % (2**31 - 1)
        yield seed / (2**31 - 1)


def main() -> None:
    """Print the header and 200 rows."""
    draw = uniform(2026)
    seen: set[tuple[float, float]] = set()
    print("hours,sleep,passed")
    while len(seen) < 200:
        hours, sleep = round(10 * next(draw), 1), round(4 + 6 * next(draw), 1)
        if (hours, sleep) in seen:  # no two rows alike: nothing for the cleaning to drop
            continue
        seen.add((hours, sleep))
        chance = 1 / (1 + math.exp(-(1.2 * (hours - 5) + 0.8 * (sleep - 7))))
        print(f"{hours},{sleep},{'yes' if next(draw) < chance else 'no'}")


if __name__ == "__main__":
    main()
