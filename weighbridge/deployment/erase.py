"""`weigh data erase`: a row is taken out of a run, of its source where that is asked for, and of the state folder of a server.

What is to be done is written to RUN/.erasing.json (mode 0600) before anything is changed, and removed at the end: killed at any point, the
same command, or one without rows, goes on; until then `weigh run` refuses the folder. The end is a receipt in RUN/data/erased.jsonl with
keyed hashes of the rows' ids, never ids or contents; by it each later reading of the source leaves the rows out.

Not reached: blocks that the disk keeps of files that were replaced (encrypt the disk, or wipe its free space), snapshots and copies
elsewhere, and what models learnt, which goes when they are trained again.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from weighbridge.data.erase_rows import Found, base_of_id, find_rows, readable_source
from weighbridge.data.erase_source import refuse_source, rewrite_source
from weighbridge.data.erased import PENDING, add_receipt, erasing, read_erased, read_receipts
from weighbridge.data.table import load_schema
from weighbridge.deployment.erase_arrays import INDEX
from weighbridge.deployment.erase_challengers import erase_challengers
from weighbridge.deployment.erase_files import Done, erase_files, mend_marks, search
from weighbridge.deployment.erase_marks import Marks, encoded_marks, marks_of
from weighbridge.deployment.erase_models import models_of, runs_beside, served
from weighbridge.deployment.erase_package import erase_package, packages_in, signing_key
from weighbridge.deployment.erase_state import StateErased, add_to_trail, equal_answers, erase_state, known_answers
from weighbridge.deployment.joining import road_id
from weighbridge.errors import RunError, UsageError
from weighbridge.findings import Finding, Message, read_findings, write_findings
from weighbridge.recipe import Recipe, load_recipe
from weighbridge.storage import FolderLock, read_json, remove
from weighbridge.storage.files import write_private
from weighbridge.storage.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to erase: rows by id, or those that hold all of these values; where else than in the run; and who says so."""

    ids: tuple[str, ...] = ()
    where: Mapping[str, str]
    state: Path | None = None
    database: str | None = None  # the log's, where it is not a file of the state folder
    source: bool = False
    who: str = "terminal"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that the work needs, kept until it is done: it holds what the rows are known by."""

    erasure: str
    time: str
    who: str
    names: tuple[str, ...]
    answers: tuple[str, ...]
    marks: Marks
    places: tuple[int, ...]
    split: Mapping[str, int]
    models: tuple[Mapping[str, str], ...]
    source: bool
    state: str | None
    database: bool = False  # whether the log is elsewhere: its URL may hold a password, so it is asked for again

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "marks": self.marks.to_json()}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        listed = {name: tuple(told[name]) for name in ("names", "answers", "places", "models")}
        return cls(**{**told, **listed, "marks": Marks.from_json(told["marks"])})


def erase(run: Path, request: Request, progress: Progress = silent) -> list[dict[str, Any]]:
    """The rows are nowhere in the run, nor where else the request says; return the receipts of what was done now, the last one last.

    An erasure that was killed is ended first; a request without rows does only that.
    Raises: UsageError and DataError before anything was changed; StorageError and RunError: run the same command again.
    """
    recipe = load_recipe(run / "recipe.yaml")
    with FolderLock(run):
        done = []
        if (run / PENDING).exists():
            done.append(_work(run, recipe, _pending(run), request.database, progress))
        elif not request.ids and not request.where:
            raise UsageError("nothing says which row is erased", do="name --row ID, or --where COLUMN=VALUE")
        if request.ids or request.where:
            if done and not _still_there(run, recipe, request):
                return done
            if (plan := _plan(run, recipe, request, progress)) is None:
                return done
            write_private(run / PENDING, json.dumps(plan.to_json(), ensure_ascii=False).encode("utf-8"))
            done.append(_work(run, recipe, plan, request.database, progress))
        return done


def _still_there(run: Path, recipe: Recipe, request: Request) -> bool:
    """Whether the rows of the request are others than those of the erasure that was just ended."""
    known = erasing(run / "data")
    return bool(request.where) or any(known.name(one) not in known.rows for one in request.ids)


def _pending(run: Path) -> Plan:
    try:
        return Plan.from_json(read_json(run / PENDING))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run / PENDING} is damaged ({error})", do="remove it and run the erasure again") from None


def _plan(run: Path, recipe: Recipe, request: Request, progress: Progress) -> Plan | None:
    """Return what is to be done, None where all of it was done before and nothing is left of the rows."""
    section, folder = recipe.data, run / "data"
    if not (folder / "schema.json").exists():
        raise RunError(f"{run} holds no data yet", do="run the recipe first: weigh run")
    if request.source:
        refuse_source(section)
    if request.database is not None and request.state is None:
        raise UsageError("--database is the log of a server, whose folder is not named", do="give --state, too")
    answers = known_answers(request.state, request.ids, request.database) if request.state is not None and request.ids else set()
    with tempfile.TemporaryDirectory(prefix=".erasing-", dir=run) as place:
        source, unread = readable_source(section, Path(place), recipe.preprocessing.set.separator, progress)
        if source is None and (request.source or section.anonymize.columns):
            raise UsageError(f"the source can not be read ({unread})", do="make it readable and run the same command again")
        found = _found(recipe, folder, request, answers, source, unread)
        if not found.names and not answers:
            return None
        kinds = {column.name: column.type for column in load_schema(folder / "schema.json").columns}
        marks = marks_of(found, source, kinds)
        del source
    raw = dict.fromkeys(one for path in sorted(run.rglob(INDEX)) for one in _encoded(path.parent, marks.ids))
    marks = replace(marks, raw=tuple(dict.fromkeys([*marks.raw, *raw])))
    if request.state is not None:
        answers |= equal_answers(request.state, marks, request.database)
    models = [*models_of(run, found.split), *runs_beside(run, found.written)]
    if request.state is not None:
        models += served(request.state, frozenset(one.sha256 for one in models if one.sha256))
    return Plan(
        erasure=secrets.token_hex(8), time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), who=request.who, names=found.names,
        answers=tuple(sorted(answers)), marks=marks, places=() if found.places is None else tuple(found.places.tolist()),
        split=dict(found.split), models=tuple(one.to_json() for one in models), source=request.source,
        state=None if request.state is None else str(request.state), database=request.database is not None,
    )  # fmt: skip


def _found(recipe: Recipe, folder: Path, request: Request, answers: set[str], source: Any, unread: Message | None) -> Found:
    """Return the rows of the run; ids of served answers, and of rows that were erased before, need not be there."""
    ids, known = list(request.ids), read_erased(folder)
    for one in request.ids:
        try:
            find_rows(recipe.data, folder, [one], {}, source, unread)
        except UsageError:
            if one not in answers and (known is None or known.name(base_of_id(one, hashed=True)) not in known.rows):
                raise
            ids.remove(one)
    if not ids and not request.where:
        return Found(names=(), written=frozenset(), split={}, places=np.empty(0, dtype=np.int64))
    return find_rows(recipe.data, folder, ids, request.where, source, unread)


def _encoded(folder: Path, ids: frozenset[str]) -> list[bytes]:
    from weighbridge.preprocessing import open_arrays

    try:
        arrays = open_arrays(folder)
    except RunError:
        return []  # half written, or of an erasure that was killed: it is mended or refused later
    return list(encoded_marks(arrays, ids))


def _work(run: Path, recipe: Recipe, plan: Plan, database: str | None, progress: Progress) -> dict[str, Any]:
    """Do what the plan says, each part of it safe to do again; its receipt is written, and the plan is gone."""
    if plan.database and database is None:
        raise UsageError("the erasure that was stopped is also about the log of a database", do="give --database again")
    folder = run / "data"
    known = erasing(folder)
    past = [one for one in read_receipts(folder) if one.get("erasure") == plan.erasure]
    if past:
        receipt = past[0]
    else:
        source_files = _source(run, recipe, plan, progress) if plan.source else 0
        progress("erase", 0, 3, "the run's files")
        done = _run_files(run, recipe, plan)
        progress("erase", 1, 3, "the report")
        state = StateErased() if plan.state is None else erase_state(Path(plan.state), plan.answers, plan.marks, database)
        state_runs = _challengers(run, plan)
        _findings(run, plan, len(known.rows | {known.name(one) for one in plan.names}))
        done += _report(run, plan.marks)
        mend_marks(run)
        progress("erase", 2, 3, "the receipt")
        receipt = add_receipt(folder, _receipt(plan, [known.name(one) for one in plan.names], done, source_files, state, state_runs))
    if plan.state is not None:
        add_to_trail(Path(plan.state), plan.who, receipt)
    remove(run / PENDING)
    progress("erase", 3, 3)
    return receipt


def _source(run: Path, recipe: Recipe, plan: Plan, progress: Progress) -> int:
    """The user's own source no longer holds the rows; return how many of its files were changed now."""
    with tempfile.TemporaryDirectory(prefix=".erasing-", dir=run) as place:
        source, unread = readable_source(recipe.data, Path(place), recipe.preprocessing.set.separator, progress)
        if source is None:
            raise RunError(f"the source can not be read ({unread})", do="make it readable and run the same command again")
        places = np.flatnonzero(np.isin(source.rows.ids, list(plan.names)))
        return len(rewrite_source(recipe.data, places, source)) if len(places) else 0


