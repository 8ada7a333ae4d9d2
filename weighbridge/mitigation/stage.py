"""The mitigation stage: each remedy is the recipe with some keys changed, run beside the run, audited for what it is to mend, and priced.

mitigation/NAME/run/       a run folder of its own, without a package; its data are the run's
mitigation/NAME.jsonl      its rows: before, after, price
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import DataError, DependencyError, LeakError, RecipeError, TrainingError
from weighbridge.findings import Finding, Message, Reference, by_key, read_findings, write_findings
from weighbridge.mitigation.paired import Change, changes_of
from weighbridge.mitigation.pairing import under_first_names
from weighbridge.mitigation.registry import Patient, Remedy, chosen
from weighbridge.recipe import changed
from weighbridge.storage import read_json, remove, sha256_json, write_json, write_text

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.findings import Verdict
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress

Run = Callable[..., list[Finding]]  # lifecycle.run
FAILS = (RecipeError, DataError, LeakError, DependencyError, TrainingError)
SHARED = ("data", "preprocessing", "training", "optimization")  # stages of the run that a remedy may begin with as they are
WRITTEN_ONCE = ("data", "preprocessing")  # their files are replaced whole, never written into
ASKED = "asked.json"
BEFORE_TRAINED, PLANNED = ("data", "preprocessing", "training"), ("batch_size", "threads", "precision", "memory_format", "compile")
PRICE = "price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}"
BETTER, WORSE, LIKE, NEW = (
    "mended, beyond what the rows leave open; ", "made worse, beyond what the rows leave open; ", "no change that the rows can tell; ",
    "before the remedy it was not measured; ",
)  # fmt: skip
REASONS = {name: name + PRICE for name in (BETTER, WORSE, LIKE, NEW)}


def prepare(recipe: Recipe, *, folder: Path, command: str, run: Run, progress: Progress, stop: StopRequest) -> list[Finding]:
    """`folder/mitigation` holds a run for each remedy; returns the findings `mitigation.*`: what it mended, and what mending cost.

    Raises RecipeError for a remedy that is not known, Stopped, StorageError; finished remedies are kept.
    """
    wanted, found = chosen(recipe.mitigation.remedies), list[Finding]()
    findings = [one for stage in ("training", "optimization", "evaluation", "audit") for one in _stored(folder / stage)]
    patient = Patient(recipe=recipe, folder=folder, findings=findings)
    for place, remedy in enumerate(wanted):
        progress("mitigation", place, len(wanted), remedy.name)
        stop.check("finished remedies are kept")
        found += _rows(remedy, patient, command=command, run=run, progress=progress, stop=stop)
    progress("mitigation", len(wanted), len(wanted))
    for path in sorted((folder / "mitigation").glob("*")):
        if path.is_dir() and path.name not in {one.name for one in wanted}:
            remove(path)
    return found


def _rows(remedy: Remedy, patient: Patient, *, command: str, run: Run, progress: Progress, stop: StopRequest) -> list[Finding]:
    """Return the rows of a remedy: from its file where it was made of the same run and keys, else made now."""
    place = patient.folder / "mitigation" / remedy.name
    again = f"{command} --only {remedy.name}"
    try:
        changes = dict(remedy.changes(patient))
        treated = _treated(remedy, patient, changes)
        asked = sha256_json([_key_of(patient.folder), treated.model_dump(mode="json")])
        kept = place / "rows.jsonl"
        if not (kept.exists() and (place / ASKED).exists() and read_json(place / ASKED) == asked):
            if not (place / ASKED).exists() or read_json(place / ASKED) != asked:
                remove(place)
                write_json(place / ASKED, asked)
            _begin(patient.folder, place / "run")
            after = run(treated, place / "run", until="audit", progress=progress, stop=stop)
            write_findings(kept, list(_compared(remedy, patient, place / "run", after, changes, again)))
        return read_findings(kept)
    except FAILS as error:
        reason = Message("{why}", why=str(error))
        return [Finding(key=f"mitigation.{remedy.name}", title=remedy.title, verdict="unmeasured", reason=reason, command=again)]


def _treated(remedy: Remedy, patient: Patient, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the remedy's keys, that mends nothing further and makes the remedy's audits only.

    A network that is trained anew follows the plan of the run's own where the recipe leaves it open: batch size, precision and form are
    measured choices, and before and after are to differ by the remedy.
    """
    recipe = patient.recipe
    if any(key.split(".")[0] in BEFORE_TRAINED for key in changes):
        changes = {**_planned(patient), **changes}
    audit = recipe.audit.model_dump(mode="json")
    for name, options in audit.items():
        if isinstance(options, dict):
            options["enabled"] = options["enabled"] and name in remedy.audits
    evaluation, optimization = recipe.evaluation.model_dump(mode="json"), recipe.optimization.model_dump(mode="json")
    for studied, name in ((evaluation, "learning_curve"), (optimization, "scale")):  # studies of the recipe that say nothing of a remedy
        studied[name]["enabled"] = False
    sections = {
        "mitigation": {}, "audit": {**audit, "enabled": bool(remedy.audits)}, "tracking": {}, "name": remedy.name,
        "evaluation": evaluation, "optimization": optimization,
    }  # fmt: skip
    return changed(recipe, changes, sections, where=f"mitigation.{remedy.name}")


