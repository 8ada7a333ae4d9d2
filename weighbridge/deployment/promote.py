"""Carry out what was decided about a model in service: release, retrain, try on a share, promote, withdraw, roll back.

What stands where is read from the disk each time and every step may be repeated: killed anywhere, the next round finishes what the last
decision began before it makes another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from weighbridge.deployment.mlflow_models import register_champion
from weighbridge.deployment.retrain import VERDICT, Run, Verdict, origin, read_verdict, retrain
from weighbridge.deployment.screening import shut_out, suspects
from weighbridge.errors import DataError, RunError, UsageError
from weighbridge.feedback.canary import canary_finding, compare_sides, outcomes
from weighbridge.feedback.decide import Decision, Facts
from weighbridge.feedback.decisions import Noted, decisions
from weighbridge.feedback.registry import Current, Registry
from weighbridge.feedback.sequences import Mean
from weighbridge.feedback.windows import predictions_of
from weighbridge.findings import Finding, Message
from weighbridge.storage import read_json
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import Progress, silent

if TYPE_CHECKING:
    from weighbridge.evaluation.predictions import Floats
    from weighbridge.feedback.log import Log
    from weighbridge.feedback.windows import Window
    from weighbridge.recipe import FeedbackSection, Recipe

SLOW = 0.95  # quantile of the champion's times above which an answer counts as slow; half of them are too many


@dataclass(frozen=True, kw_only=True)
class Circle:
    """What a round works on: the registry of a name, the log, the policy, and what runs a recipe."""

    registry: Registry
    log: Log
    section: FeedbackSection
    run: Run
    progress: Progress = silent
    stop: StopRequest | None = None

    @property
    def state(self) -> Path:
        return self.registry.state


def release(registry: Registry, run: Path, why: str) -> Current:
    """The package of a finished run answers as this name; a later retraining begins from that run. Raises RunError, PackageError."""
    package = run / "deployment" / "package"
    if not package.is_dir():
        raise RunError(f"{run} holds no package", do="run it to its end: weigh run")
    current = registry.release(registry.install(package, **origin(run)), why)
    register_champion(registry)
    return current


def section_of(registry: Registry) -> FeedbackSection:
    """Return the policy that the champion's own recipe states. Raises RunError."""
    return recipe_of(registry).feedback


def recipe_of(registry: Registry) -> Recipe:
    """Return the recipe of the champion's run. Raises RunError where its run is not known."""
    from weighbridge.recipe import load_recipe

    current = registry.current()
    run = None if current is None else registry.about(current.champion).get("run")
    if run is None:
        raise RunError(f"the run of the champion of {registry.name} is not known", do="release it from its run folder")
    return load_recipe(Path(run) / "recipe.yaml")


def retrainings(registry: Registry) -> list[tuple[int, dict[str, Any], Verdict | None]]:
    """Return number, what was asked and, where it is finished, the verdict of each retraining of this name, oldest first."""
    found = []
    for path in sorted((registry.state / "retrain").glob("[0-9]*")):
        if path.name.isdigit() and (path / "asked.json").exists():
            asked = read_json(path / "asked.json")
            if asked["name"] == registry.name:
                found.append((int(path.name), asked, read_verdict(path) if (path / VERDICT).exists() else None))
    return found


def next_number(state: Path) -> int:
    """Return the number of the next retraining of any name."""
    return max((int(path.name) for path in (state / "retrain").glob("[0-9]*") if path.name.isdigit()), default=0) + 1


def waiting_challenger(registry: Registry) -> tuple[str, Verdict] | None:
    """Return the package and verdict of the newest retraining that passed the gate against the champion of now and was not tried yet."""
    current, tried = registry.current(), {line["challenger"] for line in registry.history()}
    tried |= {one.about.get("challenger") for one in decisions(registry.state, registry.name) if one.answer == "refused"}
    for _, asked, verdict in reversed(retrainings(registry)):
        if verdict is not None and verdict.passed and verdict.package is not None:
            fits = current is not None and asked["champion"] == current.champion and verdict.package not in tried
            return (verdict.package, verdict) if fits else None
    return None


def facts_of(circle: Circle) -> Facts:
    """Return where the loop stands, from the disk alone."""
    registry, current = circle.registry, circle.registry.current()
    known = retrainings(registry)
    begun = None if not known else datetime.fromisoformat(known[-1][1]["begun"])
    after = None if not known else known[-1][1]["before"]
    labels = len(circle.log.window(package=registry.name, labelled=True, after=after))
    challenging = current is not None and current.challenger is not None
    since_h = None if begun is None else (datetime.now(UTC) - begun).total_seconds() / 3600
    return Facts(
        labels=labels, since_training_h=since_h, challenging=challenging,
        passed=not challenging and waiting_challenger(registry) is not None,
        fresh=not challenging and _is_fresh(current, circle.section.retrain.every_h),
    )  # fmt: skip


