"""The chosen form's probabilities are adjusted before they leave it: fitted on validation rows, written into its graph.

What was chosen stays chosen; its name gets the adjustment's steps, such as `recipe+half+temperature`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import DependencyError, FormError, RecipeError, WeighbridgeError
from weighbridge.findings import Finding, Message, Reference, Verdict
from weighbridge.optimization.contest import build_graph, graph_about
from weighbridge.optimization.rating import resampling
from weighbridge.storage import sha256_json

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.adjustment import Adjustment, Kind, Offsets, Step
    from weighbridge.evaluation.predictions import Ints
    from weighbridge.evaluation.recalibration import Saved
    from weighbridge.evaluation.thresholds import Thresholds
    from weighbridge.optimization.chosen import Kept
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.ground import Ground
    from weighbridge.preprocessing import Encoder

FAILS = (FormError, RecipeError, DependencyError)
TITLES = {
    "temperature": Message("Temperature of the probabilities"),
    "isotonic": Message("Log loss that the isotonic map saves"),
    "thresholds": Message("Gap between groups under thresholds of their own"),
}


def is_asked(contest: Contest) -> bool:
    """Whether the recipe asks for an adjustment."""
    options = contest.recipe.optimization.adjust
    return options.probabilities != "none" or options.thresholds.column is not None


def adjusted(contest: Contest, kept: Kept, ground: Ground, command: str) -> tuple[Kept, list[Finding]]:
    """Return the form with the recipe's adjustment in its graph, and a finding for each step; a step that does not fit says why.

    `kept` has a graph; `ground` is the run's own split as the form reads it.
    """
    from weighbridge.evaluation.adjustment import Adjustment
    from weighbridge.runtime.session import Session

    if not is_asked(contest):
        return kept, []
    from weighbridge.evaluation import predictions_of

    rows, encoder = ground.validation, ground.encoder
    output = Session.open(contest.folder / kept.graph).answer(rows)
    said = predictions_of(output, rows, encoder, model=kept.name, split="validation", groups=ground.group)
    steps: list[Step] = []
    found: list[Finding] = []
    for name, fit in _fits(contest, encoder, _codes(ground)):
        try:
            step, finding = fit(said)
        except FAILS as error:
            found.append(_not_done(name, error))
            continue
        steps.append(step)
        found.append(finding)
        if name != "thresholds":
            said = replace(said, output=step.applied(said.output, _kind(said)))
    if steps:
        try:
            kept = _with_graph(contest, kept, ground, Adjustment(kind=_kind(said), steps=tuple(steps)))
        except FAILS as error:
            found = [_not_done(one.key.split(".")[-1], error) if one.verdict != "unmeasured" else one for one in found]
    return kept, [replace(one, command=f"{command} --only {one.key.partition('.')[2]}") for one in found]


def _not_done(name: str, error: WeighbridgeError) -> Finding:
    return Finding(key=f"optimization.adjust.{name}", title=TITLES[name], verdict="unmeasured", reason=Message("{why}", why=str(error)))


def _with_graph(contest: Contest, kept: Kept, ground: Ground, adjustment: Adjustment) -> Kept:
    """Return the form whose graph ends with the adjustment. Raises FormError, PackageError."""
    from weighbridge.export.adjust import adjust

    source, name = contest.folder / kept.graph, "+".join([kept.name, *adjustment.names])
    about = graph_about(source)

    def make(path: Path) -> dict[str, Any]:
        adjust(source, path, adjustment)
        return {"parameters": about["parameters"], "trained_s": about["trained_s"], "adjustment": adjustment.to_json()}

    graph = build_graph(contest, name, ground, sha256_json([about["sha256"], adjustment.to_json()]), make)
    return replace(kept, name=name, graph=graph.relative_to(contest.folder).as_posix(), sha256=graph_about(graph)["sha256"])


Fitted = Callable[["Predictions"], "tuple[Step, Finding]"]


def _fits(contest: Contest, encoder: Encoder, codes: Ints | None) -> list[tuple[str, Fitted]]:
    options = contest.recipe.optimization.adjust
    found: list[tuple[str, Fitted]] = []
    if options.probabilities != "none":
        found.append((options.probabilities, partial(_probabilities, contest, options.probabilities)))
    if options.thresholds.column is not None:
        found.append(("thresholds", partial(_thresholds, contest, encoder, codes)))
    return found


def _kind(said: Predictions) -> Kind:
    if said.kind == "number":
        raise RecipeError("optimization.adjust is for classes and labels, and the target is a number", do="leave it out")
    return said.kind


def _codes(ground: Ground) -> Ints | None:
    """Return the block `category` of the validation rows in the order of their ids; None where there is none."""
    block = ground.validation.blocks.get("category")
    return None if block is None else np.asarray(block)[np.argsort(ground.validation.row_ids, kind="stable")].astype(np.int64)


def _probabilities(contest: Contest, name: str, said: Predictions) -> tuple[Step, Finding]:
    """Return the fitted step and what it saves on rows that did not fit it. Raises RecipeError."""
    from weighbridge.evaluation.adjustment import Adjustment, Temperature
    from weighbridge.evaluation.recalibration import LEAST_ISOTONIC, fit_isotonic, fit_temperature, saved_on_unseen, temperature_interval

    kind = _kind(said)
    fit: Callable[[Predictions], Step] = fit_temperature if name == "temperature" else fit_isotonic
    if name == "isotonic" and len(said) < LEAST_ISOTONIC:
        raise RecipeError(
            f"an isotonic map follows its rows where they are fewer than {LEAST_ISOTONIC:,}, and there are {len(said):,} validation rows",
            do="optimization.adjust.probabilities: temperature",
        )
    step = fit(said)
    saved = saved_on_unseen(said, lambda rows: Adjustment(kind=kind, steps=(fit(rows),)), resampling(contest))
    finding = _saved_finding(name, saved, contest.recipe.evaluation.resamples)
    if isinstance(step, Temperature):
        one = Reference(name=Message("as it was"), value=1.0)
        finding = replace(finding, value=step.value, interval=temperature_interval(said, step), reference=one)
    return step, finding


def _saved_finding(name: str, saved: Saved, resamples: int) -> Finding:
    low, high = saved.interval
    verdict: Verdict = "advantage" if low > 0 else "limitation" if high < 0 else "neutral"
    return Finding(
        key=f"optimization.adjust.{name}",
        title=TITLES[name],
        verdict=verdict,
        value=saved.saved,
        interval=saved.interval,
        n=saved.n,
        reason=Message(
            "log loss {before} before and {after} after, on rows that did not fit it: {saved} less ({low} to {high})",
            before=saved.before, after=saved.after, saved=saved.saved, low=low, high=high,
        ),
        method=Message(
            "fitted on validation rows; saved: each of five folds adjusted by the other four, BCa bootstrap, {resamples} resamples",
            resamples=resamples,
        ),
        source={"temperature": "Guo 2017; Efron 1987", "isotonic": "Zadrozny and Elkan 2002; Oron and Flournoy 2017; Efron 1987"}[name],
    )  # fmt: skip


def _thresholds(contest: Contest, encoder: Encoder, codes: Ints | None, said: Predictions) -> tuple[Offsets, Finding]:
    """Return the offsets by group and what they do to the rows that fitted them. Raises RecipeError where they do not fit."""
    from weighbridge.evaluation.adjustment import Isotonic, Offsets
    from weighbridge.evaluation.thresholds import fit_thresholds

    options = contest.recipe.optimization.adjust.thresholds
    key = f"optimization.adjust.thresholds.column: {options.column}"
    block = next((one for one in encoder.blocks if one.kind == "category"), None)
    if said.kind != "category" or len(said.classes) != 2:
        raise RecipeError(f"{key} is for two classes", do="leave it out")
    if block is None or codes is None or options.column not in block.columns:
        raise RecipeError(
            f"{key} is no input of type category, and the package decides by what it is given",
            do="let the column be an input (data.columns), or leave thresholds out",
        )
    place = block.columns.index(options.column)
    score = Isotonic.scores(said.output, "category")[:, 0]
    try:
        fitted = fit_thresholds(score, said.target == 1, codes[:, place], block.cardinalities[place], options.alike)
    except ValueError as error:
        raise RecipeError(f"{key}: {error}", do="give more validation rows, or leave it out") from None
    return Offsets(column=str(options.column), place=place, values=fitted.offsets), _thresholds_finding(fitted, options.column)


def _thresholds_finding(fitted: Thresholds, column: str | None) -> Finding:
    return Finding(
        key="optimization.adjust.thresholds",
        title=TITLES["thresholds"],
        value=fitted.gap,
        unit="share",
        n=fitted.n,
        reference=Reference(name=Message("one threshold for all"), value=fitted.gap_before),
        reason=Message(
            "{groups} groups of {column}; accuracy {accuracy} where it was {before}; on the rows that fitted them, so a little too good: "
            "test rows are judged by the audit of fairness",
            groups=sum(group.judged for group in fitted.groups), column=str(column), accuracy=fitted.accuracy,
            before=fitted.accuracy_before,
        ),
        method=Message("of all common rates the most accurate thresholds, no chance in them; groups of few rows share one"),
        source="Hardt 2016",
    )  # fmt: skip