def _planned(patient: Patient) -> dict[str, Any]:
    """Return the keys that the recipe leaves to a trial, with what the run's trial chose."""
    path, section = patient.folder / "training" / "plan.json", patient.recipe.training.model_dump(mode="json")
    plan = read_json(path) if path.exists() else {}
    return {f"training.{key}": plan[key] for key in PLANNED if section[key] == "auto" and key in plan}


def _begin(folder: Path, treated: Path) -> None:
    """The remedy's run begins with the run's stages, each there whole or not at all; those that its keys change run anew by themselves."""
    for stage in SHARED:
        if not (treated / stage).exists() and (folder / stage).exists():
            part = treated / f"{stage}.part"
            remove(part)
            left = shutil.ignore_patterns("checkpoints", "test_ledger.jsonl")
            shutil.copytree(folder / stage, part, ignore=left, copy_function=_linked if stage in WRITTEN_ONCE else shutil.copy2)
            part.rename(treated / stage)
    if not (treated / "recipe.yaml").exists():
        write_text(treated / "recipe.yaml", (folder / "recipe.yaml").read_text(encoding="utf-8"))


def _linked(source: str, target: str) -> None:
    """The file has a second name, so that rows do not lie on the disk once a remedy; a copy where the disk knows no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _compared(
    remedy: Remedy, patient: Patient, treated: Path, after: Sequence[Finding], changes: Mapping[str, Any], command: str
) -> Iterator[Finding]:
    """Yield a row for each watched figure that was measured before or after; one that says why where none was."""
    from weighbridge import evaluation

    before_after = _said(patient.folder, treated)
    words, price = _keys_in_words(changes), _price(patient, *before_after, after)
    paired = changes_of(*before_after, evaluation.resampling_of(2000, 0))
    less = remedy.less if isinstance(remedy.less, bool) else remedy.less(patient.kind)
    rows = [(by_key(patient.findings, key), by_key(after, key)) for key in _watched(remedy, [*patient.findings, *after])]
    known = [(before, now) for before, now in rows if _measured(before) or _measured(now)]
    for before, now in known:
        if now is not None and _measured(now):
            row = _row(remedy, before if _measured(before) else None, now, words, price, command, less=less)
            yield _by_pairs(row, paired[now.key], words, price, less=less) if now.key in paired and row.reference is not None else row
            continue
        why = now.reason if now is not None else Message("it was not measured after the remedy")
        key = now.key if now is not None else "" if before is None else before.key
        yield Finding(key=f"mitigation.{remedy.name}.{key}", title=remedy.title, verdict="unmeasured", reason=why, command=command)
    if not known:
        yield Finding(
            key=f"mitigation.{remedy.name}", title=remedy.title, verdict="unmeasured", reason=_why_nothing(remedy, after), command=command
        )


def _measured(finding: Finding | None) -> bool:
    return finding is not None and finding.verdict != "unmeasured"


def _why_nothing(remedy: Remedy, after: Sequence[Finding]) -> Message:
    """Return why nothing that the remedy is to mend was measured: what its audits say, where they say it."""
    said = [one for name in remedy.audits for one in after if one.key == f"audit.{name}" and one.verdict == "unmeasured"]
    return said[0].reason if said else Message("nothing of what it is to mend was measured, neither before nor after")


def _watched(remedy: Remedy, findings: Sequence[Finding]) -> list[str]:
    keys = list(dict.fromkeys(one.key for one in findings))
    wanted: list[str] = []
    for watched in remedy.watches:
        wanted += [key for key in keys if fnmatchcase(key, watched)] if "*" in watched else [watched]
    return list(dict.fromkeys(wanted))


def _row(remedy: Remedy, before: Finding | None, now: Finding, words: str, price: dict[str, Any], command: str, *, less: bool) -> Finding:
    verdict, reason = _verdict(before, now, less=less)
    was = None if before is None else _number(before)
    return Finding(
        key=f"mitigation.{remedy.name}.{now.key}",
        title=now.title,
        verdict=verdict,
        value=now.value,
        interval=now.interval,
        unit=now.unit,
        n=now.n,
        n_of=now.n_of,
        reference=None if was is None else Reference(name=Message("before"), value=was),
        reason=Message(REASONS[reason], keys=words, **price),
        method=remedy.title,
        source=remedy.source or now.source,
        evidence=(f"mitigation/{remedy.name}/run/findings.jsonl",),
        command=command,
    )


def _by_pairs(row: Finding, change: Change, words: str, price: dict[str, Any], *, less: bool) -> Finding:
    """Return the row judged by the paired difference of the same rows."""
    difference, (low, high) = change
    better, worse = (high < 0, low > 0) if less else (low > 0, high < 0)
    verdict, reason = _judged(better=better, worse=worse)
    assert row.reference is not None
    reference = replace(row.reference, difference=difference, difference_interval=(low, high))
    return replace(row, verdict=verdict, reference=reference, reason=Message(REASONS[reason], keys=words, **price))


def _judged(*, better: bool, worse: bool) -> tuple[Verdict, str]:
    return ("advantage", BETTER) if better else ("limitation", WORSE) if worse else ("neutral", LIKE)


def _verdict(before: Finding | None, now: Finding, *, less: bool) -> tuple[Verdict, str]:
    """Return the row's verdict and the beginning of its reason: a change counts when the interval of the difference leaves 0 out.

    The interval is put together from those of both figures as if they were independent (Zou and Donner 2008). Both are of the same rows and
    models that agree on most of them: it is then too wide rather than too narrow.
    """
    was, value = None if before is None else _number(before), _number(now)
    if before is None or was is None or value is None:
        return "neutral", NEW
    if now.interval is None:
        return "neutral", LIKE
    low, high = now.interval
    below, above = before.interval or (was, was)
    rise, fall = value - was - math.hypot(value - low, above - was), was - value - math.hypot(high - value, was - below)
    better, worse = (fall, rise) if less else (rise, fall)
    return _judged(better=better > 0, worse=worse > 0)


def _number(finding: Finding) -> float | None:
    return float(finding.value) if isinstance(finding.value, int | float) and not isinstance(finding.value, bool) else None


def _said(folder: Path, treated: Path) -> tuple[Predictions, Predictions]:
    """Return what the run's model and the remedy's said of the test rows, under the run's names."""
    from weighbridge import evaluation

    before, now = (evaluation.read_predictions(place / "evaluation" / "test.parquet") for place in (folder, treated))
    return before, under_first_names(now, before, folder, treated)