def _is_fresh(current: Current | None, hours: float) -> bool:
    """Whether the champion was promoted so lately that going back is nearer than going on: within the time between two retrainings."""
    if current is None or current.before is None:
        return False
    return (datetime.now(UTC) - datetime.fromisoformat(current.since)).total_seconds() < hours * 3600


def service_findings(circle: Circle) -> list[Finding]:
    """Return what the challenger's answers, the gate and the model before the champion say.

    `feedback.canary`, `feedback.service.latency`; `feedback.gate*`; `feedback.former`.
    """
    registry, current = circle.registry, circle.registry.current()
    if current is None:
        return []
    command = f"weigh feedback history --state {circle.state}"
    if current.challenger is None:
        waiting = waiting_challenger(registry)
        return [*_former(circle, current, command), *([] if waiting is None else waiting[1].findings)]
    sides = [_answers(circle, package, current.turned) for package in (current.champion, current.challenger)]
    scale = float(np.quantile(np.concatenate([one.errors for one in sides]), 0.99)) if all(len(one.errors) for one in sides) else 1.0
    compared = compare_sides(sides[0].right(scale), sides[1].right(scale), circle.section.canary.level)
    return [canary_finding(compared, circle.section.canary, command=command), *_latency(sides[0].latency_s, sides[1].latency_s, command)]


def _former(circle: Circle, current: Current, command: str) -> list[Finding]:
    """Return the champion beside what answered before it, while it may go back there."""
    from weighbridge.deployment.former import former_finding

    if current.before is None or not _is_fresh(current, circle.section.retrain.every_h):
        return []
    model, since = circle.registry.about(current.champion)["model"], datetime.fromisoformat(current.since)
    found = circle.log.window(package=circle.registry.name, model=model, start=since, labelled=True)
    ordered = found.rows(_by_label(circle.log, found.id.tolist()))
    return [former_finding(circle.log, ordered, circle.registry.path(current.before), level=circle.section.canary.level, command=command)]


def _by_label(log: Log, ids: Sequence[str]) -> np.ndarray:
    """Return the places of answers in the order in which their labels came, int64 [n]."""
    came = {event["id"]: event["sequence"] for event in log.events()} if ids else {}
    return np.argsort(np.array([came.get(one, 0) for one in ids], dtype=np.int64), kind="stable")


@dataclass(frozen=True, kw_only=True)
class _Side:
    """What one side answered since the switch was turned: its labelled rows in the order in which labels came, and all times."""

    rows: Any
    order: np.ndarray
    latency_s: Floats

    @property
    def errors(self) -> Floats:
        """Absolute errors of numbers; empty where there are no labels or no numbers."""
        number = self.rows is not None and self.rows.kind == "number"
        return np.abs(self.rows.output - self.rows.target) if number else np.zeros(1 if self.rows is not None else 0)

    def right(self, scale: float) -> Floats:
        return np.zeros(0) if self.rows is None else outcomes(self.rows, scale)[self.order]


def _answers(circle: Circle, package: str, since: str) -> _Side:
    registry = circle.registry
    model = registry.about(package)["model"]
    found = circle.log.window(package=registry.name, model=model, start=datetime.fromisoformat(since))
    try:
        rows = predictions_of(found)
    except DataError:  # no label yet
        rows = None
    order = _by_label(circle.log, [] if rows is None else rows.row_id.tolist())
    return _Side(rows=rows, order=order, latency_s=_request_times(found))


def _request_times(found: Window) -> Floats:
    """Return float64, the time of each request: the rows of one are answered together, and their times are one measurement."""
    requests = np.array([str(one).rsplit("/", 1)[0] for one in found.id], dtype=np.str_)
    first = np.sort(np.unique(requests, return_index=True)[1])
    times = found.latency_s[first]
    return np.asarray(times[np.isfinite(times)])


def _latency(champion: Floats, challenger: Floats, command: str) -> list[Finding]:
    """Return a limitation where over half of the challenger's requests are slower than 95 % of the champion's; valid at every look."""
    if len(champion) < 20 or not len(challenger):
        return []
    bound = float(np.quantile(champion, SLOW))
    slow = Mean(alpha=0.05).add((challenger > bound).astype(np.float64))
    verdict: Literal["limitation", "neutral"] = "limitation" if slow.interval[0] > 0.5 else "neutral"
    return [
        Finding(
            key="feedback.service.latency", title=Message("Slow answers of the challenger"), value=slow.value, interval=slow.interval,
            unit="share", n=slow.n, verdict=verdict, command=command, source="Waudby-Smith and Ramdas 2024",
            reason=Message("slower than {bound} s, which 5 % of the champion's answers are", bound=round(bound, 6)),
            method=Message("confidence sequence by betting"),
        )
    ]  # fmt: skip


