"""Does the model treat groups alike? Rates, errors and calibration of each group of the protected columns, and who tells of the group.

audit/fairness.json   each group's figures with their intervals, for the drawing; what each input tells of a protected column
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.fairness_findings import (
    Claim,
    calibration_finding,
    claims_of,
    corrected,
    findings_of,
    nothing_to_compare,
    small_groups,
)
from weighbridge.audit.fairness_groups import Grouping, grouped, key_of, together
from weighbridge.audit.fairness_measures import Cells, calibrated, cells_of
from weighbridge.audit.fairness_proxies import Proxies, find_proxies, flat_inputs, sample
from weighbridge.audit.registry import audit
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.errors import RecipeError, RunError, did_you_mean
from weighbridge.findings import Finding, Message, Reference, Verdict
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.data import Table
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.predictions import Ints

PROXY = 0.7  # area under the ROC curve from which inputs tell the group: "acceptable" discrimination (Hosmer and Lemeshow 2013)
NAMED = 3  # inputs that are named alone
DRAWN = ("selected", "true_positive", "false_positive", "error", "mean_error", "rmse")
MOST_DRAWN = 16  # groups of a column that are drawn


def _seconds(subject: Subject) -> float:
    columns = len(subject.recipe.data.protected)
    slots = sum(int(np.prod(block.shape)) if block.kind != "text" else 64 for block in subject.encoder.blocks)
    return columns * (1.0 + 0.05 * min(slots, 400))


@audit("fairness", Message("Fairness between groups"), seconds=_seconds)
def fairness(subject: Subject) -> list[Finding]:
    """Return the gaps between the groups of each protected column and of their intersections, and how well inputs tell the group.

    Raises Unmeasured where the recipe names no protected column; RecipeError for a selected class that the target has not.
    """
    wanted = list(dict.fromkeys(subject.recipe.data.protected))
    if not wanted:
        raise Unmeasured(Message("the recipe names no protected column (data.protected)"))
    said = subject.said["test"]
    selected = _selected(subject, said)
    order = _order(subject.test, said)
    single, found = list[Grouping](), list[Finding]()
    for column in wanted:
        groups = grouped(column, subject.test, subject.splits.train, order)
        if isinstance(groups, Message):
            title = Message("Fairness between groups of {column}", column=column)
            found.append(subject.unmeasured(f"fairness.{key_of(column)}", title, groups))
        else:
            single.append(groups)
    groupings = [*single, *together(single)]
    made = [(one, cells_of(said, one, selected)) for one in groupings]
    found += _gaps(subject, said, selected, made)
    proxies = {one.columns[0]: _proxies(subject, one.columns[0]) for one in single}
    for one in single:
        found += _proxy_finding(subject, one, proxies[one.columns[0]])
    write_json(subject.place / "fairness.json", _evidence(subject, made, proxies, selected))
    return found


def _gaps(subject: Subject, said: Predictions, selected: int, made: Sequence[tuple[Grouping, Cells]]) -> list[Finding]:
    """Return the findings of all groupings; the verdicts hold for all of them together."""
    tolerance = subject.recipe.audit.fairness.tolerance * (float(said.target.std()) if said.kind == "number" else 1.0)
    rival = None if subject.champion is None else subject.champion.said["test"]
    claims, rest = list[Claim](), list[Finding]()
    for grouping, cells in made:
        subject.heard("fairness", len(claims), 0, grouping.title)
        own = claims_of(grouping, cells, tolerance, None if rival is None else cells_of(rival, grouping, selected))
        claims += own
        rest += [*calibration_finding(grouping, calibrated(said, grouping), subject), *small_groups(grouping, cells, subject)]
        if not own:
            rest.append(nothing_to_compare(grouping, subject))
    return [*findings_of(corrected(claims), subject, said), *rest]


def _selected(subject: Subject, said: Predictions) -> int:
    """Return the code of the class that a row is selected by; 0 where there are no two classes to choose from."""
    name = subject.recipe.audit.fairness.selected
    if said.kind != "category":
        return 0
    if name is None:
        return 1
    if name not in said.classes:
        raise RecipeError(
            f"audit.fairness.selected: there is no class '{name}'{did_you_mean(name, said.classes)}",
            do=f"classes: {', '.join(said.classes[:20])}",
        )
    return said.classes.index(name)


def _order(table: Table, said: Predictions) -> Ints:
    """Return the table's rows in the order of the predictions. Raises RunError when they are not of the same rows."""
    order = np.argsort(table.row_ids, kind="stable")
    if not np.array_equal(table.row_ids[order], said.row_id):
        raise RunError("the stored predictions are not of the rows that the data stage holds", do="run the recipe again")
    return order


