"""Law: a key that lies is out of use before any model learns from it; honest keys are left alone, and a person's word on a key stands."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.runtime_packages import make_package
from weighbridge import lifecycle, runtime
from weighbridge.deployment import Circle
from weighbridge.deployment.promote import retrainings
from weighbridge.deployment.screening import key_findings
from weighbridge.feedback.decide import Facts, decide
from weighbridge.feedback.decisions import Noted, answer, decisions
from weighbridge.feedback.journal import Journal
from weighbridge.feedback.key_looks import level_of, look_of
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry
from weighbridge.findings import Finding, Message
from weighbridge.recipe.feedback import FeedbackSection
from weighbridge.storage.vault import Vault

FALLEN = Finding(key="feedback.quality", title=Message("Accuracy in service"), verdict="limitation", value=0.5)
MOVED = Finding(key="feedback.answers", title=Message("Distance of the answers from those at release"), verdict="limitation", value=0.5)
Make = Callable[..., Circle]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    def make(vault: Vault | None = None, **policy: str) -> Circle:
        make_package(tmp_path / "package", photos=False)
        registry = Registry.open(tmp_path / "state", "pets")
        registry.release(registry.install(tmp_path / "package", run="runs/pets"), "first")
        section = FeedbackSection.model_validate({"policy": policy})
        return Circle(registry=registry, log=Log.open(tmp_path / "state", vault=vault), section=section, run=lifecycle.run)

    return make


def labelled(circle: Circle, n: int, *, lies: float = 0.0, keys: int = 6, seed: int = 0) -> None:
    """The champion answers n requests, right in nine of ten; each of some keys labels its share, and the first of them lies in some."""
    current, random = circle.registry.current(), np.random.default_rng(seed)
    assert current is not None
    model = runtime.load(circle.registry.path(current.champion))
    count = len(model.classes)
    said = random.integers(count, size=n)
    output = np.full((n, count), 0.1 / (count - 1))
    output[np.arange(n), said] = 0.9
    who = np.arange(n) % keys
    wrong = random.random(n) < np.where(who == 0, 0.1 + lies, 0.1)
    true = np.where(wrong, (said + 1) % count, said)
    journal, now = Journal(circle.log.journals, circle.log.vault), datetime.datetime.now(datetime.UTC).isoformat()
    journal.describe(model=model.hash, package="pets", kind="category", classes=model.classes)
    same = {"time": now, "package": "pets", "model": model.hash, "key": "k", "latency_s": 0.001}
    journal.append({"id": f"{seed}-{row}/0", "output": values.tolist(), **same} for row, values in enumerate(output))
    journal.close()
    circle.log.ingest()
    for key in range(keys):
        rows = np.flatnonzero(who == key)
        told = circle.log.accept([{"id": f"{seed}-{row}/0", "label": model.classes[true[row]]} for row in rows], f"k{key}")
        assert told.accepted == len(rows)


def shut(circle: Circle) -> set[str]:
    return {one["who"] for one in circle.log.status()["quarantine"]}


def round_of(circle: Circle, *findings: Finding) -> Noted:
    noted = lifecycle.go_round(circle, findings)
    return next(one for one in decisions(circle.state) if one.number == noted.number)


@pytest.mark.parametrize("lies", [0.1, 0.2, 0.3])
def test_a_key_that_lies_is_out_of_use_before_any_retraining(made: Make, lies: float) -> None:
    circle = made()
    labelled(circle, {0.1: 12_800, 0.2: 3200, 0.3: 1600}[lies], lies=lies)
    noted = round_of(circle, FALLEN)
    assert noted.decision.action == "quarantine"
    assert shut(circle) == {"k0"}
    assert noted.done == "labels of k0 are not used until `weigh feedback trust`"
    assert not retrainings(circle.registry)
    assert "k0" in str(noted.decision.reason)
    evidence = noted.decision.evidence[0]
    assert evidence.reference is not None
    assert isinstance(evidence.value, float)
    assert evidence.value > evidence.reference.value > 0.05
    assert round_of(circle).decision.action == "keep"  # settled: asked once
    circle.log.let_in("k0")
    assert round_of(circle).decision.action == "keep"
    assert not shut(circle), "who was let in by a person stays in"


def test_honest_keys_are_left_alone(made: Make) -> None:
    circle = made()
    for seed in range(4):
        labelled(circle, 400, seed=seed)
        assert round_of(circle).decision.action == "keep"
    assert not shut(circle)


@pytest.mark.parametrize("vault", [None, Vault([b"k" * 32])], ids=["open", "sealed"])
def test_a_key_that_contradicts_others_on_the_same_answers_is_told_even_while_the_world_moves(made: Make, vault: Vault | None) -> None:
    circle, random = made(vault), np.random.default_rng(1)
    labelled(circle, 3200)
    answers = circle.log.window()
    classes, second = answers.served[0].classes, (np.arange(len(answers)) + random.integers(1, 6, size=len(answers))) % 6
    said = np.array([classes.index(json.loads(one)) for one in answers.label])
    lies = np.where(second == 4, random.random(len(answers)) < 0.3, random.random(len(answers)) < 0.02)  # each answer has a second label
    for key in range(6):
        told = [
            {"id": answers.id[row], "label": classes[(said[row] + int(lies[row])) % len(classes)]} for row in np.flatnonzero(second == key)
        ]  # fmt: skip
        circle.log.accept(told, f"k{key}")
    found = key_findings(circle, [MOVED])
    assert [one.key for one in found] == ["feedback.keys"]
    assert "labels of k4 contradict" in str(found[0].reason)


def test_while_the_world_moves_the_model_is_no_measure_of_a_key(made: Make) -> None:
    circle = made()
    labelled(circle, 1600, lies=0.3)
    assert key_findings(circle, [MOVED]) == []
    labelled(circle, 1600, lies=0.3, seed=1)
    assert len(key_findings(circle, [])) == 1


def test_a_person_is_asked_where_the_policy_says_so_and_what_was_refused_is_not_asked_again(made: Make) -> None:
    circle = made(quarantine="ask", retrain="never")
    labelled(circle, 1600, lies=0.3)
    waiting = round_of(circle, FALLEN)
    assert waiting.waits
    assert not shut(circle)
    assert round_of(circle, FALLEN).number == waiting.number
    answer(circle.state, waiting.number, "refused", "eve")
    assert round_of(circle, FALLEN).decision.action == "retrain"
    assert not shut(circle)


def test_who_is_asked_about_a_key_keeps_no_worse_model_in_service() -> None:
    lies = Finding(key="feedback.keys", title=Message("Labels of '{key}' that disagree", key="k0"), verdict="limitation", value=0.5)
    worse = Finding(key="feedback.canary", title=Message("Challenger"), verdict="limitation", value=0.5)
    asks, auto = (FeedbackSection.model_validate({"policy": {"quarantine": one}}) for one in ("ask", "auto"))
    assert decide([lies, worse], asks, Facts(challenging=True)).action == "rollback"
    assert decide([lies, worse], auto, Facts(challenging=True)).action == "quarantine"


def test_a_policy_of_never_leaves_the_rest_of_the_circle_going(made: Make) -> None:
    circle = made(quarantine="never")
    labelled(circle, 1600, lies=0.3)
    assert round_of(circle).decision.action == "keep"


def test_the_levels_of_all_looks_add_up_to_half_of_five_per_cent() -> None:
    assert [look_of(n) for n in (199, 200, 399, 400, 25_600)] == [0, 1, 1, 2, 8]
    assert sum(level_of(look) for look in range(1, 100_000)) == pytest.approx(0.025, rel=1e-4)
