"""Law: probabilities are mended only where labels show that this is better, and then every choice stays what it was."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from tests.unit.runtime_packages import make_package
from weighbridge import runtime
from weighbridge.deployment.recalibrate import recalibrate
from weighbridge.feedback.journal import Journal
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry


@pytest.mark.parametrize(("heat", "mended"), [(3.0, True), (1.0, False)])
def test_a_model_that_is_too_sure_is_made_less_sure_and_another_is_left(tmp_path: Path, heat: float, mended: bool) -> None:
    make_package(tmp_path / "package", photos=False)
    registry = Registry.open(tmp_path / "state", "pets")
    first = registry.install(tmp_path / "package", run="runs/pets")
    registry.release(first, "first")
    model, log, random = runtime.load(registry.path(first)), Log.open(tmp_path / "state"), np.random.default_rng(0)
    classes = len(model.classes)
    said = random.normal(0, 3, size=(800, classes))
    output = np.exp(said) / np.exp(said).sum(axis=1, keepdims=True)
    true = np.exp(said / heat) / np.exp(said / heat).sum(axis=1, keepdims=True)
    labels = [model.classes[random.choice(classes, p=row)] for row in true]
    journal, now = Journal(log.journals, None), datetime.datetime.now(datetime.UTC).isoformat()
    journal.describe(model=model.hash, package="pets", kind="category", classes=model.classes)
    same = {"time": now, "package": "pets", "model": model.hash, "key": "k", "latency_s": 0.001}
    journal.append({"id": f"r{row}", "output": values.tolist(), **same} for row, values in enumerate(output))
    journal.close()
    log.ingest()
    assert log.accept([{"id": f"r{row}", "label": one} for row, one in enumerate(labels)], "k").accepted == 800

    told = recalibrate(registry, log, first, "probabilities are off")
    current = registry.current()
    assert current is not None
    assert (current.champion != first) is mended, told
    if mended:
        assert current.before == first
        assert 2 < registry.about(current.champion)["temperature"] < 4.5
        after = runtime.load(registry.path(current.champion))
        after.check_golden()
        assert after.hash != model.hash
        assert registry.about(current.champion)["run"] == "runs/pets"
        assert recalibrate(registry, log, first, "again") == "another champion answers by now"