def _proxies(subject: Subject, column: str) -> Proxies | None:
    """Return how well the other inputs tell the groups of a column, on a sample of the training rows."""
    arrays, train = subject.arrays["train"], subject.splits.train
    rows = sample(len(arrays), subject.seed)
    groups = grouped(column, train, train, train.places(arrays.row_ids[rows]))
    if isinstance(groups, Message):
        return None
    known = subject.said["train"]
    units = None if known.group is None else known.group[np.searchsorted(known.row_id, arrays.row_ids[rows])]
    table, slots, categorical = flat_inputs(subject.encoder, arrays, rows, subject.seed, (column,))
    return find_proxies(table, slots, categorical, groups.codes, subject.how, units=units, progress=subject.heard)


def _proxy_finding(subject: Subject, grouping: Grouping, found: Proxies | None) -> list[Finding]:
    """Return the finding; a limitation where the column was left out of the inputs and they tell it all the same."""
    column, key = grouping.columns[0], f"fairness.{grouping.key}.proxy"
    title = Message("Fairness: how well the other inputs tell {column}", column=column)
    if found is None:
        reason = Message("among the training rows no two groups are large enough, or there is no other input")
        return [subject.unmeasured(key, title, reason)]
    named = ", ".join(f"{name} {area:.2f}" for name, area in found.alone[:NAMED])
    reads, verdict = column in subject.encoder.columns, "neutral"
    reason = Message("the model reads {column} itself; without it these would tell most, each alone: {named}", column=column, named=named)
    if not reads and found.interval[0] > PROXY:
        verdict = "limitation"
        reason = Message("the model does not read {column}, yet its inputs tell it; most, each alone: {named}", column=column, named=named)
    elif not reads:
        reason = Message("the model does not read {column}; of its inputs these tell most, each alone: {named}", column=column, named=named)
    return [
        Finding(
            key=f"audit.{key}", title=title, verdict=_as_verdict(verdict), value=found.together, interval=found.interval, unit="share",
            n=found.n, reference=Reference(name=Message("chance"), value=0.5), reason=reason,
            method=Message(
                "area under the ROC curve of gradient boosting over the other inputs, five folds of {n} training rows, {groups} groups; a "
                "limitation where it is surely above {most} and the column is no input", n=found.n, groups=found.groups, most=PROXY,
            ),
            source="Hosmer and Lemeshow 2013", evidence=("audit/fairness.json",), command=f"{subject.command} --only fairness",
        )
    ]  # fmt: skip


def _as_verdict(word: str) -> Verdict:
    return "limitation" if word == "limitation" else "neutral"


def _evidence(
    subject: Subject, made: Sequence[tuple[Grouping, Cells]], proxies: dict[str, Proxies | None], selected: int
) -> dict[str, Any]:
    """Return the content of fairness.json: figures of each group by measure, each with its own 95 % interval."""
    classes = subject.said["test"].classes
    return {
        "kind": subject.kind,
        "selected": classes[selected] if subject.kind == "category" and len(classes) == 2 else "",
        "columns": [
            {"column": grouping.title, "measures": _figures(grouping, cells, classes), "names": list(grouping.names[:MOST_DRAWN])}
            for grouping, cells in made
        ],
        "proxies": {
            column: None
            if one is None
            else {"together": one.together, "interval": list(one.interval), "n": one.n, "alone": dict(one.alone)}
            for column, one in proxies.items()
        },
    }


def _figures(grouping: Grouping, cells: Cells, classes: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    return {
        measure: [
            {
                "group": grouping.names[cell.group], "class": classes[cell.part] if cell.part < len(classes) and measure != "error" else "",
                "n": cell.n, "value": cell.value, "low": cell.interval[0], "high": cell.interval[1],
            }
            for cell in figures
        ]
        for measure, figures in cells.items()
    }  # fmt: skip