def _run_files(run: Path, recipe: Recipe, plan: Plan) -> Done:
    done = erase_files(run, plan.marks, plan.places)
    key = signing_key(recipe.deployment.sign.key)
    for package in packages_in(run):
        if (signed := erase_package(package, plan.marks, key)) is not None:
            done.rewritten.append(package.relative_to(run).as_posix() + {"unsigned": " (sign it again)"}.get(signed, ""))
    return done


def _challengers(run: Path, plan: Plan) -> list[str]:
    """The retrainings under the state folder do not hold the rows, nor those that answers became; return which runs did."""
    if plan.state is None:
        return []
    marks = replace(plan.marks, ids=plan.marks.ids | {road_id(one) for one in plan.answers})
    told = {"erasure": plan.erasure, "time": plan.time, "by": plan.who, "of": run.name}
    return erase_challengers(Path(plan.state), run, marks, told)


def _report(run: Path, marks: Marks) -> Done:
    """The report is drawn anew from what is left; nothing outside models holds the rows."""
    from weighbridge.report import write_report

    done = search(run, marks)
    if (run / "findings.jsonl").exists() and (run / "run.json").exists():
        write_report(run, read_json(run / "run.json").get("language", "en"))
        done += search(run, marks)
    return done


def _findings(run: Path, plan: Plan, rows: int) -> None:
    """The findings of the run and of its data stage say that rows were erased, and what became of the models."""
    finding = erased_now(plan, rows, f"weigh data {run.as_posix()}")
    for path in (run / "data" / "findings.jsonl", run / "findings.jsonl"):
        if path.exists():
            others = read_findings(path)
            last = max((place for place, one in enumerate(others) if one.key.startswith("data.")), default=-1) + 1
            kept = [*others[:last], finding, *others[last:]]
            write_findings(path, [one for one in kept if one is finding or one.key != finding.key])


