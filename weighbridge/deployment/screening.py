"""A look at who gives labels, as part of a round: a key that lies is told before any model learns from it.

Two screens (feedback/screen.py): does a key say something else than other keys of the same answers, and does it disagree with the champion
more often than others do in like cases. The second is not asked while inputs or answers have moved: the champion is no measure there, and
a key may serve the rows that moved; a retraining asks models that have learnt from the other keys (poison.py).

Looks are paid for (feedback/key_looks.py), so a false suspicion of any key, ever, has a chance of at most 5 % a champion.

STATE/watch/NAME.keys.json: the last look and what it found, so that a round does not look again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import RunError
from weighbridge.feedback import screen
from weighbridge.feedback.board import findings_path
from weighbridge.feedback.decisions import decisions
from weighbridge.feedback.key_looks import level_of, look_of, suspected
from weighbridge.feedback.sealing import EVENT, opened
from weighbridge.feedback.windows import count_labelled, predictions_of
from weighbridge.findings import Finding, Message, Reference
from weighbridge.storage import make_folder, read_json, write_json

if TYPE_CHECKING:
    from weighbridge.deployment.promote import Circle
    from weighbridge.feedback.decisions import Noted
    from weighbridge.feedback.windows import Window

MOVED = ("feedback.input.", "feedback.answers")  # beginnings of keys of findings
WHY = {
    "disputes": Message("labels of {keys} contradict those of other keys on the same answers more often than others do"),
    "model": Message("labels of {keys} disagree with the model more often than those of other keys in like cases"),
}


def key_findings(circle: Circle, findings: Sequence[Finding]) -> list[Finding]:
    """Return a limitation `feedback.keys` where a key's labels can not be trusted, of those that are in use; else nothing.

    findings: what else was found of the champion, for whether inputs moved. Raises StorageError, RunError.
    """
    current = circle.registry.current()
    if current is None:
        return []
    model = circle.registry.about(current.champion)["model"]
    name, looked = circle.registry.name, _kept(circle, model)
    labels = count_labelled(circle.log.database, package=name, model=model)
    due = look_of(labels)
    if due > looked["look"]:
        rows = circle.log.window(package=name, model=model, labelled=True)
        moved = any(one.verdict == "limitation" and one.key.startswith(MOVED) for one in findings)
        looked = {"model": model, "look": due, "labels": labels, "found": _screened(circle, rows, due, moved=moved)}
        path = _path(circle)
        make_folder(path.parent)
        write_json(path, looked)
    return _told(circle, looked)


def shut_out(circle: Circle, noted: Noted) -> str:
    """Labels of the keys that the decision is about are kept and not used until somebody lets them in."""
    keys = [str(one) for one in noted.about["keys"]]
    for key in keys:
        circle.log.shut_out(key, str(noted.decision.reason))
    return f"labels of {', '.join(keys)} are not used until `weigh feedback trust`"


def suspects(circle: Circle) -> list[str]:
    """Return the keys that the last look of the champion of now suspects and that are not settled, sorted."""
    current = circle.registry.current()
    looked = None if current is None else _kept(circle, circle.registry.about(current.champion)["model"])
    return [] if looked is None else sorted({one["key"] for one in _open(circle, looked)})


def _path(circle: Circle) -> Path:
    return findings_path(circle.state, circle.registry.name).with_suffix(".keys.json")


def _kept(circle: Circle, model: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"model": model, "look": 0, "labels": 0, "found": []}
    try:
        found: dict[str, Any] = read_json(_path(circle))
    except RunError:
        return nothing
    return found if found.get("model") == model else nothing


def _screened(circle: Circle, rows: Window, look: int, *, moved: bool) -> list[dict[str, Any]]:
    """Return what is suspected at this look: by which screen, key, hits, n, expected share, corrected p."""
    shut = {one["who"] for one in circle.log.status()["quarantine"]}
    own = set(circle.log.window(package=circle.registry.name, model=rows.served[0].model).id.tolist())
    vault = circle.log.vault
    told = [
        {**one, "value": opened(vault, EVENT, one["id"], one["who"], one["value"])}
        for one in circle.log.events()
        if one["id"] in own and one["who"] not in shut and one["outcome"] != "invalid"
    ]
    verdicts = {"disputes": screen.disagreeing_keys(*screen.disputes(told))}
    if not moved:
        judged = predictions_of(rows)
        order = np.argsort(rows.id.astype(str), kind="stable")  # predictions are sorted by id
        verdicts["model"] = screen.disagreeing_keys(rows.who[order], screen.against_model(judged), screen.strata_of(judged))
    return [{"screen": name, **one} for name, keys in verdicts.items() for one in suspected(keys, look)]


def _open(circle: Circle, looked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was found of keys that are in use and that no person has stood up for."""
    settled = {one["who"] for one in circle.log.status()["quarantine"]}
    for one in decisions(circle.state, circle.registry.name):
        if one.decision.action == "quarantine" and (one.answer == "refused" or one.done):  # done, and out of it again: let in by a person
            settled |= set(one.about["keys"])
    return [one for one in looked["found"] if one["key"] not in settled]


def _told(circle: Circle, looked: dict[str, Any]) -> list[Finding]:
    found = _open(circle, looked)
    if not found:
        return []
    worst = min(found, key=lambda one: (one["screen"] != "disputes", one["p_value"]))
    keys = sorted({one["key"] for one in found})
    reason = WHY[worst["screen"]]
    return [
        Finding(
            key="feedback.keys", title=Message("Labels of '{key}' that disagree", key=worst["key"]), verdict="limitation",
            value=worst["hits"] / worst["n"], unit="share", n=worst["n"], command=f"weigh feedback history --state {circle.state}",
            reason=Message(reason.template, keys=", ".join(keys)), source="Holm 1979",
            reference=Reference(name=Message("expected from other keys"), value=worst["expected"]),
            method=Message(
                "look {look}, at {labels} labels: corrected p {p} under {level}; any false suspicion, ever: at most {alpha}",
                look=looked["look"], labels=looked["labels"], p=f"{worst['p_value']:.2g}", level=f"{level_of(looked['look']):.2g}",
                alpha=screen.LEVEL,
            ),
        )
    ]  # fmt: skip
