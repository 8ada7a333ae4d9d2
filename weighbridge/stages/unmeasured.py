"""What this run was not asked for, or has no data for: it stands as not measured. Audits that are made say it of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weighbridge.findings import Finding, Message

if TYPE_CHECKING:
    from weighbridge.recipe import Recipe

NOT_MADE = Message("the stage audit was not run")
ALWAYS = (
    ("audit.robustness", Message("Behaviour under noise, damage and attack"), NOT_MADE),
    ("audit.privacy", Message("What can be learnt about the training rows"), NOT_MADE),
    ("audit.explanation", Message("Why the model answers as it does"), NOT_MADE),
    ("audit.cost", Message("Energy and carbon"), NOT_MADE),
)


def unmeasured(recipe: Recipe, findings: Sequence[Finding], folder: Path) -> list[Finding]:
    """Return what stands as not measured beside these findings; a key that was measured is left out."""
    known = {finding.key for finding in findings}
    known |= {".".join(key.split(".")[:2]) for key in known if key.startswith("audit.")}  # an audit that was made says itself what it lacks
    listed = [(*one, "") for one in (*ALWAYS, _fairness(recipe), _time(recipe))] + _switched_off(recipe, folder)
    return [
        Finding(key=key, title=title, verdict="unmeasured", reason=reason, command=command)
        for key, title, reason, command in listed
        if key not in known
    ]


def _switched_off(recipe: Recipe, folder: Path) -> list[tuple[str, Message, Message, str]]:
    """Return what the recipe could have asked for, with the command that measures it."""
    again = (
        f"weigh run {(folder / 'recipe.yaml').as_posix()}{'' if folder.parent.name == 'runs' else f' --runs {folder.parent.as_posix()}'}"
    )
    rows = []
    if recipe.training.seeds == 1:
        reason = Message("one seed was trained; how much another would differ is not known")
        rows.append(("evaluation.seeds", Message("Spread from seed to seed"), reason, f"{again} --set training.seeds=5"))
    if not recipe.evaluation.learning_curve.enabled:
        reason = Message("no training on a part of the rows was asked for; it costs about six trainings")
        title = Message("Whether more training rows would help")
        rows.append(("evaluation.learning_curve", title, reason, f"{again} --set evaluation.learning_curve=true"))
    if not recipe.evaluation.slices:
        reason = Message("the recipe says evaluation.slices: false")
        rows.append(("evaluation.slices", Message("Weak slices of the inputs"), reason, f"{again} --set evaluation.slices=true"))
    return rows


def _fairness(recipe: Recipe) -> tuple[str, Message, Message]:
    title = Message("Fairness between groups")
    if not recipe.data.protected:
        return "audit.fairness", title, Message("the recipe names no protected column (data.protected)")
    return "audit.fairness", title, NOT_MADE


def _time(recipe: Recipe) -> tuple[str, Message, Message]:
    title = Message("Behaviour on rows of a later time")
    if recipe.data.time is None:
        return "audit.generalization", title, Message("the recipe names no column of time (data.time)")
    if recipe.data.split.method in ("auto", "time"):
        return (
            "audit.generalization",
            title,
            Message("the test rows are the newest that the data holds; what comes after them is to be watched in service"),
        )
    return "audit.generalization", title, Message("the split is not by time; set data.split.method: time")