def erased_now(plan: Plan, rows: int, command: str) -> Finding:
    """Return that rows are out of the run, and that models which saw them answer as before until they are trained again."""
    return Finding(
        key="data.erased",
        title=Message("Erased rows"),
        value=rows,
        unit="rows",
        verdict="limitation" if plan.models else "neutral",
        reason=Message("taken out of the run's files; {models} models saw them and answer as before until they are trained again: "
                       "weigh data erase RUN --retrain", models=len(plan.models))
        if plan.models else Message("taken out of the run's files; no model saw them"),
        method=Message("every file of the run searched for the rows' ids, values and encoded bytes"),
        evidence=("data/erased.jsonl",),
        command=f"{command} --only erased",
    )  # fmt: skip


def _receipt(
    plan: Plan, rows: Sequence[str], done: Done, source_files: int, state: StateErased, challengers: Sequence[str]
) -> dict[str, Any]:
    return {
        "erasure": plan.erasure, "time": plan.time, "by": plan.who, "rows": list(rows), "split": dict(plan.split),
        "rewritten": done.rewritten, "removed": done.removed, "remains": done.remains, "source_files": source_files,
        "state": {**vars(state), "remains": list(state.remains), "challengers": list(challengers)} if plan.state is not None else None,
        "models": [dict(one) for one in plan.models],
    }  # fmt: skip
