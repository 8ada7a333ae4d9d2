"""Controls of the search for personal data and of k-anonymity: planted numbers are found, meaningless ones are not taken for them.

The numbers that mean nothing are of three kinds: digits at random, serials that have the whole form but no check digit, and one serial on
all rows. A recount of what was made coarser is done on the values themselves, by a counter that shares nothing with the instrument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from weighbridge.audit.privacy_columns import Held, held_by
from weighbridge.controls import control
from weighbridge.privacy.anonymity import climb, measure
from weighbridge.privacy.coarsening import codes_of, ladder_of
from weighbridge.privacy.numbers import CALLING_CODES, IBAN_LENGTHS, MOBILE_CN, PROVINCES, RESIDENT_CHECKS, luhn, resident_checks
from weighbridge.storage.seeds import rng

SEARCH, ANONYMITY = "audit.privacy.personal", "data.anonymize.k"
TRIALS, MANY = 200, 400
ROWS = 200
WORDS = "the order came late and the box was open so please send another one to us before the end of next week or call back".split()
Texts = Sequence[str | None]


def _random(seed: int, name: str) -> np.random.Generator:
    return rng(seed, "control", "privacy", name)


def _digits(random: np.random.Generator, n: int) -> str:
    return "".join(map(str, random.integers(0, 10, n).tolist()))


def card(random: np.random.Generator) -> str:
    """Return a number that an issuer of cards could give."""
    body = str(random.choice(["4", "51", "62", "3528"])) + _digits(random, 15)
    return next(number for digit in "0123456789" if luhn(number := body[:15] + digit))


def resident(random: np.random.Generator, *, checked: bool = True) -> str:
    """Return a resident's number; not `checked`: the last character is any that may stand there."""
    day = np.datetime64("1950-01-01") + random.integers(0, 20_000)
    body = f"{random.choice(sorted(PROVINCES))}{_digits(random, 4)}{str(day).replace('-', '')}{_digits(random, 3)}"
    if not checked:
        return body + str(random.choice(list(RESIDENT_CHECKS)))
    return next(number for last in RESIDENT_CHECKS if resident_checks(number := body + last))


def iban(random: np.random.Generator, *, checked: bool = True) -> str:
    """Return an account; not `checked`: its check digits are any two."""
    country = str(random.choice(sorted(IBAN_LENGTHS)))
    body = _digits(random, IBAN_LENGTHS[country] - 4)
    rest = int("".join(str(int(letter, 36)) for letter in f"{body}{country}00")) % 97
    return f"{country}{98 - rest if checked else random.integers(2, 99):02d}{body}"


def mobile(random: np.random.Generator) -> str:
    """Return a mobile number of mainland China."""
    return str(random.choice(sorted(MOBILE_CN))) + _digits(random, 8)


def sentences(random: np.random.Generator, n: int, planted: Sequence[str]) -> Texts:
    """Return n texts of twelve words, the planted pieces each within another one."""
    rows = [" ".join(random.choice(WORDS, 12).tolist()) for _ in range(n)]
    for place, piece in zip(random.choice(n, len(planted), replace=False).tolist(), planted, strict=True):
        rows[place] = f"{WORDS[0]} {piece} {rows[place]}"
    return rows


def found(column: Texts) -> list[Held]:
    """Return what is found in a column beside one of words."""
    return [one for one in held_by({"column": column, "words": ["nothing to see"] * len(column)}) if one.found]


def _finds(name: str, case: str, make: Callable[[np.random.Generator], Texts], *, low: float = 1.0, trials: int = TRIALS) -> None:
    @control(SEARCH, "planted", case, trials=trials, low=low)
    def finds(seed: int) -> bool:
        return [one.kind.name for one in found(make(_random(seed, case)))] == [name]


def _passes(case: str, make: Callable[[np.random.Generator], str], *, rows: int = ROWS, low: float = 0.95) -> None:
    @control(SEARCH, "clean", case, trials=MANY, low=low)
    def passes(seed: int) -> bool:
        random = _random(seed, case)
        return not found([make(random) for _ in range(rows)])


_finds("email", "one e-mail address in 300 texts", lambda random: sentences(random, 300, [f"u{random.integers(10**6)}@mail.example.org"]))
_finds("card", "three bank cards in 300 texts", lambda random: sentences(random, 300, [card(random) for _ in range(3)]))
_finds(
    "card", "bank cards on 25 of 200 rows of serials that begin as a card's",
    lambda random: [card(random) for _ in range(25)] + ["4" + _digits(random, 15) for _ in range(175)], low=0.9, trials=MANY,
)  # fmt: skip
_finds("resident_id", "two resident numbers in 300 texts", lambda random: sentences(random, 300, [resident(random) for _ in range(2)]))
_finds(
    "iban", "accounts, one in twenty mistyped",
    lambda random: [iban(random, checked=row % 20 > 0) for row in range(60)],
)  # fmt: skip
_finds("phone", "eight Chinese mobile numbers in 300 texts", lambda random: sentences(random, 300, [mobile(random) for _ in range(8)]))
_finds(
    "phone", "one number with its country's code in 300 texts",
    lambda random: sentences(random, 300, [f"+{random.choice(sorted(CALLING_CODES))} {_digits(random, 9)}"]),
)  # fmt: skip
_finds("ssn", "one social security number in 300 texts", lambda random: sentences(random, 300, [f"{random.integers(100, 665)}-12-3456"]))

