"""Remedies against unlike treatment of groups: rows that count so that groups and classes do not go together, thresholds of their own,
or rates that are held alike while the network learns. See also mitigation/debias.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from weighbridge.audit.fairness_groups import key_of
from weighbridge.errors import RecipeError
from weighbridge.findings import Message
from weighbridge.mitigation.registry import Patient, Remedy, register
from weighbridge.storage import read_json

if TYPE_CHECKING:
    from weighbridge.findings import Finding

Alike = Literal["demographic_parity", "equalized_odds"]
REWEIGH, CONSTRAIN, THRESHOLDS = "training.reweigh", "training.constrain", "optimization.adjust.thresholds"
GAPS = ("selected", "true_positive", "false_positive", "mean_answer", "mean_error", "rmse")
WATCHES = tuple(f"audit.fairness.*.{gap}" for gap in GAPS)  # of the columns, not of their intersections
GAP_OF: dict[Alike, tuple[str, ...]] = {
    "demographic_parity": ("selected",),
    "equalized_odds": ("true_positive", "false_positive"),
}


def protected(patient: Patient) -> list[str]:
    """Return the protected columns. Raises RecipeError where there is none."""
    columns = list(dict.fromkeys(patient.recipe.data.protected))
    if not columns:
        raise RecipeError("no column is protected, so there are no groups to treat alike", do="name them in data.protected")
    return columns


def _reweighing(patient: Patient) -> Mapping[str, Any]:
    columns, section = protected(patient), patient.recipe.training
    if patient.kind != "category":
        raise RecipeError(f"{REWEIGH} is for classes, and the target is of type {patient.kind}", do="leave this remedy out")
    if section.reweigh:
        raise RecipeError(f"the recipe reweighs its rows already ({REWEIGH}: {', '.join(section.reweigh)})", do="leave this remedy out")
    if section.balance != "none":
        raise RecipeError(f"the recipe draws its rows by class (training.balance: {section.balance})", do="leave one of the two out")
    return {REWEIGH: columns}


def _constrained(patient: Patient) -> Mapping[str, Any]:
    columns, section = protected(patient), patient.recipe.training.constrain
    target = read_json(patient.folder / "preprocessing" / "encoder.json")["target"]
    if target["kind"] != "category" or len(target["classes"]) != 2:
        raise RecipeError(f"{CONSTRAIN} is for a target of two classes", do="leave this remedy out")
    if section.columns:
        raise RecipeError(f"the recipe holds rates alike already ({CONSTRAIN}: {', '.join(section.columns)})", do="leave this remedy out")
    return {f"{CONSTRAIN}.columns": columns, f"{CONSTRAIN}.alike": "odds"}


def _thresholds(alike: Alike, patient: Patient) -> Mapping[str, Any]:
    """Return the keys for the protected input whose groups are farthest apart in what is to be alike."""
    columns, asked = protected(patient), patient.recipe.optimization.adjust.thresholds.column
    if asked is not None:
        raise RecipeError(f"the recipe has thresholds by group already ({THRESHOLDS}: {asked})", do="leave this remedy out")
    encoder = read_json(patient.folder / "preprocessing" / "encoder.json")
    if encoder["target"]["kind"] != "category" or len(encoder["target"]["classes"]) != 2:
        raise RecipeError("thresholds by group are for two classes", do="leave this remedy out")
    inputs = [feature["column"] for feature in encoder["features"] if feature["type"] == "category"]
    fit = [column for column in columns if column in inputs]
    if not fit:
        raise RecipeError(
            f"none of {', '.join(columns)} is an input of type category, and the package decides by what it is given",
            do="let the column be an input (data.columns), or leave this remedy out",
        )
    return {f"{THRESHOLDS}.column": max(fit, key=partial(_gap, patient.findings, alike)), f"{THRESHOLDS}.alike": alike}


def _gap(findings: Sequence[Finding], alike: Alike, column: str) -> float:
    """Return how far apart the groups of a column surely are, 0 where that was not measured."""
    keys = {f"audit.fairness.{key_of(column)}.{measure}" for measure in GAP_OF[alike]}
    return max((one.interval[0] for one in findings if one.key in keys and one.interval is not None), default=0.0)


register(
    Remedy(
        name="reweighing", against="fairness", title=Message("rows count so that groups and classes do not go together"),
        changes=_reweighing, watches=WATCHES, audits=("fairness",), source="Kamiran and Calders 2012",
    )
)  # fmt: skip
register(
    Remedy(
        name="exponentiated_gradient", against="fairness", title=Message("rates held alike in training, by multipliers"),
        changes=_constrained, watches=WATCHES, audits=("fairness",), source="Agarwal 2018; Cotter 2019",
    )
)  # fmt: skip
register(
    Remedy(
        name="parity_thresholds", against="fairness", title=Message("a threshold for each group, so that each is answered as often"),
        changes=partial(_thresholds, "demographic_parity"), watches=WATCHES, audits=("fairness",), source="Hardt 2016",
    )
)  # fmt: skip
register(
    Remedy(
        name="odds_thresholds", against="fairness", title=Message("a threshold for each group, so that errors are as frequent in each"),
        changes=partial(_thresholds, "equalized_odds"), watches=WATCHES, audits=("fairness",), source="Hardt 2016",
    )
)  # fmt: skip