def about_of(circle: Circle, decision: Decision) -> dict[str, Any]:
    """Return what a decision is about, so that it is carried out once: packages, and of a retraining its number."""
    current = circle.registry.current()
    told: dict[str, Any] = {} if current is None else {"champion": current.champion, "challenger": current.challenger}
    if decision.action == "retrain":
        known = [one for one in decisions(circle.state, circle.registry.name) if one.decision.action == "retrain" and one.done is None]
        told["retraining"] = known[-1].about["retraining"] if known else next_number(circle.state)
    if decision.action == "quarantine":
        told["keys"] = suspects(circle)
    if decision.action == "challenge" and (waiting := waiting_challenger(circle.registry)) is not None:
        told["challenger"] = waiting[0]
    return told


def carry_out(circle: Circle, noted: Noted) -> str:
    """What was decided is done, or was already; return in a few words what came of it. Raises Stopped, StorageError, RunError."""
    if noted.decision.action not in ACTS:
        return "nothing to do"
    return ACTS[noted.decision.action](circle, noted)


def _retrain(circle: Circle, noted: Noted) -> str:
    verdict = retrain(
        circle.registry, noted.about["retraining"], log=circle.log, section=circle.section, run=circle.run, progress=circle.progress,
        stop=circle.stop,
    )  # fmt: skip
    return f"retraining {verdict.number:03d}: " + ("passed the gate" if verdict.passed else verdict.why or "refused at the gate")


def _challenge(circle: Circle, noted: Noted) -> str:
    current, package = circle.registry.current(), noted.about["challenger"]
    if current is None or current.champion != noted.about["champion"]:
        return "another champion answers by now"
    circle.registry.challenge(package, circle.section.canary.share, str(noted.decision.reason), decision=noted.number)
    return f"{package[:12]} answers {circle.section.canary.share:g} of the requests"


def _promote(circle: Circle, noted: Noted) -> str:
    package, current = noted.about["challenger"], circle.registry.current()
    if current is None or (current.challenger != package and current.champion != package):
        return "it does not challenge any more"
    circle.registry.promote(package, str(noted.decision.reason), decision=noted.number)
    return f"{package[:12]} answers every request" + register_champion(circle.registry)


def _rollback(circle: Circle, noted: Noted) -> str:
    if noted.about["challenger"] is not None:
        current = circle.registry.current()
        if current is not None and current.challenger == noted.about["challenger"]:
            circle.registry.withdraw(str(noted.decision.reason), decision=noted.number)
        return f"{noted.about['challenger'][:12]} was withdrawn"
    current = circle.registry.roll_back(noted.about["champion"], str(noted.decision.reason), decision=noted.number)
    return f"{current.champion[:12]} answers every request again" + register_champion(circle.registry)


def _ask(circle: Circle, noted: Noted) -> str:
    from weighbridge.deployment.queue import write_queue

    return f"{write_queue(circle.registry, circle.log, circle.section.select):,} rows wait for a label"


def _recalibrate(circle: Circle, noted: Noted) -> str:
    from weighbridge.deployment.recalibrate import recalibrate

    told = recalibrate(circle.registry, circle.log, noted.about["champion"], str(noted.decision.reason), decision=noted.number)
    return told + register_champion(circle.registry)


ACTS: dict[str, Callable[[Circle, Noted], str]] = {
    "retrain": _retrain, "recalibrate": _recalibrate, "challenge": _challenge, "promote": _promote, "rollback": _rollback, "labels": _ask,
    "quarantine": shut_out,
}  # fmt: skip


def trace(state: Path, log: Log, answer: str) -> dict[str, Any]:
    """Return where a served answer came from: answer, model, package, run, recipe, data, audits. Raises UsageError for an unknown id."""
    from weighbridge.feedback.registry import names

    found = log.window(ids=[answer])
    if not len(found):
        raise UsageError(f"there is no answer '{answer}'", do="give the id that the answer had; see `weigh feedback export`")
    served = found.served[int(found.model[0])]
    told: dict[str, Any] = {
        "answer": answer, "time": datetime.fromtimestamp(int(found.time_us[0]) / 1e6, UTC).isoformat(), "name": served.package,
        "key": str(found.key[0]), "output": np.frombuffer(found.outputs[0], dtype="<f8").tolist(), "label": found.label[0],
        "model_sha256": served.model,
    }  # fmt: skip
    if served.package in names(state):
        told |= _origin_of(Registry.open(state, served.package), served.model)
    return told


def _origin_of(registry: Registry, model: str) -> dict[str, Any]:
    lines = {line["champion"] for line in registry.history()} | {line["challenger"] for line in registry.history()}
    for package in sorted(one for one in lines if one):
        about = registry.about(package)
        if about["model"] == model:
            turns = [line for line in registry.history() if package in (line["champion"], line["challenger"])]
            told = {"package_sha256": package, "turns": [[line["turned"], line["what"]] for line in turns]}
            return {**told, **about, "audits": _audits(Path(about["run"]))}
    return {}


def _audits(run: Path) -> dict[str, str]:
    """Return the verdict of each audit that the run made."""
    from weighbridge.findings import read_findings

    path = run / "findings.jsonl"
    found = read_findings(path) if path.exists() else []
    return {one.key: f"{one.verdict}" + (f" {one.value}" if one.value is not None else "") for one in found if one.key.startswith("audit.")}
