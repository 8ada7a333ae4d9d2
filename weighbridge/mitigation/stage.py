"""The mitigation stage: each remedy is the recipe with some keys changed, run beside the run, audited for what it is to mend, and priced.

mitigation/NAME/run/       a run folder of its own, without a package; its data are the run's
mitigation/NAME.jsonl      its rows: before, after, price
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import DataError, DependencyError, LeakError, RecipeError, TrainingError
from weighbridge.findings import Finding, Message, Reference, by_key, read_findings, write_findings
from weighbridge.mitigation.registry import Patient, Remedy, chosen
from weighbridge.recipe import changed
from weighbridge.storage import read_json, remove, sha256_json, write_json, write_text

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress

Run = Callable[..., list[Finding]]  # lifecycle.run
FAILS = (RecipeError, DataError, LeakError, DependencyError, TrainingError)
SHARED = ("data", "preprocessing", "training", "optimization")  # stages of the run that a remedy may begin with as they are
ASKED = "asked.json"
REASONS = {
    True: "mended, beyond what the rows leave open; price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}",
    False: "made worse, beyond what the rows leave open; price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}",
    None: "no change that the rows can tell; price: {metric} {difference} ({low} to {high}), {seconds} s to train; by {keys}",
}


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
        treated = _treated(remedy, patient.recipe, changes)
        asked = sha256_json([_key_of(patient.folder), treated.model_dump(mode="json")])
        kept = place / "rows.jsonl"
        if not (kept.exists() and (place / ASKED).exists() and read_json(place / ASKED) == asked):
            if not (place / ASKED).exists() or read_json(place / ASKED) != asked:
                remove(place)
                write_json(place / ASKED, asked)
            _begin(patient.folder, place / "run", treated)
            after = run(treated, place / "run", until="audit", progress=progress, stop=stop)
            write_findings(kept, list(_compared(remedy, patient, place / "run", after, changes, again)))
        return read_findings(kept)
    except FAILS as error:
        reason = Message("{why}", why=str(error))
        return [Finding(key=f"mitigation.{remedy.name}", title=remedy.title, verdict="unmeasured", reason=reason, command=again)]


def _treated(remedy: Remedy, recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with the remedy's keys, that mends nothing further and makes the remedy's audits only."""
    audit = recipe.audit.model_dump(mode="json")
    for name, options in audit.items():
        if isinstance(options, dict):
            options["enabled"] = options["enabled"] and name in remedy.audits
    sections = {"mitigation": {}, "audit": {**audit, "enabled": bool(remedy.audits)}, "tracking": {}, "name": remedy.name}
    return changed(recipe, changes, sections, where=f"mitigation.{remedy.name}")


def _begin(folder: Path, treated: Path, recipe: Recipe) -> None:
    """The remedy's run begins with copies of the run's stages; those that its keys change run anew by themselves."""
    for stage in SHARED:
        if not (treated / stage).exists() and (folder / stage).exists():
            shutil.copytree(folder / stage, treated / stage, ignore=shutil.ignore_patterns("checkpoints", "test_ledger.jsonl"))
    if not (treated / "recipe.yaml").exists():
        write_text(treated / "recipe.yaml", (folder / "recipe.yaml").read_text(encoding="utf-8"))


def _compared(
    remedy: Remedy, patient: Patient, treated: Path, after: Sequence[Finding], changes: Mapping[str, Any], command: str
) -> Iterator[Finding]:
    """Yield a row for each watched figure, then the price."""
    words, price = _keys_in_words(changes), _price(patient.folder, treated, after)
    for key in _watched(remedy, after):
        before, now = by_key(patient.findings, key), by_key(after, key)
        if now is None or now.verdict == "unmeasured":
            why = now.reason if now is not None else Message("it was not measured after the remedy")
            yield Finding(key=f"mitigation.{remedy.name}.{key}", title=remedy.title, verdict="unmeasured", reason=why, command=command)
            continue
        yield _row(remedy, before, now, words, price, command)


def _watched(remedy: Remedy, after: Sequence[Finding]) -> list[str]:
    keys = [one.key for one in after]
    wanted: list[str] = []
    for watched in remedy.watches:
        wanted += [key for key in keys if key.startswith(watched[:-1])] if watched.endswith("*") else [watched]
    return list(dict.fromkeys(wanted))


def _row(remedy: Remedy, before: Finding | None, now: Finding, words: str, price: dict[str, Any], command: str) -> Finding:
    from weighbridge.findings import Verdict

    was = before.value if before is not None and isinstance(before.value, int | float) else None
    better = None
    if was is not None and isinstance(now.value, int | float) and now.interval is not None:
        high_low = now.interval[1] < was if remedy.less else now.interval[0] > was
        low_high = now.interval[0] > was if remedy.less else now.interval[1] < was
        better = True if high_low else False if low_high else None
    verdict: Verdict = "advantage" if better else "limitation" if better is False else "neutral"
    return Finding(
        key=f"mitigation.{remedy.name}.{now.key}",
        title=now.title,
        verdict=verdict,
        value=now.value,
        interval=now.interval,
        unit=now.unit,
        n=now.n,
        n_of=now.n_of,
        reference=None if was is None else Reference(name=Message("before"), value=float(was)),
        reason=Message(REASONS[better], keys=words, **price),
        method=remedy.title,
        source=remedy.source or now.source,
        evidence=(f"mitigation/{remedy.name}/run/findings.jsonl",),
        command=command,
    )


def _price(folder: Path, treated: Path, after: Sequence[Finding]) -> dict[str, Any]:
    """Return what mending cost: the paired difference of the headline on the test rows, and the time to train."""
    from weighbridge import evaluation
    from weighbridge.evaluation.comparison import compare
    from weighbridge.evaluation.metrics import HEADLINES

    before, now = (evaluation.read_predictions(place / "evaluation" / "test.parquet") for place in (folder, treated))
    headline = HEADLINES[now.kind]
    seconds = by_key(after, "training.seconds")
    price: dict[str, Any] = {"metric": headline.name.replace("_", " "), "seconds": seconds.value if seconds is not None else 0.0}
    how = evaluation.resampling_of(2000, 0)
    try:
        found = compare(now, before, how)
        low, high = found.interval
        shown = found.difference
    except DataError:  # the remedy took rows out or gave them other names: two separate figures
        shown = headline.sign * (headline.value(now) - headline.value(before))
        low = high = shown
    return price | {"difference": round(shown, 5), "low": round(low, 5), "high": round(high, 5)}


def _keys_in_words(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in changes.items())


def _key_of(folder: Path) -> str:
    return str(read_json(folder / "evaluation" / "stage.json")["key"])


def _stored(folder: Path) -> list[Finding]:
    path = folder / "findings.jsonl"
    return read_findings(path) if path.exists() else []
