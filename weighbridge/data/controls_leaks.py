"""Controls of the leak gate: small data sets with one planted leak that must stop the stage and be named, and clean ones that must pass.

A trial runs the whole data stage on files, as a user would. The clean sets hold honest signal up to what a single measurement can bring
(97 of 100 rows answered by one column), few rows, rare classes, groups, times, gaps and pictures.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.controls import control
from weighbridge.errors import LeakError
from weighbridge.findings import Finding
from weighbridge.storage.seeds import rng

TRIALS = 100
Columns = dict[str, Any]
Set = tuple[Columns, dict[str, Any]]  # the columns, and the keys of the recipe's data section
DAY = np.timedelta64(1, "D")


def outcome(columns: Columns, /, **section: Any) -> tuple[str, list[Finding]]:
    """Return (the gate's message where it stopped the data stage or "", the findings where it did not)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from weighbridge.data import prepare
    from weighbridge.recipe.schema import DataSection

    with tempfile.TemporaryDirectory(prefix="weighbridge-") as place:
        file = Path(place) / "rows.parquet"
        pq.write_table(pa.table(columns), file)
        read = DataSection.model_validate({"source": str(file), "target": "y", **section})
        try:
            return "", prepare(read, seed=0, folder=Path(place) / "data", command="weigh data runs/x")
        except LeakError as error:
            return str(error), []


def honest(seed: int, n: int = 600) -> Columns:
    """Return a clean set: numbers, a category and a date of some signal, a class of two values."""
    random = rng(seed, "controls.leaks", n)
    y = random.integers(0, 2, n)
    return {
        "strong": y * 1.5 + random.normal(size=n),
        "weak": y * 0.3 + random.normal(size=n),
        "place": np.where(random.random(n) < 0.3, "north", np.where(y == 1, "east", "west")),
        "seen": np.datetime64("2024-01-01", "us") + random.integers(0, 900, n) * DAY,
        "y": np.where(y == 1, "yes", "no"),
    }


def _stops(columns: Columns, leak: str, *words: str, **section: Any) -> bool:
    """Say whether the stage stops for this leak alone, in words that hold all of `words`."""
    message, _ = outcome(columns, **section)
    return message.startswith(f"leak {leak}: ") and message.count("leak ") == 1 and all(word in message for word in words)


def _part(n: int, random: np.random.Generator) -> np.ndarray:
    return random.choice(["train", "validation", "test"], n, p=[0.65, 0.15, 0.2])


@control("data.leak.duplicates", "planted", "equal rows on both sides of a given split", trials=TRIALS, low=1)
def _duplicates(seed: int) -> bool:
    random, columns = rng(seed, "controls.leaks.duplicates"), honest(seed)
    columns["part"] = _part(len(columns["y"]), random)
    test, train = (int(random.choice(np.flatnonzero(columns["part"] == side))) for side in ("test", "train"))
    for name in columns.keys() - {"part"}:
        columns[name][train] = columns[name][test]
    named = f"row {train + 1} (train) = row {test + 1} (test)"
    return _stops(columns, "duplicates", named, split={"column": "part"}, clean={"duplicates": "keep"})


@control("data.leak.near_duplicates", "planted", "images saved again, paler or smaller, under a split by hash", trials=TRIALS, low=1)
def _images(seed: int) -> bool:
    random = rng(seed, "controls.leaks.images")
    pixels = _pictures(random, 30)
    files = [_png(image) for image in pixels] + [_changed(image, number, random) for number, image in enumerate(pixels[:12])]
    y = [str(number % 2) for number in (*range(30), *range(12))]
    return _stops({"image": files, "y": y}, "near_duplicates", "column image")


@control("data.leak.near_duplicates", "planted", "images saved again leave the training rows of a given split", trials=TRIALS, low=1)
def _images_given(seed: int) -> bool:
    random = rng(seed, "controls.leaks.given")
    pixels = _pictures(random, 20)
    files = [_png(image) for image in pixels] + [_changed(image, number, random) for number, image in enumerate(pixels[:6])]
    y = [str(number % 2) for number in (*range(20), *range(6))]
    part = ["test"] * 6 + ["validation"] * 4 + ["train"] * 16
    message, findings = outcome({"image": files, "y": y, "part": part}, split={"column": "part"})
    found = {finding.key: finding.value for finding in findings}
    return not message and (found["data.leak.near_duplicates"], found["data.rows"]) == (6, 20)


@control("data.leak.target", "planted", "a number made from the class", trials=TRIALS, low=1)
def _number(seed: int) -> bool:
    columns, random = honest(seed), rng(seed, "controls.leaks.number")
    columns["after"] = np.where(columns["y"] == "yes", 7.0, 3.0) + random.normal(0, 0.3, len(columns["y"]))
    return _stops(columns, "target", "after")


@control("data.leak.target", "planted", "a number made from the number to predict", trials=TRIALS, low=1)
def _number_of_number(seed: int) -> bool:
    random = rng(seed, "controls.leaks.price")
    x = random.normal(size=(600, 2))
    price = np.exp(x[:, 0] + 0.5 * x[:, 1] + random.normal(size=600))
    return _stops({"a": x[:, 0], "b": x[:, 1], "taxed": np.round(price * 1.19, 3), "y": price}, "target", "taxed")


@control("data.leak.target", "planted", "a category of other words for the class", trials=TRIALS, low=1)
def _category(seed: int) -> bool:
    columns, random = honest(seed), rng(seed, "controls.leaks.category")
    kinds = np.array(["A1", "A2", "B1", "B2", "B3"])
    chosen = np.where(columns["y"] == "yes", random.integers(0, 2, 600), random.integers(2, 5, 600))
    columns["code"] = kinds[chosen]
    return _stops(columns, "target", "code")


@control("data.leak.target", "planted", "a date that tells the class", trials=TRIALS, low=1)
def _date(seed: int) -> bool:
    columns, random = honest(seed), rng(seed, "controls.leaks.date")
    days = np.where(columns["y"] == "yes", random.integers(0, 300, 600), random.integers(330, 700, 600))
    columns["closed"] = np.datetime64("2025-01-01", "us") + days * DAY
    return _stops(columns, "target", "closed")


@control("data.leak.target", "planted", "a number that is missing where the class is no", trials=TRIALS, low=1)
def _missing(seed: int) -> bool:
    columns, random = honest(seed), rng(seed, "controls.leaks.missing")
    columns["paid"] = np.where(columns["y"] == "yes", random.gamma(2.0, 50.0, 600), np.nan)
    return _stops(columns, "target", "missing(paid)")


@control("data.leak.group", "planted", "a group of rows on both sides of a given split", trials=TRIALS, low=1)
def _group(seed: int) -> bool:
    random, columns = rng(seed, "controls.leaks.group"), honest(seed)
    person = random.integers(0, 60, len(columns["y"]))
    side_of = _part(60, random)
    columns["part"], columns["person"] = side_of[person], np.char.add("p", person.astype(str))
    moved = int(random.choice(np.flatnonzero((columns["part"] == "test") & (np.bincount(person)[person] > 1))))
    columns["part"][moved] = "train"
    return _stops(columns, "group", "1 group", f"'p{person[moved]}'", "row ", split={"column": "part"}, group="person")


@control("data.leak.time", "planted", "a split by hash of rows with a time", trials=TRIALS, low=1)
def _time(seed: int) -> bool:
    return _stops(honest(seed), "time", "column seen", time="seen", split={"method": "hash"})


@control("data.leak", "clean", "sets of twelve kinds pass without a stop", trials=TRIALS, low=1)
def _clean(seed: int) -> bool:
    columns, section = clean_set(seed)
    return not outcome(columns, **section)[0]


def clean_set(seed: int) -> Set:
    """Return the clean set of this seed: its kind is one of CLEAN in turn."""
    return CLEAN[seed % len(CLEAN)](rng(seed, "controls.leaks.clean"))


def _strong(random: np.random.Generator) -> Set:
    """One measurement alone answers 97 of 100 rows."""
    y = random.integers(0, 2, 600)
    return {"m": y * 3.76 + random.normal(size=600), "k": random.normal(size=600), "y": y.astype(str)}, {}


def _few(random: np.random.Generator) -> Set:
    n = int(random.integers(40, 90))
    y = np.arange(n) % 2
    return {"m": y * 3.3 + random.normal(size=n), "k": y + random.normal(size=n), "y": y.astype(str)}, {"split": {"method": "stratified"}}


def _rare(random: np.random.Generator) -> Set:
    n = 1500
    y = (random.random(n) < 0.03).astype(int)
    return {"m": y * 3.5 + random.normal(size=n), "flag": np.where(random.random(n) < 0.95, y, 1 - y).astype(str), "y": y.astype(str)}, {}


def _classes(random: np.random.Generator) -> Set:
    y = random.integers(0, 10, 900)
    columns: Columns = {f"m{k}": y * random.normal() + random.normal(size=900) for k in range(6)}
    return columns | {"y": np.char.add("class", y.astype(str))}, {}


def _categories(random: np.random.Generator) -> Set:
    """A code of many values, each with a leaning of its own."""
    code = random.integers(0, 40, 800)
    y = random.random(800) < np.clip(random.beta(0.5, 0.5, 40), 0.05, 0.95)[code]
    return {"code": np.char.add("c", code.astype(str)), "size": random.choice(["s", "m", "l"], 800), "y": y}, {}


def _line(random: np.random.Generator) -> Set:
    x = random.normal(size=(500, 3))
    return {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": 5 * x[:, 0] + x[:, 1] + 0.5 * random.normal(size=500)}, {}


def _short_line(random: np.random.Generator) -> Set:
    x = random.normal(size=(70, 2))
    return {"a": x[:, 0], "b": x[:, 1], "y": 4 * x[:, 0] + x[:, 1] + random.normal(size=70)}, {}


def _single(random: np.random.Generator) -> Set:
    """The only input is the task: a number without noise."""
    x = random.uniform(-3, 3, 300)
    return {"x": x, "y": 2 * x + 1}, {}


def _trend(random: np.random.Generator) -> Set:
    """Rows in time that resemble the ones before, split by time."""
    level = np.cumsum(random.normal(size=500))
    days = np.datetime64("2023-01-01", "us") + np.arange(500) * DAY
    return {"day": days, "level": level, "lag": np.roll(level, 1), "y": np.roll(level, -1) + random.normal(size=500)}, {"time": "day"}


def _persons(random: np.random.Generator) -> Set:
    """A group's rows share its class, and stand on one side."""
    person = random.integers(0, 80, 600)
    y = random.integers(0, 2, 80)[person]
    columns = {"m": y + random.normal(size=600), "k": random.normal(size=80)[person], "person": person, "y": y.astype(str)}
    return columns, {"group": "person"}


def _gaps(random: np.random.Generator) -> Set:
    """Values that are missing more often in one class, and whole numbers of which many rows are equal."""
    y = random.integers(0, 3, 700)
    age = np.where(random.random(700) < 0.2 + 0.3 * (y == 2), np.nan, np.round(30 + 8 * y + random.normal(0, 6, 700)))
    return {"age": age, "rooms": random.integers(1, 5, 700), "y": y.astype(str)}, {}


def _images_apart(random: np.random.Generator) -> Set:
    files = [_png(image) for image in _pictures(random, 40)]
    return {"image": files, "y": [str(number % 2) for number in range(40)]}, {}


CLEAN: Sequence[Callable[[np.random.Generator], Set]] = (
    _strong, _few, _rare, _classes, _categories, _line, _short_line, _single, _trend, _persons, _gaps, _images_apart,
)  # fmt: skip


def _pictures(random: np.random.Generator, n: int) -> np.ndarray:
    """Return n pictures of smooth random light and one disc each. uint8 [n, 96, 96]."""
    y, x = np.mgrid[0:96, 0:96] / 96.0
    pictures = np.empty((n, 96, 96))
    for number in range(n):
        waves = sum(random.normal() * np.sin(2 * np.pi * (u * x + v * y) + random.uniform(0, 6.3)) for u in range(3) for v in range(3))
        centre = random.uniform(0.2, 0.8, 2)
        disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < random.uniform(0.01, 0.06)
        pictures[number] = 110 + 25 * waves + 70 * disc
    return np.clip(pictures, 0, 255).astype(np.uint8)


def _changed(pixels: np.ndarray, number: int, random: np.random.Generator) -> bytes:
    """Return the picture as JPEG, darker, or smaller, by turns."""
    from PIL import Image

    if number % 3 == 1:
        pixels = np.clip(pixels * random.uniform(0.93, 0.97), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if number % 3 == 2:
        image = image.resize((72, 72), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
