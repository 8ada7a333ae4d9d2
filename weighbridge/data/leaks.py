"""The leak gate: what makes a test score too good stops the run, unless the recipe names the leak in data.allow.

Where the source gives the split, near copies of judged rows are taken out of training instead: an official test set is judged as it
stands, and a famous data set stays usable. Where the split is ours, rows that belong together are for the user to name, or to drop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from weighbridge.data.leaks_checks import MOST_EVIDENCE, Case, Check, check_duplicates, check_group, check_near_duplicates, check_time
from weighbridge.data.leaks_columns import check_outcome, check_target, try_columns, unnamed_group
from weighbridge.data.split import TEST, TRAIN
from weighbridge.errors import LeakError
from weighbridge.findings import Finding, Message, Verdict
from weighbridge.storage import write_json

EVIDENCE = "leaks.json"
STOPPED = "leaks_stopped.json"  # what the gate stopped at: the evidence of the run before stays what it was
WAYS = {
    "duplicates": "set data.clean.duplicates: drop",
    "near_duplicates": "set data.clean.near_duplicates: drop, or name what belongs together in data.group",
    "target": "leave the columns out with data.columns (NAME: ignore)",
    "group": "set data.split.method: group",
    "time": "set data.split.method: time",
}
TITLES = {
    "duplicates": Message("Equal rows on two sides"),
    "near_duplicates": Message("Near copies on two sides"),
    "target": Message("Columns that give the target away"),
    "group": Message("Groups on two sides"),
    "time": Message("Training rows newer than test rows"),
    "outcome": Message("Columns known only after the outcome"),
}


@dataclass(frozen=True, kw_only=True)
class Passed:
    """The sides after the gate (int8 [n]; -1 also for rows that it took out of training), its findings `data.leak.*`, and what leaks.json
    is to hold.
    """

    side: np.ndarray
    findings: list[Finding]
    evidence: dict[str, object]


def leak_gate(case: Case, allow: Sequence[str], folder: Path, command: str) -> Passed:
    """Return the sides, the findings and the evidence.

    Raises LeakError, which names each leak that is not in `allow`, its rows and columns; `folder` then holds leaks_stopped.json.
    """
    checks = [_mended(check, case, allow) for check in _checks(case)]
    evidence: dict[str, object] = {check.name: _as_evidence(check) for check in checks}
    leaks = [check for check in checks if check.found and check.stops and not len(check.drop) and check.name not in allow]
    if leaks:
        write_json(folder / STOPPED, evidence)
        raise _error(leaks, allow, folder)
    side = case.side.copy()
    for check in checks:
        side[check.drop] = -1
    findings = [_finding(check, check.name in allow, command) for check in checks]
    return Passed(side=side, findings=findings, evidence=evidence)


def _checks(case: Case) -> list[Check]:
    tried = try_columns(case)
    return [
        check_duplicates(case),
        check_near_duplicates(case),
        check_target(case, tried),
        check_group(case) if case.rows.groups is not None else unnamed_group(tried),
        check_time(case),
        check_outcome(case),
    ]


def _mended(check: Check, case: Case, allow: Sequence[str]) -> Check:
    """Return the check with `drop` only where these rows may go: the recipe says so, or a given split and a certain leak; a leak that is
    not allowed, no side left without rows and the training rows not without a class.
    """
    side = case.side.copy()
    side[check.drop] = -1
    left = all((side == code).any() for code in range(TEST + 1)) and len(np.unique(case.rows.targets[side == TRAIN])) > 1
    asked = case.drops_near or (case.method == "given" and check.stops)
    if asked and check.name not in allow and left:
        return check
    return replace(check, drop=np.empty(0, dtype=np.int64))


def _error(leaks: Sequence[Check], allow: Sequence[str], folder: Path) -> LeakError:
    names = ", ".join([*allow, *(leak.name for leak in leaks)])
    ways = "; ".join(WAYS[leak.name] for leak in leaks)
    return LeakError(
        "; ".join(f"leak {leak.name}: {leak.what}" for leak in leaks),
        do=f"{ways}; or go on, and have the report say so, with data.allow: [{names}] (evidence: {folder / STOPPED})",
    )


def _as_evidence(check: Check) -> dict[str, object]:
    """Rows are counted from 1 in the order of the source; the first MOST_EVIDENCE are named."""
    facts = {"found": check.found, "unit": check.unit, "n": check.n, "dropped": len(check.drop)}
    if check.unmeasured is not None:
        return facts | {"unmeasured": str(check.unmeasured)}
    if check.columns:
        return facts | {"columns": list(check.columns)}
    return facts | {"pairs": len(check.evidence), "rows": (check.evidence[:MOST_EVIDENCE] + 1).tolist()}


def _finding(check: Check, allowed: bool, command: str) -> Finding:
    key, title, only = f"data.leak.{check.name}", TITLES[check.name], f"{command} --only leak.{check.name}"
    if check.unmeasured is not None:
        return Finding(key=key, title=title, verdict="unmeasured", reason=check.unmeasured, command=only)
    verdict: Verdict = "limitation" if check.found and check.suspicious and not len(check.drop) else "neutral"
    reason = check.reason
    if len(check.drop):
        reason = Message("they were taken out of training and validation; test rows never are")
    elif allowed and check.found and check.stops:
        reason = Message("the recipe goes on with this leak (data.allow: {name}): the test score is too good by it", name=check.name)
    return Finding(
        key=key, title=title, verdict=verdict, value=check.found, unit=check.unit, n=check.n, n_of=check.n_of, reason=reason,
        method=check.method, source=check.source, evidence=(f"data/{EVIDENCE}",), command=only,
    )  # fmt: skip
