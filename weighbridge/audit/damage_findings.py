"""What damage costs, as findings: on average, by kind, at worst, and by a column in the wrong unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.damage import Condition, Kind
from weighbridge.audit.damage_losses import Loss, Losses
from weighbridge.evaluation.intervals import Interval, bca
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Floats, Predictions
from weighbridge.evaluation.resampling import Resampling, Sampler, Statistic, replicate, unit_sums
from weighbridge.findings import Finding, Message, Reference, Verdict

if TYPE_CHECKING:
    from weighbridge.audit.subject import Subject

MOST_LOST = 0.05  # of accuracy or F1: as much as stated and observed rates may differ before that counts as a limitation
MOST_LOST_OF_RMSE = 0.10  # share of the undamaged RMSE, as for the gap to training rows
METRICS = {"accuracy": "accuracy", "rmse": "RMSE", "f1_micro": "F1"}
SOURCE = "Hendrycks and Dietterich 2019; Bonett and Price 2012; Efron 1987"
BOOTSTRAP = Message("BCa interval of the paired difference over rows")
TOGETHER = Message("interval of the paired difference, corrected for the {count} conditions among which it is the worst")
Judged = tuple[Verdict, Message]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the findings of one subject have in common: how they are made and what the headline is called."""

    subject: Subject
    evidence: tuple[str, ...]

    @property
    def metric(self) -> str:
        return METRICS[HEADLINES[self.subject.said["test"].kind].name]

    @property
    def unit(self) -> str:
        return "" if self.subject.kind == "number" else "share"

    def most(self, loss: Loss) -> float:
        """Return how much may be lost."""
        return MOST_LOST if self.subject.kind != "number" else float(f"{MOST_LOST_OF_RMSE * loss.clean:.3g}")

    def finding(self, name: str, title: Message, loss: Loss, judged: Judged, *, interval: Interval, n: int, **more: Any) -> Finding:
        """Return the finding of a loss."""
        return Finding(
            key=f"audit.robustness.{name}", title=title, verdict=judged[0], value=loss.value, interval=interval, unit=self.unit, n=n,
            reason=judged[1], source=SOURCE, evidence=self.evidence, command=f"{self.subject.command} --only robustness", **more,
        )  # fmt: skip

    def said(self, loss: Loss) -> dict[str, Any]:
        """Return the values of a reason."""
        return {"metric": self.metric, "clean": _short(loss.clean), "damaged": _short(loss.damaged), "most": self.most(loss)}

    def judged(self, loss: Loss, interval: Interval, *, praise: bool = False) -> Judged:
        """Limitation where the interval lies above what may be lost; advantage (with `praise`) where all of it lies below."""
        if interval[0] > self.most(loss):
            return "limitation", Message("{metric} goes from {clean} to {damaged}: worse by more than {most}", **self.said(loss))
        if interval[1] <= self.most(loss):
            reason = Message("{metric} goes from {clean} to {damaged}: worse by at most {most}", **self.said(loss))
            return ("advantage" if praise else "neutral"), reason
        return "neutral", Message(
            "{metric} goes from {clean} to {damaged}: too few rows to tell whether it is worse by more than {most}", **self.said(loss)
        )


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def damage_findings(
    words: Words, kinds: Sequence[Kind], conditions: Sequence[Condition], clean: Predictions, found: Losses
) -> list[Finding]:
    """Return the mean, the worst condition and each kind; `found` are the losses of the conditions, the families are the kinds."""
    mean, n = found.mean, len(clean)
    judged = words.judged(mean, mean.interval, praise=True)
    if judged[0] == "advantage" and not beats_constant(clean, mean.damaged):
        said = {name: value for name, value in words.said(mean).items() if name != "most"}
        judged = "neutral", Message("{metric} goes from {clean} to {damaged}: a constant answer would be as good", **said)
    title = Message("Lost under damage, mean of {kinds} kinds at five strengths", kinds=len(kinds))
    made = [words.finding("damage", title, mean, judged, interval=mean.interval, n=n, method=BOOTSTRAP, headline=judged[0] == "limitation")]
    made.append(_worst(words, conditions, found, n))
    for kind, loss in zip(kinds, found.families, strict=True):
        title = Message("Lost to {damage}, mean of five strengths", damage=kind.title.template)
        judged = words.judged(loss, loss.corrected)
        made.append(words.finding(kind.key, title, loss, judged, interval=loss.interval, n=n, method=BOOTSTRAP))
    return made


