"""How much a caller may ask: requests a second (a token bucket) and rows a day. Every table here has a bound.

The bucket is kept as one number a caller, the moment at which it is full again (GCRA, ITU-T I.371): equal to counting tokens and
without rounding over time.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from weighbridge.errors import RunError, UsageError
from weighbridge.storage import read_json, write_private
from weighbridge.storage.hashes import canonical_json

MOST_CALLERS = 100_000
DAY_S = 86_400
USAGE = "usage.json"
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """What a caller may ask; None is without a bound. `burst` requests may come at once; by default a second's worth."""

    rate_per_s: float | None = None
    burst: int | None = None
    rows_per_day: int | None = None

    def __post_init__(self) -> None:
        if self.rate_per_s is not None and not 1e-6 <= self.rate_per_s <= 1e6:
            raise UsageError(f"a rate of {self.rate_per_s:g} requests a second can not be kept", do="give 0.000001 to 1000000")
        if self.burst is not None and not 1 <= self.burst <= 1_000_000:
            raise UsageError(f"a burst of {self.burst} requests can not be kept", do="give 1 to 1000000")
        if self.burst is not None and self.rate_per_s is None:
            raise UsageError("a burst needs a rate", do="give the requests a second, too")
        if self.rows_per_day is not None and self.rows_per_day < 0:
            raise UsageError(f"{self.rows_per_day} rows a day can not be kept", do="give 0 or more")

    @property
    def at_once(self) -> int:
        """Requests that may come at once."""
        return self.burst or max(1, math.ceil(self.rate_per_s or 1))

    def told(self) -> dict[str, float | int | None]:
        """Return it as JSON values, which `of` reads."""
        return {"rate_per_s": self.rate_per_s, "burst": self.burst, "rows_per_day": self.rows_per_day}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return the allowance that `told` holds. Raises UsageError, ValueError, TypeError."""
        rate, burst, rows = (told.get(name) for name in ("rate_per_s", "burst", "rows_per_day"))
        return cls(
            rate_per_s=None if rate is None else float(rate),
            burst=None if burst is None else int(burst),
            rows_per_day=None if rows is None else int(rows),
        )


class Rates:
    """Token buckets by name, of `most` names at a time: the one that was asked longest ago is forgotten first."""

    def __init__(self, *, most: int = MOST_CALLERS) -> None:
        self._most = most
        self._full_again_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_again_s)

    def wait_s(self, name: str, rate_per_s: float, burst: int, now_s: float) -> float:
        """Return how long a request would have to wait for a token; nothing is taken."""
        full_s = self._full_again_s.get(name, now_s)
        wait_s = full_s - now_s - (burst - 1) / rate_per_s
        return wait_s if wait_s > 1e-9 else 0.0

    def take(self, name: str, rate_per_s: float, burst: int, now_s: float) -> float:
        """Take a token and return 0, or take none and return how long to wait for one."""
        wait_s = self.wait_s(name, rate_per_s, burst, now_s)
        if wait_s:
            return wait_s
        self._full_again_s[name] = max(self._full_again_s.get(name, now_s), now_s) + 1 / rate_per_s
        self._full_again_s.move_to_end(name)
        if len(self._full_again_s) > self._most:
            self._full_again_s.popitem(last=False)
        return 0.0


class Usage:
    """Rows of the day and the day of the last use, by caller; `save` keeps them over a restart. Days are those of UTC.

    What was charged since the last `save` is forgotten by a kill: some seconds of rows, never a whole day's.
    """

    def __init__(self, folder: Path | None = None, *, clock: Clock = time.time, most: int = MOST_CALLERS) -> None:
        self.path, self._clock, self._most = None if folder is None else folder / USAGE, clock, most
        self._day, self._rows, self._used, self._changed = self._today(), OrderedDict[str, int](), OrderedDict[str, int](), False
        if self.path is not None and self.path.exists():
            self._load(self.path)

    def seen(self, who: str) -> None:
        """The caller used the server today."""
        today = self._today()
        if self._used.get(who) != today:
            self._used[who], self._changed = today, True
            if len(self._used) > self._most:
                self._used.popitem(last=False)

    def charge(self, who: str, rows: int) -> None:
        """The caller was answered `rows` rows more today."""
        self._turn()
        self._rows[who] = self._rows.get(who, 0) + rows
        self._changed = True
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)

    def rows(self, who: str) -> int:
        """Return the rows that the caller was answered today."""
        self._turn()
        return self._rows.get(who, 0)

    def until_tomorrow_s(self) -> float:
        """Return the seconds until the day's rows are counted from zero."""
        return DAY_S - self._clock() % DAY_S

    def last_used(self, who: str) -> str:
        """Return the day on which the caller last used the server, or an empty string."""
        day = self._used.get(who)
        return "" if day is None else _iso(day)

    def save(self) -> None:
        """What changed is in the file. Raises StorageError."""
        if self.path is None or not self._changed:
            return
        self._changed = False
        used = {who: _iso(day) for who, day in self._used.copy().items()}  # copied: the event loop goes on in another thread
        told = {"day": _iso(self._day), "rows": dict(self._rows.copy()), "last_used": used}
        try:
            write_private(self.path, canonical_json(told).encode() + b"\n")
        except UsageError:
            self._changed = True
            raise

    def _load(self, path: Path) -> None:
        told = read_json(path)
        try:
            self._day = _number(told["day"])
            self._rows.update({str(who): int(rows) for who, rows in told["rows"].items()})
            self._used.update({str(who): _number(day) for who, day in told["last_used"].items()})
        except (KeyError, TypeError, ValueError, AttributeError):
            raise RunError(
                f"{path} does not hold what callers used", do="remove it; the rows of today are then counted from zero"
            ) from None

    def _turn(self) -> None:
        """A new day begins with zero rows; a clock that was set back by a few hours does not."""
        today = self._today()
        if today > self._day or today < self._day - 1:
            self._day, self._changed = today, True
            self._rows.clear()

    def _today(self) -> int:
        return int(self._clock() // DAY_S)


def _iso(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_S, UTC).date().isoformat()


def _number(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() // DAY_S)
