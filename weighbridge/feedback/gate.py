"""What a challenger must show before it answers anything: that it is better (or not worse) on recent rows, and has not forgotten.

Both questions are answered by the paired tests of evaluation/noninferiority on rows that no training saw, and corrected by Holm (1979):
a model that is only equal passes under `better` with at most `level`. Recent labels may lie: so the first answer must also hold without
the labels of any one key, wherever the others are enough to tell. One key alone can not put a model into service.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weighbridge.evaluation.comparison import holm
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.noninferiority import NonInferiority, discordant, exact_p_value, is_of_classes, margin_of, noninferior
from weighbridge.evaluation.predictions import Array, Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.findings import EMPTY, Finding, Message, Reference

if TYPE_CHECKING:
    from weighbridge.recipe.feedback import GateOptions

SOURCE = "Holm 1979; Tango 1998; Hsueh, Liu and Chen 2001"
TITLES = {"recent": Message("Challenger on recent labelled rows"), "old": Message("Challenger on the old test rows")}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What challenger and champion say of the same rows. who: str [n], which key gave each label, in the order of the challenger's rows."""

    challenger: Predictions
    champion: Predictions
    who: Array | None = None

    def without(self, key: str) -> Pair:
        assert self.who is not None
        rows = self.who != key
        champion = self.champion.on_rows_of(self.challenger)
        return Pair(challenger=self.challenger.rows(rows), champion=champion.rows(rows), who=self.who[rows])


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether a challenger may answer, and what was found."""

    passed: bool
    findings: tuple[Finding, ...]


def judge(recent: Pair | None, old: Pair, options: GateOptions, how: Resampling, *, command: str = "") -> Gate:
    """Return whether the challenger may go on. recent: None where no such row is there. Raises DataError for rows that do not match."""
    n = 0 if recent is None else len(recent.challenger)
    if recent is None or n < options.least_recent:
        reason = Message("{n} recent labelled rows that it did not learn from; {least} are needed", n=n, least=options.least_recent)
        return Gate(passed=False, findings=(_overall(reason, passed=None, command=command),))
    margins = _margins(recent, options), _margin(old, options)
    tests = _test(recent, margins[0], how), _test(old, margins[1], how)
    chances = holm([one.p_value for one in tests])
    found = [
        _finding(name, pair, test, chance, options.level, command)
        for name, pair, test, chance in zip(("recent", "old"), (recent, old), tests, chances, strict=True)
    ]
    alone = list(_without_each(recent, margins[0], options, how))
    worst = max((chance for _, chance in alone), default=0.0)
    if alone:
        found.append(_key_finding(max(alone, key=lambda one: one[1]), len(alone), options.level, command))
    passed = max(*chances, worst) <= options.level
    return Gate(passed=passed, findings=(_overall(_why(chances, worst, options), passed=passed, command=command), *found))


def _margins(recent: Pair, options: GateOptions) -> float:
    return 0.0 if options.rule == "better" else _margin(recent, options)


def _margin(pair: Pair, options: GateOptions) -> float:
    return margin_of(pair.champion.kind, HEADLINES[pair.champion.kind].value(pair.champion), options.margin)


def _test(pair: Pair, margin: float, how: Resampling) -> NonInferiority:
    return noninferior(pair.challenger, pair.champion, how, margin=margin)


def _without_each(recent: Pair, margin: float, options: GateOptions, how: Resampling) -> Iterator[tuple[str, float]]:
    """Give the p-value without each key's rows, for keys whose absence leaves rows enough to tell."""
    keys = [] if recent.who is None else np.unique(recent.who.astype(str)).tolist()
    if len(keys) < 2:
        return
    for key in keys:
        rest = recent.without(key)
        if len(rest.challenger) >= options.least_recent:
            yield key, _p_value(rest, margin, how)


def _p_value(pair: Pair, margin: float, how: Resampling) -> float:
    if not is_of_classes(pair.challenger):
        return _test(pair, margin, how).p_value
    counts = discordant(pair.challenger, pair.champion.on_rows_of(pair.challenger))
    return exact_p_value(*counts, len(pair.challenger), margin)


def _finding(name: str, pair: Pair, test: NonInferiority, chance: float, level: float, command: str) -> Finding:
    headline = HEADLINES[pair.challenger.kind]
    within = Message("p = {p} after correction for both questions; {margin} may be lost", p=round(chance, 5), margin=round(test.margin, 5))
    return Finding(
        key=f"feedback.gate.{name}", title=TITLES[name], value=headline.value(pair.challenger), n=test.n,
        unit="share" if headline.sign > 0 else "", verdict="advantage" if chance <= level else "limitation",
        reference=Reference(
            name=Message("the champion"), value=headline.value(pair.champion), difference=test.difference,
            difference_interval=test.interval, p_value=chance,
        ),
        reason=within, method=Message("paired test on rows that no training saw"), source=SOURCE, command=command,
    )  # fmt: skip


def _key_finding(worst: tuple[str, float], keys: int, level: float, command: str) -> Finding:
    reason = Message("without the labels of {key}: p = {p}", key=worst[0], p=round(worst[1], 5))
    return Finding(
        key="feedback.gate.keys", title=Message("Challenger without the labels of any one key"), value=worst[1], n=keys, n_of="keys",
        verdict="advantage" if worst[1] <= level else "limitation", reason=reason,
        method=Message("the same test without each key's rows; the worst of them"), command=command,
    )  # fmt: skip


def _why(chances: list[float], worst: float, options: GateOptions) -> Message:
    if chances[0] > options.level:
        return (
            Message("it is not shown to be better on recent rows")
            if options.rule == "better"
            else Message("it may be worse on recent rows")
        )
    if chances[1] > options.level:
        return Message("it may have forgotten old rows")
    if worst > options.level:
        return Message("what speaks for it comes from one key alone")
    return EMPTY


def _overall(reason: Message, *, passed: bool | None, command: str) -> Finding:
    word = None if passed is None else "passed" if passed else "refused"
    return Finding(
        key="feedback.gate", title=Message("Challenger at the gate"), value=word, reason=reason,
        verdict="unmeasured" if passed is None else "advantage" if passed else "limitation", command=command,
    )  # fmt: skip