def _price(patient: Patient, before: Predictions, now: Predictions, after: Sequence[Finding]) -> dict[str, Any]:
    """Return what mending cost: the paired difference of the headline on the test rows, better above 0, and the time to train."""
    from weighbridge import evaluation
    from weighbridge.evaluation.comparison import compare
    from weighbridge.evaluation.metrics import HEADLINES

    headline = HEADLINES[now.kind]
    seconds = by_key(after, "training.seconds")
    price: dict[str, Any] = {"metric": headline.name.replace("_", " "), "seconds": seconds.value if seconds is not None else 0.0}
    try:
        found = compare(now, before, evaluation.resampling_of(2000, 0))
        shown, (low, high) = found.difference, found.interval
    except DataError:  # the remedy took rows out or gave them other names: two separate figures
        key = f"evaluation.{headline.name}"
        shown, low, high = _apart(by_key(patient.findings, key), by_key(after, key), sign=headline.sign)
    words = [round(one, 5) if math.isfinite(one) else "?" for one in (shown, low, high)]
    return price | dict(zip(("difference", "low", "high"), words, strict=True))


def _apart(before: Finding | None, now: Finding | None, *, sign: int) -> tuple[float, float, float]:
    """Return the difference of two figures of other rows, with the ends of its interval (Zou and Donner 2008); NaN where one is lacking."""
    was, value = (None if one is None else _number(one) for one in (before, now))
    if before is None or now is None or was is None or value is None or before.interval is None or now.interval is None:
        return math.nan, math.nan, math.nan
    down = math.hypot(value - now.interval[0], before.interval[1] - was)
    up = math.hypot(now.interval[1] - value, was - before.interval[0])
    ends = sorted((sign * (value - was - down), sign * (value - was + up)))
    return sign * (value - was), ends[0], ends[1]


def _keys_in_words(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in changes.items())


def _key_of(folder: Path) -> str:
    return str(read_json(folder / "evaluation" / "stage.json")["key"])


def _stored(folder: Path) -> list[Finding]:
    path = folder / "findings.jsonl"
    return read_findings(path) if path.exists() else []
