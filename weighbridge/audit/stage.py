"""The audit stage: every limitation that the recipe asks for, one after the other, within a budget; what is finished is kept.

audit/NAME.jsonl   the findings of an audit, written when it has ended
audit/spent.json   seconds that each took, over all sittings
audit/...          evidence
"""

from __future__ import annotations

import contextlib
import filecmp
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.audit.registry import Audit, audits
from weighbridge.audit.subject import SPLITS, Subject, Unmeasured
from weighbridge.errors import DataError, DependencyError, RecipeError, TrainingError, UsageError, did_you_mean
from weighbridge.findings import Finding, Message, read_findings, write_findings
from weighbridge.storage import FolderLock, read_json, remove, write_bytes, write_json

if TYPE_CHECKING:
    import numpy as np

    from weighbridge.evaluation import Predictions
    from weighbridge.optimization import Kept
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress

AUDITED, SPENT = "audited.json", "spent.json"
LEAST_BUDGET_S = 120.0
FAILS = (DependencyError, RecipeError, DataError, TrainingError)  # the audit is not measured, and the others go on


def prepare(recipe: Recipe, *, folder: Path, command: str, progress: Progress, stop: StopRequest) -> list[Finding]:
    """`folder/audit` holds the findings and evidence of each audit; returns the findings `audit.*`.

    Raises Stopped, StorageError, RunError; finished audits are kept.
    """
    from weighbridge.optimization import read_chosen

    if not recipe.audit.enabled:
        reason = Message("the recipe says audit.enabled: false")
        write_json(folder / "audit" / AUDITED, read_chosen(folder).hashes)
        return [Finding(key=f"audit.{one.name}", title=one.title, verdict="unmeasured", reason=reason, command=command) for one in audits()]
    subject = open_subject(recipe, folder, command=command, progress=progress, stop=stop)
    path, found = folder / "audit" / SPENT, list[Finding]()
    spent: dict[str, float] = read_json(path) if path.exists() else {}
    with contextlib.closing(subject):
        for place, one in enumerate(audits()):
            progress("audit", place, len(audits()), one.name)
            stop.check("finished audits are kept")
            kept = folder / "audit" / f"{one.name}.jsonl"
            if not kept.exists():
                began = time.monotonic()
                write_findings(kept, _made(one, subject, budget_s(subject) - sum(spent.values())))
                spent[one.name] = time.monotonic() - began
                write_json(path, spent)
            found += read_findings(kept)
    write_json(folder / "audit" / AUDITED, subject.chosen.hashes)
    progress("audit", len(audits()), len(audits()))
    return found


def measure_again(recipe: Recipe, folder: Path, only: str, *, command: str, progress: Progress, stop: StopRequest) -> list[Finding]:
    """Return the findings of one audit, measured anew whatever the budget; what the run holds stays. Raises UsageError for no audit."""
    name = only.removeprefix("audit.").split(".")[0]
    known = {one.name: one for one in audits()}
    if name not in known:
        raise UsageError(f"there is no audit '{name}'{did_you_mean(name, known)}", do=f"known: {', '.join(known)}")
    with (
        FolderLock(folder),
        _as_it_was(folder / "audit"),
        contextlib.closing(open_subject(recipe, folder, command=command, progress=progress, stop=stop)) as subject,
    ):
        return _made(known[name], subject, float("inf"))


@contextlib.contextmanager
def _as_it_was(place: Path) -> Iterator[None]:
    """A folder holds after the block what it held before: its evidence is that of the findings that stay, and the stage is not damaged."""
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as aside:
        kept = Path(aside) / "kept"
        if place.exists():
            shutil.copytree(place, kept)
        try:
            yield
        finally:
            for path in [path for path in place.rglob("*") if path.is_file() and not (kept / path.relative_to(place)).exists()]:
                remove(path)
            for path in [path for path in kept.rglob("*") if path.is_file()]:
                home = place / path.relative_to(kept)
                if not home.exists() or not filecmp.cmp(path, home, shallow=False):
                    write_bytes(home, path.read_bytes())


def budget_s(subject: Subject) -> float:
    """Return the seconds that all audits together may take."""
    wish = subject.recipe.audit.budget
    return max(LEAST_BUDGET_S, subject.training_s) if wish == "auto" else 60.0 * float(wish)


def _made(one: Audit, subject: Subject, left_s: float) -> list[Finding]:
    """Return the findings of an audit, or the one that says why there are none."""
    if not getattr(subject.recipe.audit, one.name).enabled:
        return [subject.unmeasured(one.name, one.title, Message("the recipe says audit.{name}: false", name=one.name))]
    try:
        takes = one.seconds(subject)
        if takes > left_s:
            reason = Message(
                "it would take about {seconds} s, and {left} s of audit.budget are left", seconds=round(takes), left=max(0, round(left_s))
            )
            return [subject.unmeasured(one.name, one.title, reason)]
        return one.measure(subject)
    except Unmeasured as error:
        return [subject.unmeasured(one.name, one.title, error.reason)]
    except FAILS as error:
        return [subject.unmeasured(one.name, one.title, Message("{why}", why=str(error)))]


def open_subject(recipe: Recipe, folder: Path, *, command: str, progress: Progress, stop: StopRequest) -> Subject:
    """Return the run's packaged form as a subject, the most capable model beside it; the test rows are read once, with a reason."""
    from weighbridge import data, evaluation, optimization
    from weighbridge.optimization import read_chosen
    from weighbridge.stages.chosen import EncodedRows

    chosen, splits = read_chosen(folder), data.open_data(folder / "data")
    test = splits.test(f"audit of model {chosen.form.sha256[:12]}", command)
    rows = EncodedRows(folder, None, progress)
    known = {split: evaluation.read_predictions(folder / "evaluation" / f"{split}.parquet") for split in SPLITS}

    def subject(kept: Kept, champion: Subject | None) -> Subject:
        encoder, arrays = rows.encoder(kept.arrays), rows.of(kept.arrays)
        answer = optimization.answers(folder, kept, encoder)
        said = known if kept == chosen.form else {split: _said(answer, part, encoder, known[split]) for split, part in arrays.items()}
        return Subject(
            recipe=recipe, folder=folder, chosen=chosen, kept=kept, splits=splits, test=test, arrays=arrays, encoder=encoder, said=said,
            answer=answer, how=evaluation.resampling_of(recipe.evaluation.resamples, recipe.seed), command=command, progress=progress,
            stop=stop, champion=champion,
        )  # fmt: skip

    champion = None if chosen.champion == chosen.form else subject(chosen.champion, None)
    return subject(chosen.form, champion)


def _said(answer: Callable[[Arrays], np.ndarray], rows: Arrays, encoder: Encoder, known: Predictions) -> Predictions:
    """Return a model's answers on the rows of known predictions, in their groups."""
    from weighbridge import evaluation

    said = evaluation.predictions_of(answer(rows), rows, encoder, split=known.split)
    return replace(said, group=known.group)  # rows are sorted by id in both
