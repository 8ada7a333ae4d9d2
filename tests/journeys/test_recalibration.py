"""Law: a recalibrated model is held to its own answers: the stream on which it was mended raises no alarm, and it knows how good it
is.

The model is small and learnt 150 rows with wrong labels among them by heart, so it is too sure of everything, at release as in service.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.loop_states import FIXED, NAME, answer, label, rows
from weighbridge import lifecycle
from weighbridge.deployment import release
from weighbridge.deployment.recalibrate import recalibrate
from weighbridge.feedback.estimate import estimated_accuracy
from weighbridge.feedback.log import Log
from weighbridge.feedback.looking import Watch, look
from weighbridge.feedback.registry import Registry
from weighbridge.feedback.streams import OUTPUT
from weighbridge.feedback.windows import Window
from weighbridge.recipe import parse_recipe
from weighbridge.runtime import Model
from weighbridge.runtime.contract import Contract, read_contract
from weighbridge.storage import read_json

pytestmark = pytest.mark.slow
LIES = 0.25  # of the labels, in the run and in service


def noisy(n: int, seed: int) -> list[dict[str, Any]]:
    random, turned = np.random.default_rng(seed), {"up": "down", "down": "up"}
    return [{**row, "y": turned[row["y"]] if random.random() < LIES else row["y"]} for row in rows(n, seed)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recalibration")
    lines = [f"{one['a']},{one['b']},{one['c']},{one['y']}" for one in noisy(3000, 0)]
    (folder / "rows.csv").write_text("\n".join(["a,b,c,y", *lines]) + "\n", encoding="utf-8")
    training: dict[str, Any] = {**FIXED, "early_stopping": {"enabled": False}, "epochs": 60, "optimizer": {"type": "adamw", "lr": 0.01}}
    training["model"] = {"type": "mlp", "hidden": [64, 64], "dropout": 0}
    made = {
        "name": NAME, "data": {"source": str(folder / "rows.csv"), "target": "y", "split": {"train_rows": 150}}, "training": training,
        "optimization": False, "audit": False, "evaluation": {"resamples": 200, "baselines": ["trivial"], "slices": False},
    }  # fmt: skip
    lifecycle.run(parse_recipe(made), folder / "run")
    return folder / "run"


@pytest.fixture
def served(run: Path, tmp_path: Path) -> Iterator[tuple[Registry, Log]]:
    shutil.copytree(run, tmp_path / "run")
    registry, log = Registry.open(tmp_path / "state", NAME), Log.open(tmp_path / "state")
    release(registry, tmp_path / "run", "first")
    yield registry, log
    log.close()


def watched(registry: Registry, log: Log) -> tuple[Contract, Watch, Window]:
    """Return what the champion promises, what the watch says of it by now, and its answers."""
    current = registry.current()
    assert current is not None
    contract, model = read_contract(registry.path(current.champion)), Model.load(registry.path(current.champion))
    assert contract is not None
    return contract, look(log, contract, model, Watch.start(contract)), log.window(model=model.hash)


def mended(registry: Registry, log: Log, labels: int, seed: int = 1) -> str:
    current, asked = registry.current(), noisy(labels, seed)
    assert current is not None
    label(log, answer(registry, log, asked, first=10_000 * seed), asked)
    return recalibrate(registry, log, current.champion, "probabilities are off")


def test_after_a_recalibration_the_same_stream_raises_no_alarm(served: tuple[Registry, Log]) -> None:
    registry, log = served
    first = registry.current()
    assert first is not None
    told = mended(registry, log, 1500)
    assert "held to" in told, told
    assert "test rows of the run from now on" in told
    now = registry.current()
    assert now is not None
    assert now.champion != first.champion
    asked = noisy(2000, 2)
    label(log, answer(registry, log, asked, first=50_000), asked)
    contract, watch, window = watched(registry, log)
    assert not watch.alarm
    assert watch.drift.rows == 2000
    assert watch.gap.interval[0] <= 0.5 <= watch.gap.interval[1]

    old = read_contract(registry.path(first.champion))
    assert old is not None
    held_to_old = {**contract.to_json(), "output": json.loads(json.dumps(old.to_json()["output"]))}
    model = Model.load(registry.path(now.champion))
    stale = Contract.from_json(held_to_old)
    moved = look(log, stale, model, Watch.start(stale))
    assert OUTPUT in {one.column for one in moved.drift.moved()}  # as it was before: a false alarm about the spread of the answers

    outside = np.zeros(len(window), dtype=bool)
    right = float(np.mean([json.loads(one) for one in window.label] == np.array(model.classes, dtype=object)[window.output.argmax(axis=1)]))
    low, high = estimated_accuracy(contract.calibration, window.output, outside).interval
    assert low <= right <= high
    assert contract.metrics["log_loss"].value < old.metrics["log_loss"].value
    assert contract.promise == old.promise
    assert contract.inputs == old.inputs


def test_the_contract_says_where_its_figures_come_from_also_without_the_run(served: tuple[Registry, Log]) -> None:
    registry, log = served
    first = registry.current()
    assert first is not None
    run = Path(registry.about(first.champion)["run"])
    shutil.rmtree(run / "evaluation")
    told = mended(registry, log, 1200)
    assert "600 answers in service" in told
    current = registry.current()
    assert current is not None
    sources = registry.about(current.champion)["contract"]
    assert sources == {"answers": "answers in service", "answers_n": 600, "probabilities": "labels in service", "probabilities_n": 1200}
    assert registry.history()[-1]["evidence"]["contract"] == sources
    answer(registry, log, noisy(2000, 3), first=70_000)
    assert not watched(registry, log)[1].alarm


def test_a_second_recalibration_goes_on_from_the_first(served: tuple[Registry, Log]) -> None:
    """The labels become purer, so the mended model is not sure enough; test rows pass both temperatures."""
    registry, log = served
    mended(registry, log, 1500)
    current, pure = registry.current(), rows(1500, 5)
    assert current is not None
    label(log, answer(registry, log, pure, first=90_000), pure)
    told = recalibrate(registry, log, current.champion, "again")
    assert "test rows of the run" in told, told
    now = registry.current()
    assert now is not None
    assert read_json(registry.folder / f"{now.champion[:12]}.json")["temperature"] < 1
    answer(registry, log, rows(2000, 6), first=120_000)
    assert not watched(registry, log)[1].alarm
