"""Whether a device target may stand in for the package: the same raw rows through both, and a test of non-inferiority."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weighbridge.deployment.edge_build import IN_INT8, Built

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.choice import Confirmation
    from weighbridge.evaluation.noninferiority import NonInferiority
    from weighbridge.evaluation.resampling import Resampling
    from weighbridge.recipe import Recipe

Decision = Literal["kept", "not the network", "inferior", "undecided", "outside"]
ORIGINAL = "the package"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was decided about a target, and on what.

    Attributes:
        decision: `kept`; `not the network`, full precision that answers otherwise than the network; `inferior`, measurably worse than the
            margin; `undecided`, the validation rows can not tell; `outside`, the test rows show a loss beyond the margin.
        test: on validation rows against the package. p_value, p_worse: its own, corrected over the targets in integers.
        rows: about how many rows would decide, where it is undecided.
        confirmation: what the test rows say; None where the target was turned away before they were read.
    """

    built: Built
    decision: Decision
    metric: str
    value: float
    original_value: float
    test: NonInferiority
    p_value: float
    p_worse: float
    confidence: float
    targets: int
    tolerance: float
    rows: int | None = None
    confirmation: Confirmation | None = None

    @property
    def is_kept(self) -> bool:
        return self.decision == "kept"

    @property
    def by_parity(self) -> bool:
        """Whether it is decided by its answers, since it computes as the network does."""
        return self.built.target not in IN_INT8

    def to_json(self) -> dict[str, Any]:
        """Return the last statement as package.json has metrics: that on the test rows where there is one, and what it is against."""
        test = self.test if self.confirmation is None else self.confirmation.test
        interval = list(test.interval) if all(map(math.isfinite, test.interval)) else None
        value = self.value if self.confirmation is None else self.confirmation.value
        return {
            "model": {self.metric: {"value": value, "interval": None, "n": test.n}},
            "against_package": {"difference": test.difference, "interval": interval, "margin": test.margin},
        }


def judge(recipe: Recipe, folder: Path, built: Sequence[Built], command: str) -> list[Judged]:
    """Return what is decided about each target. The test rows are read once, and only where a target has passed the validation rows."""
    from weighbridge import data, evaluation
    from weighbridge.deployment.edge import load

    how = evaluation.resampling_of(recipe.evaluation.resamples, recipe.seed)
    splits = data.open_data(folder / "data")
    models = {ORIGINAL: load(folder / "deployment" / "package"), **{one.target: load(one.folder) for one in built}}
    decided = _on_validation(recipe, built, _answers(folder, "validation", models, splits.validation), how)
    passed = [one.built.target for one in decided if one.is_kept]
    if not passed:
        return decided
    table = splits.test(f"acceptance of {', '.join(passed)} beside the package of model {models[ORIGINAL].hash[:12]}", command)
    asked = {name: models[name] for name in (ORIGINAL, *passed)}
    said = _answers(folder, "test", asked, table)
    return [_confirmed(one, said, how) if one.is_kept else one for one in decided]


def _answers(folder: Path, split: str, models: dict[str, Any], table: Any) -> dict[str, Predictions]:
    """Return what each package says about the raw rows of a split."""
    from weighbridge import evaluation
    from weighbridge.deployment.package import answered

    known = evaluation.read_predictions(folder / "evaluation" / f"{split}.parquet")
    return {name: answered(model, table, known, name) for name, model in models.items()}


def _on_validation(recipe: Recipe, built: Sequence[Built], said: dict[str, Predictions], how: Resampling) -> list[Judged]:
    from weighbridge.evaluation.comparison import holm
    from weighbridge.evaluation.metrics import HEADLINES
    from weighbridge.evaluation.noninferiority import noninferior

    original, confidence = said[ORIGINAL], recipe.optimization.choice.confidence
    headline = HEADLINES[original.kind]
    value = headline.value(original)
    margin = recipe.deployment.margin * value if original.kind == "number" else recipe.deployment.margin
    tests = {one.target: noninferior(said[one.target], original, how, margin=margin, level=confidence) for one in built}
    family = [target for target in tests if target in IN_INT8]
    passed = dict(zip(family, holm([tests[target].p_value for target in family]), strict=True)) if family else {}
    refuted = dict(zip(family, holm([tests[target].p_worse for target in family]), strict=True)) if family else {}
    found = []
    for one in built:
        test = tests[one.target]
        judged = Judged(
            built=one, decision="kept", metric=headline.name, value=headline.value(said[one.target]), original_value=value, test=test,
            p_value=passed.get(one.target, test.p_value), p_worse=refuted.get(one.target, test.p_worse), confidence=confidence,
            targets=len(family), tolerance=recipe.deployment.tolerance,
        )  # fmt: skip
        found.append(_decided(judged, said, how))
    return found


def _decided(judged: Judged, said: dict[str, Predictions], how: Resampling) -> Judged:
    """Return it with its decision on validation rows."""
    from weighbridge.evaluation.power import rows_to_decide

    parity, tail = judged.built.parity, 1 - judged.confidence
    if judged.by_parity:
        return judged if parity is not None and parity.holds else replace(judged, decision="not the network")
    if judged.p_worse < tail:
        return replace(judged, decision="inferior")
    if judged.p_value < tail:
        return judged
    level = 1 - tail / judged.targets
    rows = rows_to_decide(said[judged.built.target], said[ORIGINAL], how, judged.test.margin, level)
    return replace(judged, decision="undecided", rows=rows)


def _confirmed(judged: Judged, said: dict[str, Predictions], how: Resampling) -> Judged:
    """Return it with what the test rows say, turned away where they show a loss beyond the margin."""
    from weighbridge.evaluation.choice import confirm

    target = judged.built.target
    found = confirm(said[target], said[ORIGINAL], margin=judged.test.margin, confidence=judged.confidence, how=how)
    outside = found.statement == "refuted" or -found.test.difference > found.test.margin
    return replace(judged, confirmation=found, decision="outside" if outside else "kept")
