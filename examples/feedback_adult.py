"""Adult income where the people change: how well is accuracy estimated without labels, and which column is said to have moved?

    python examples/fetch.py adult
    python examples/feedback_adult.py

The model is trained and judged on people of whom most are young: a person of age a is taken with probability 1 / (1 + exp((a - 38) / 6)).
Then come groups of 1,000 others, each answered, written into a log as `weigh serve` writes it, and held to the contract without one label;
the true share right, which nobody would know, is printed beside the estimate. docs/feedback_example.md has the figures of a whole run.
"""

from __future__ import annotations

import csv
import datetime
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.deployment.overseeing import hold_to_promise
from weighbridge.feedback.log import Log
from weighbridge.findings import by_key
from weighbridge.runtime import Model

SOURCE, WORK = Path(".data/adult"), Path("runs/feedback_adult")
ROWS, GROUPS = 1000, 10
NUMBERS = ("age", "education_num", "capital_gain", "capital_loss", "hours_per_week")
Row = dict[str, Any]
Weight = Callable[[np.ndarray, np.ndarray], np.ndarray]


def tilted(step: float) -> Weight:
    """Weights of people by age; step -1 is how the training rows were taken, 0 takes all alike, 1 the old."""
    return lambda age, hours: 1 / (1 + np.exp(-step * (age - 38) / 6))


SCENES: dict[str, Weight] = {
    "as at training": tilted(-1),
    "all ages alike": tilted(0),
    "mostly older": tilted(1),
    "older than 50": lambda age, hours: (age > 50).astype(float),
    "more than 45 hours a week": lambda age, hours: (hours > 45).astype(float),
}


def people() -> list[Row]:
    """Both official sides of Adult together."""
    found = []
    for side in ("train", "test"):
        with (SOURCE / f"{side}.csv").open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def written(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)


def trained(rows: list[Row], age: np.ndarray, random: np.random.Generator) -> tuple[Model, np.ndarray]:
    """Return the model of the recipe on people of whom most are young, and which rows come later, bool [n]: half of all, by chance."""
    later = random.random(len(rows)) < 0.5
    places = random.permutation(np.flatnonzero(~later & (random.random(len(rows)) < tilted(-1)(age, age))))
    cut = len(places) // 4
    WORK.mkdir(parents=True, exist_ok=True)
    written(WORK / "test.csv", [rows[place] for place in places[:cut]])
    written(WORK / "train.csv", [rows[place] for place in places[cut:]])
    weigh = [sys.executable, "-m", "weighbridge.cli", "run", "examples/feedback_adult.yaml"]
    subprocess.run([*weigh, "--runs", str(WORK), "--set", "name=run"], check=True)
    return Model.load(WORK / "run" / "deployment" / "package"), later


def answered(model: Model, rows: list[Row], log: Log) -> float:
    """The log holds the model's answers to these rows as a worker writes them, without labels; return the share right."""
    asked = [{name: float(row[name]) if name in NUMBERS else row[name] for name in model.signature} for row in rows]
    answer = model.predict(asked)
    assert answer.probabilities is not None
    journal, now = log.journal(), datetime.datetime.now(datetime.UTC)
    journal.describe(model=model.hash, package="adult", kind="category", classes=model.classes)
    journal.append(
        {"id": f"a{place}", "time": (now + datetime.timedelta(milliseconds=place)).isoformat(), "package": "adult", "model": model.hash,
         "key": "users", "latency_s": 0.001, "inputs": row, "output": said}
        for place, (row, said) in enumerate(zip(asked, answer.probabilities.tolist(), strict=True))
    )  # fmt: skip
    journal.close()
    log.ingest()
    return float(np.mean([said == row["income"] for said, row in zip(answer.labels, rows, strict=True)]))


def held_to_promise(model: Model, rows: list[Row], state: Path) -> tuple[list[float], list[str]]:
    """Return estimate, truth and the interval's ends, and the columns that are said to have moved."""
    shutil.rmtree(state, ignore_errors=True)
    log = Log.open(state)
    truth = answered(model, rows, log)
    findings = hold_to_promise(log, "adult", model.info.folder)
    log.close()
    estimate = by_key(findings, "feedback.estimate")
    assert estimate is not None
    assert estimate.interval is not None
    inputs = [one for one in findings if one.key.startswith("feedback.input.")]
    moved = [one.key.removeprefix("feedback.input.") for one in inputs if one.verdict == "limitation"]
    return [float(estimate.value), truth, *estimate.interval], moved


def main() -> None:
    random, rows = np.random.default_rng(0), people()
    age, hours = (np.array([float(row[name]) for row in rows]) for name in ("age", "hours_per_week"))
    model, later = trained(rows, age, random)
    heads = (
        "people",
        f"estimated, {GROUPS} groups of {ROWS:,}",
        "true",
        "interval holds it",
        "its mean width",
        "moved, in how many groups",
    )
    print("\n| " + " | ".join(heads) + " |\n" + "| --- " * len(heads) + "|")
    for name, weight in SCENES.items():
        chance, told, moved = weight(age, hours) * later, [], Counter[str]()
        for group in range(GROUPS):
            chosen = random.choice(len(rows), ROWS, replace=False, p=chance / chance.sum())
            numbers, columns = held_to_promise(model, [rows[place] for place in chosen], WORK / "states" / f"{name} {group}")
            told.append(numbers)
            moved.update(columns)
        value, truth, low, high = np.array(told).T
        held = int(((low <= truth) & (truth <= high)).sum())
        columns = ", ".join(f"{one} {count}" for one, count in moved.most_common()) or "-"
        cells = (name, f"{value.mean():.3f}", f"{truth.mean():.3f}", f"{held} of {GROUPS}", f"{(high - low).mean():.3f}", columns)
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
