"""Law: the circle closes by itself where the policy lets it: the world moves, labels come, a challenger is trained, judged, tried on a
share and promoted; what it knew before is not forgotten; every answer is traced to what made it; a worse model is withdrawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.loop_states import NAME, answer, label, recipe, rows, served
from weighbridge import lifecycle, runtime
from weighbridge.deployment import Circle, section_of, service_findings, trace
from weighbridge.deployment.promote import retrainings
from weighbridge.deployment.queue import write_queue
from weighbridge.deployment.retrain import origin
from weighbridge.feedback.decisions import Noted, decisions
from weighbridge.feedback.decisions import answer as say
from weighbridge.feedback.log import Log
from weighbridge.feedback.registry import Registry
from weighbridge.feedback.sequences import Mean
from weighbridge.findings import Finding, Message
from weighbridge.recipe import parse_recipe
from weighbridge.recipe.feedback import SelectOptions
from weighbridge.storage.lines import read_lines

pytestmark = pytest.mark.slow
FALLEN = Finding(key="feedback.quality", title=Message("Accuracy in service"), verdict="limitation", value=0.5)


def gone_round(registry: Registry, log: Log, *findings: Finding) -> Noted:
    circle = Circle(registry=registry, log=log, section=section_of(registry), run=lifecycle.run)
    noted = lifecycle.go_round(circle, findings)
    return next(one for one in decisions(registry.state, NAME) if one.number == noted.number)


def test_the_world_moves_and_the_circle_closes(tmp_path: Path) -> None:
    registry, log = served(tmp_path)
    first = registry.current()
    assert first is not None
    assert gone_round(registry, log).decision.action == "keep"
    moved = rows(500, 1, turned=1.2)
    ids = answer(registry, log, moved)
    assert gone_round(registry, log, FALLEN).decision.action == "labels"
    queue = json.loads((registry.folder / "queue.json").read_text())
    assert len(queue["rows"]) == 100
    assert queue["pool"] == 500
    assert sum(one["random"] for one in queue["rows"]) == 20
    assert write_queue(registry, log, SelectOptions()) == 100
    assert read_lines(registry.folder / "queues.jsonl") == [queue]
    for key in range(4):
        label(log, ids[key::4], moved[key::4], f"k{key}")

    retrained = gone_round(registry, log, FALLEN)
    assert retrained.decision.action == "retrain"
    assert retrained.done == "retraining 001: passed the gate"
    (_, asked, verdict), found = retrainings(registry)[0], {}
    assert verdict is not None
    assert asked["champion"] == first.champion
    found = {one.key: one for one in verdict.findings}
    assert found["feedback.gate.recent"].verdict == found["feedback.gate.keys"].verdict == "advantage"
    joined = json.loads((registry.state / "retrain" / "001" / "joined.json").read_text())["rows"]
    assert 60 < joined["new_test"] < 140
    assert joined["new_train"] > 250

    assert gone_round(registry, log).decision.action == "challenge"
    current = registry.current()
    assert current is not None
    assert current.challenger == verdict.package
    assert current.share == 0.5
    more = rows(200, 2, turned=1.2)
    label(log, answer(registry, log, more[:100], first=1000), more[:100])
    label(log, answer(registry, log, more[100:], first=2000, package=verdict.package), more[100:])
    promoted = gone_round(registry, log)
    assert promoted.decision.action == "promote"
    assert promoted.decision.evidence[0].value > 0.8
    now = registry.current()
    assert now is not None
    assert (now.champion, now.challenger, now.before) == (verdict.package, None, first.champion)
    assert [line["what"] for line in registry.history()] == ["released", "challenged", "promoted"]

    told = trace(registry.state, log, "q2000/0")
    assert told["package_sha256"] == verdict.package
    assert told["run"].endswith(("retrain/001/warm", "retrain/001/scratch"))
    assert trace(registry.state, log, "q0/0")["package_sha256"] == first.champion

    back = gone_round(registry, log, FALLEN)  # a fresh champion falls: every_h of its own recipe is 0, so it is not fresh any more
    assert back.decision.action in ("retrain", "labels")


def made_worse(folder: Path, registry: Registry) -> str:
    """Return a package of the registry that learnt two of three labels the wrong way round."""
    lies = recipe(folder).model_dump(mode="json")
    lines = (folder / "moons.csv").read_text(encoding="utf-8").splitlines()
    turned = [line.replace("up", "?").replace("down", "up").replace("?", "down") if place % 3 else line for place, line in enumerate(lines)]
    (folder / "worse.csv").write_text("\n".join([lines[0], *turned[1:]]) + "\n", encoding="utf-8")
    lies["data"]["source"] = str(folder / "worse.csv")
    lifecycle.run(parse_recipe(lies), folder / "worse")
    return registry.install(folder / "worse" / "deployment" / "package", **origin(folder / "worse"))


def test_a_worse_model_forced_into_the_canary_is_withdrawn(tmp_path: Path) -> None:
    registry, log = served(tmp_path)
    first = registry.current()
    assert first is not None
    worse = made_worse(tmp_path, registry)
    registry.challenge(worse, 0.5, "forced by hand")
    asked = rows(300, 3)
    label(log, answer(registry, log, asked[:150]), asked[:150])
    label(log, answer(registry, log, asked[150:], first=500, package=worse), asked[150:])
    noted = gone_round(registry, log)
    assert noted.decision.action == "rollback"
    assert noted.done == f"{worse[:12]} was withdrawn"
    current = registry.current()
    assert current is not None
    assert (current.champion, current.challenger) == (first.champion, None)
    registry.release(worse, "forced as champion")
    noted = gone_round(Registry.open(registry.state, NAME), log, FALLEN)
    assert noted.decision.action != "rollback"  # every_h is 0 here: what was released is not fresh
    assert registry.roll_back(worse, "by hand").champion == first.champion


def test_what_the_policy_asks_a_person_waits_for_one(tmp_path: Path) -> None:
    registry, log = served(tmp_path, policy={"retrain": "ask"})
    asked = rows(120, 1, turned=1.2)
    label(log, answer(registry, log, asked), asked)
    waiting = gone_round(registry, log, FALLEN)
    assert waiting.waits
    assert waiting.decision.action == "retrain"
    assert not retrainings(registry)
    assert gone_round(registry, log, FALLEN).number == waiting.number  # asked once
    said = say(registry.state, waiting.number, "refused", "somebody")
    assert not said.waits
    assert not said.may_begin


def test_a_fresh_champion_goes_back_only_where_the_model_before_it_is_better(tmp_path: Path) -> None:
    registry, log = served(tmp_path)
    first, worse = registry.current(), made_worse(tmp_path, registry)
    assert first is not None
    section = section_of(registry)
    late = section.model_copy(update={"retrain": section.retrain.model_copy(update={"every_h": 1.0})})
    circle = Circle(registry=registry, log=log, section=late, run=lifecycle.run)

    def former(package: str, begun: int) -> Finding:
        registry.release(package, "by hand")
        asked = rows(150, 4, start=begun)
        label(log, answer(registry, log, asked, first=begun), asked)
        return next(one for one in service_findings(circle) if one.key == "feedback.former")

    found = former(worse, 0)
    assert (found.verdict, found.n) == ("limitation", 150)
    asked = rows(150, 4, start=0)
    inputs, truth = [{name: row[name] for name in "abc"} for row in asked], np.array([row["y"] for row in asked])
    right = [np.array(runtime.load(registry.path(one)).predict(inputs).labels) == truth for one in (worse, first.champion)]
    held = Mean(alpha=late.canary.level).add((1 + right[0] * 1.0 - right[1]) / 2)  # in the order in which labels came, not that of ids
    low, high = (2 * end - 1 for end in held.interval)
    assert found.interval == pytest.approx((low, high))
    assert lifecycle.go_round(circle, [FALLEN]).decision.action == "rollback"
    now = registry.current()
    assert now is not None
    assert now.champion == first.champion
    assert not [one for one in service_findings(circle) if one.key == "feedback.former"]  # what was rolled back does not come back

    former(worse, 1000)
    found = former(first.champion, 2000)
    assert found.verdict == "advantage"
    assert found.interval is not None
    assert found.interval[0] > 0.2
    assert lifecycle.go_round(circle, [FALLEN]).decision.action in ("retrain", "labels")