def _worst(words: Words, conditions: Sequence[Condition], found: Losses, n: int) -> Finding:
    worst, loss = conditions[found.worst], found.each[found.worst]
    verdict, said = words.judged(loss, loss.corrected)
    title = Message(
        "Lost to the worst damage: {damage} at strength {level} of 5 ({unit}: {strength})",
        damage=worst.kind.title.template, level=worst.level, unit=worst.kind.unit.template, strength=worst.strength,
    )  # fmt: skip
    method = Message(TOGETHER.template, count=len(conditions))
    return words.finding("worst", title, loss, (verdict, said), interval=loss.corrected, n=n, method=method)


def units_finding(words: Words, tried: Sequence[tuple[str, float]], found: Losses, n: int, left_out: int) -> Finding:
    """Return what the column costs most that comes in a wrong unit; `tried` are the columns with their factors."""
    (column, factor), loss = tried[found.worst], found.each[found.worst]
    verdict, said = words.judged(loss, loss.corrected)
    harmful = {name for (name, _), one in zip(tried, found.each, strict=True) if one.corrected[0] > words.most(one)}
    reason = Message(
        "of {columns} number columns, {harmful} do such harm beyond doubt; {metric} goes from {clean} to {damaged}",
        columns=len({name for name, _ in tried}), harmful=len(harmful), **{key: said.values[key] for key in ("metric", "clean", "damaged")},
    )  # fmt: skip
    title = Message("Lost to a column in the wrong unit: the worst is {column} times {factor}", column=column, factor=factor)
    method = Message(TOGETHER.template, count=len(tried))
    if left_out:
        method = Message(
            "interval of the paired difference, corrected for the {count} conditions among which it is the worst; {left} number columns "
            "behind the first were not tried",
            count=len(tried), left=left_out,
        )  # fmt: skip
    return words.finding("units", title, loss, (verdict, reason), interval=loss.corrected, n=n, method=method)


def beats_constant(clean: Predictions, score: float) -> bool:
    """Whether a score is better than that of the best constant answer on these rows."""
    if clean.kind == "category":
        return score > float(np.bincount(clean.target).max()) / len(clean)
    if clean.kind == "number":
        return score < float(np.std(clean.target))
    return score > 0


def beside(ours: Sequence[Predictions], champion: Sequence[Predictions], name: str, how: Resampling) -> Reference:
    """Return the mean loss of the most capable model, and how much more the packaged form loses, with its paired interval.

    Predictions of the same rows: undamaged, then in each condition.
    """
    theirs = [two.on_rows_of(ours[0]) for two in champion]
    headline, count = HEADLINES[ours[0].kind], len(ours)
    sums = np.concatenate([unit_sums(headline.features(one), ours[0].group) for one in (*ours, *theirs)], axis=1)

    def of(weights: Floats) -> Floats:
        scores = headline.sign * headline.of_sums((weights @ sums).reshape(len(weights), 2 * count, 2))
        mine, other = (scores[:, at] - scores[:, at + 1 : at + count].mean(axis=1) for at in (0, count))
        return np.stack([mine - other, other], axis=1)

    sampler = Sampler(n=len(sums), resamples=how.resamples, seed=how.seed)
    drawn = replicate([Statistic(names=("apart", "other"), of=of)], sampler)
    return Reference(
        name=Message("the most capable model, {name}", name=name), value=drawn["other"].value, difference=drawn["apart"].value,
        difference_interval=bca(drawn["apart"], how.level),
    )  # fmt: skip