_passes("200 rows of sixteen digits at random are no bank cards", lambda random: _digits(random, 16))
_passes("200 serials that begin as a card's and have its length", lambda random: "4" + _digits(random, 15))
_passes("200 rows of eighteen digits at random are no resident numbers", lambda random: _digits(random, 18))
_passes("200 serials of a province and a day, without a check", lambda random: resident(random, checked=False))
_passes("200 serials with the form of an account, without a check", lambda random: iban(random, checked=False))
_passes("200 serials of eleven digits that begin as a mobile number's", lambda random: "1" + _digits(random, 10))
_passes(
    "500 part numbers of three, two and four digits", lambda random: f"{_digits(random, 3)}-{_digits(random, 2)}-{_digits(random, 4)}",
    rows=500,
)  # fmt: skip


@control(SEARCH, "clean", "one serial on all rows that passes the check by luck", trials=TRIALS, low=1)
def _repeated(seed: int) -> bool:
    return not found([card(_random(seed, "repeated"))] * ROWS)


@control(SEARCH, "planted", "a search that stops at the form takes serials for cards", trials=TRIALS, low=1)
def _naive(seed: int) -> bool:
    random = _random(seed, "naive")
    held = held_by({"serial": ["4" + _digits(random, 15) for _ in range(ROWS)]})
    return held[0].seen.forms > 0.95 * ROWS and held[0].seen.valid < 0.25 * ROWS


def table(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return columns of numbers, dates, codes and words of uneven frequency, some of them missing, and a sensitive column."""
    n = int(random.integers(150, 500))
    age = np.round(random.gamma(6, 7, n))
    age[random.random(n) < 0.03] = np.nan
    born = np.datetime64("1950-01-01", "us") + random.integers(0, 20_000, n) * np.timedelta64(1, "D")
    job = np.array([f"job{place}" for place in random.zipf(1.6, n).clip(max=30)], dtype=object)
    job[random.random(n) < 0.03] = None
    place = np.array([f"{code:05d}" for code in random.integers(10_000, 10_400, n)], dtype=object)
    return {"number": age, "date": born, "category": job, "category ": place}, random.integers(0, 3, n)


@control(ANONYMITY, "clean", "what was made coarser holds k and l by a recount of its values", trials=TRIALS, low=1)
def _recount(seed: int) -> bool:
    random = _random(seed, "recount")
    columns, sensitive = table(random)
    k, diversity = int(random.integers(2, 12)), int(random.integers(1, 3))
    ladders = {name: ladder_of(name.strip(), column, k) for name, column in columns.items()}
    climbed = climb(
        [codes_of(columns[name], ladder) for name, ladder in ladders.items()], sensitive, k=k, diversity=diversity, most_suppressed=0.05,
        answer=sensitive,
    )  # fmt: skip
    if climbed is None:
        return False
    left = ~climbed.suppressed
    values = []
    for (name, column), rung in zip(columns.items(), climbed.rungs, strict=True):
        step = ladders[name][rung]
        values.append([repr(value) for value in (column if step is None else step.apply(column))[left].tolist()])
    classes = Counter(zip(*values, strict=True))
    told = Counter(combination for combination, _ in set(zip(zip(*values, strict=True), sensitive[left].tolist(), strict=True)))
    return min(classes.values()) >= k and min(told.values()) >= diversity and float(climbed.suppressed.mean()) <= 0.05


@control(ANONYMITY, "planted", "rows that stand alone among classes of ten are counted", trials=TRIALS, low=1)
def _alone(seed: int) -> bool:
    random = _random(seed, "alone")
    planted = int(random.integers(1, 20))
    common = np.repeat(np.arange(20), 10)
    codes = np.concatenate([common, 100 + np.arange(planted)])
    other = np.concatenate([common % 3, np.zeros(planted, dtype=np.int64)])
    order = random.permutation(len(codes))
    seen = measure([codes[order], other[order]], None, 5)
    return seen.k == 1 and round(seen.unique * len(codes)) == planted == round(seen.at_risk * len(codes))


@control(ANONYMITY, "planted", "a rule for each column alone leaves rows that stand alone together", trials=TRIALS, low=1)
def _column_by_column(seed: int) -> bool:
    random = _random(seed, "columns")
    columns = [random.integers(0, 12, 400) for _ in range(4)]
    each = min(measure([column], None, 5).k for column in columns)
    return each >= 5 and measure(columns, None, 5).k == 1
