"""The search: which values of recipe keys are best on the judging rows? The test rows are never read.

    optimization/search/study.db       every trial, unless a database is named that several machines share
    optimization/search/trials/        networks of the best trial so far and of those under way
    optimization/search.json           what the report draws

The first trial has the recipe's own values where they lie within the space. With one worker the same recipe gives the same trials, also
when it was killed in between: what was under way is taken up again under its number. Hyperband looks at the first judging ground only (the
run's own split, or the first fold), at the end of an epoch; a trial that passes it there is trained on the other folds in full.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from weighbridge.findings import Finding
from weighbridge.optimization.contest import RECIPE, Contest, joined
from weighbridge.optimization.search_pruning import longest_of, share_of_epochs
from weighbridge.optimization.search_sitting import KEPT, Sitting
from weighbridge.optimization.search_space import changes_of, own_params, size_of, variables_of
from weighbridge.optimization.search_study import Tried, best_of
from weighbridge.recipe.vary import varied

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search found. The networks of the best trial lie at `contest.network_folder("search", ground)` for every ground.

    Attributes:
        changes: recipe key -> value of the best trial; None where no trial has ended well, and then there are no networks.
        variant: the recipe with these changes.
        number: of the best trial.
        own: whether the best values are the recipe's own, so that the networks are copies of the recipe's.
        finished, pruned, failed: trials that have ended in each way.
        seconds: of all trials, over all sittings.
    """

    changes: dict[str, Any] | None
    variant: Recipe | None
    number: int | None
    own: bool
    finished: int
    pruned: int
    failed: int
    seconds: float
    findings: tuple[Finding, ...]


def search(contest: Contest, *, command: str, key: str) -> Searched | None:
    """Return what the recipe's search found; None where its space is empty. `optimization/search.json` shows it.

    Args:
        key: names data, code and the recipe's own training: a study goes on where it is the same, on any machine.
    Raises Stopped and StorageError; RunError where the database of the study does not answer. Finished trials are kept, and the same call
    goes on with what was under way.
    """
    options = contest.recipe.optimization.search
    if not options.space:
        return None
    sitting = Sitting(contest, key)
    try:
        if options.workers > 1:
            from weighbridge.optimization.search_pool import together

            together(sitting)
        else:
            alone(sitting)
        sitting.wait_for_others()
        return _concluded(sitting, command)
    finally:
        sitting.store.close()


def search_share(recipe: Recipe) -> float:
    """Return what the recipe's search costs, in trainings of the recipe, about; 0 where it has none.

    Counted are trials, folds and what Hyperband saves where values fall evenly; not that other values may make a network slower, and not
    that a training may stop early by itself, or the budget end the search.
    """
    section = recipe.optimization
    options, folds = section.search, section.cross_validation.folds
    if not section.enabled or not options.space:
        return 0.0
    variables = variables_of(recipe)
    size = size_of(variables)
    trials = min(options.trials, size) if size is not None else options.trials
    first, whole = share_of_epochs(longest_of(variables, recipe.training.epochs)) if options.pruning == "hyperband" else (1.0, 1.0)
    inside = own_params(recipe, variables, {}) is not None
    others = trials - 1 if inside else trials
    return others * (first + whole * max(0, folds - 1)) + (folds if inside else 0) + (1 if folds else 0)


def alone(sitting: Sitting) -> None:
    """Every trial has ended, one after the other in this process. Raises Stopped, RunError, StorageError."""
    from weighbridge.optimization.search_trial import attempt

    contest = sitting.contest if not sitting.store.shared else replace(sitting.contest, progress=sitting.living)
    for one in sitting.trials():
        tried = partial(attempt, contest, changes_of(sitting.variables, one.params), sitting.place_of(one), sitting.mark_of(one))
        sitting.settle(one, tried(label=sitting.label_of(one), watch=sitting.watch(one)))
        contest.stop.check(KEPT)


def _concluded(sitting: Sitting, command: str) -> Searched:
    """Return what was found; the best trial's networks are where they are looked for, and search.json is written."""
    from weighbridge.optimization.search_findings import Judged, findings_of, importance, write_evidence
    from weighbridge.optimization.search_trial import FAILURES, place_best, reason_of, tidy

    contest, tried = sitting.contest, sitting.store.tried()
    best, variant, judged, reason = best_of(tried, sitting.direction), None, None, ""
    if best is not None:
        variant = varied(contest.recipe, changes_of(sitting.variables, best.params))
        label = "search, the best trial"
        try:
            place_best(contest, variant, sitting.place_of(best), sitting.mark_of(best), label=label)
            judged = Judged(best=_answers(contest, variant, "search", label), recipe=_answers(contest, contest.recipe, RECIPE, label))
        except FAILURES as error:  # of the run's own split, where folds have judged
            best, variant, reason = None, None, reason_of(error)
        tidy(sitting.place / "trials", ())
    matters = importance(sitting, tried)
    write_evidence(sitting, tried, best, matters)
    findings = findings_of(sitting, tried, best, judged, matters, command, reason=reason)
    return _as_searched(sitting, tried, best, variant, tuple(findings))


def _as_searched(
    sitting: Sitting, tried: list[Tried], best: Tried | None, variant: Recipe | None, findings: tuple[Finding, ...]
) -> Searched:
    counts = {state: sum(one.state == state for one in tried) for state in ("finished", "pruned", "failed")}
    return Searched(
        changes=None if best is None else changes_of(sitting.variables, best.params),
        variant=variant,
        number=None if best is None else best.number,
        own=best is not None and best.own,
        seconds=round(sum(one.seconds for one in tried), 3),
        findings=findings,
        **counts,
    )


def _answers(contest: Contest, variant: Recipe, name: str, label: str) -> Predictions:
    """Return what a contender's networks say of the judging rows; the recipe's own are trained on folds where no trial has trained them."""
    from weighbridge.optimization.search_trial import answers_of

    plain = varied(contest.recipe, {}) if name == RECIPE else variant
    parts = []
    for ground in contest.judging(contest.grounds(plain)):
        folder = contest.train(contest.course(name, plain, ground), ground, label)
        parts.append(answers_of(folder, ground, name))
    return joined(parts)
