"""What a choice means in words: which form is packaged and why, what was decided about every other, and what the test rows say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from weighbridge.evaluation.choice import Choice, Confirmation, Decided, Ranking, ranked
from weighbridge.evaluation.noninferiority import NonInferiority, Test
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.results import LEAST_UNITS
from weighbridge.evaluation.verdicts import p_words, round_up
from weighbridge.evaluation.wording import WORDS, said
from weighbridge.findings import Finding, Message, Reference, Verdict

KEY = "optimization.choice"
CONFIRMED = "evaluation.choice"
TITLE = Message("The form that is packaged")
EVIDENCE = ("optimization/frontier.json",)
SOURCE = {
    "exact": "Tango 1998; Hsueh, Liu and Chen 2001; Berger and Boos 1994; Piaggio 2012",
    "tilted": "Efron 1981; Owen 1988; Piaggio 2012",
    "none": "",
}
ON_JUDGING = {
    "rmse": Message("Root mean squared error that {name} saves against {original}, on the judging rows"),
    "f1_micro": Message("F1 of {name} minus that of {original}, on the judging rows"),
    "accuracy": Message("Accuracy of {name} minus that of {original}, on the judging rows"),
}
ON_TEST = {
    "rmse": Message("Root mean squared error that {name} saves against {original}"),
    "f1_micro": Message("F1 of {name} minus that of {original}"),
    "accuracy": Message("Accuracy of {name} minus that of {original}"),
}
COSTS = {
    "latency": Message("median time for one row"),
    "latency_32": Message("median time for 32 rows"),
    "size": Message("size of the graph"),
    "memory": Message("peak memory"),
    "speed": Message("time a row in large batches"),
}
VERDICTS: dict[str, Verdict] = {
    "chosen": "advantage",
    "not inferior": "advantage",
    "inferior": "limitation",
    "undecided": "neutral",
    "not cheaper": "neutral",
    "confirmed": "advantage",
    "refuted": "limitation",
}


def choice_findings(choice: Choice, *, original_name: str, cost: str, command: str) -> list[Finding]:
    """Return `optimization.choice`, whose value is the name of what is packaged, and `optimization.choice.<name>` for each form tried.

    original_name: what sentences call the original. cost: `latency`, `latency_32`, `size`, `memory`, `speed`, or the cost in words.
    """
    words = _Words(choice=choice, original=original_name, cost=cost)
    return [words.of_choice(command), *(words.of_option(one, command) for one in choice.options)]


def confirmed_finding(found: Confirmation, *, command: str) -> Finding:
    """Return `evaluation.choice`: the one statement about the chosen form on rows that did not choose it."""
    test = found.test
    words = {"name": test.name, "original": found.original, **losses(test, found.metric)}
    p_value = test.p_worse if found.statement == "refuted" else test.p_value
    words["p"] = p_words(p_value)
    if found.statement == "confirmed":
        reason = in_points(
            found.metric,
            Message("on these rows, too, {name} is not worse than {original} by more than {margin} points (p {p})", **words),
            Message("on these rows, too, {name} is not worse than {original} by more than {margin} (p {p})", **words),
        )
    elif found.statement == "refuted":
        reason = in_points(
            found.metric,
            Message("on these rows {name} is worse than {original} by more than {margin} points (p {p})", **words),
            Message("on these rows {name} is worse than {original} by more than {margin} (p {p})", **words),
        )
    else:
        reason = _undecided(test, found.metric, found.rows, p_value)
    return Finding(
        key=CONFIRMED,
        title=Message(ON_TEST[found.metric].template, name=said(test.name), original=said(found.original)),
        verdict=VERDICTS[found.statement],
        reason=reason,
        method=method_of(test.test, found.confidence, forms=1),
        source=SOURCE[test.test],
        evidence=("evaluation/champion.parquet",),
        command=command,
        **measured(test, found.metric, found.original, found.original_value, p_value),
    )


def champion_finding(champion: Predictions, rivals: Sequence[Predictions], how: Resampling, *, command: str) -> Finding:
    """Return `optimization.champion`: who is the most capable on the judging rows, and how sure that is."""
    found = ranked(champion, rivals, how)
    return Finding(
        key="optimization.champion",
        title=Message("The most capable model"),
        value=champion.model,
        n=len(champion),
        reason=_of_ranking(found),
        method=Message("the best headline on the judging rows; paired tests against each other one, corrected by Holm over all pairs"),
        source="Dietterich 1998; Holm 1979",
        evidence=EVIDENCE,
        command=f"{command} --only champion",
    )


class _Words:
    """The findings of one choice."""

    def __init__(self, *, choice: Choice, original: str, cost: str) -> None:
        self.choice, self.name, self.original = choice, original, said(original)
        self.cost = str(COSTS[cost]) if cost in COSTS else cost

    def of_choice(self, command: str) -> Finding:
        taken = self.choice.taken
        test: Test = taken.test.test if taken else next((one.test.test for one in self.choice.options), "none")
        return Finding(
            key=KEY,
            title=TITLE,
            verdict="advantage" if taken else "neutral",
            value=taken.name if taken else self.name,
            n=self.choice.n,
            reason=self._chosen(taken) if taken else self._stays(),
            method=method_of(test, self.choice.confidence, forms=len(self.choice.options)) if self.choice.options else Message(""),
            source=f"{SOURCE[test]}; Holm 1979" if self.choice.options and SOURCE[test] else "",
            evidence=EVIDENCE,
            command=f"{command} --only choice",
            headline=True,
        )

    def of_option(self, one: Decided, command: str) -> Finding:
        p_value = one.p_worse if one.decision == "inferior" else one.p_value
        return Finding(
            key=f"{KEY}.{one.name}",
            title=Message(ON_JUDGING[self.choice.metric].template, name=said(one.name), original=said(self.original)),
            verdict=VERDICTS[one.decision],
            reason=self._decided(one),
            method=method_of(one.test.test, self.choice.confidence, forms=len(self.choice.options)),
            source=f"{SOURCE[one.test.test]}; Holm 1979".removeprefix("; "),
            evidence=EVIDENCE,
            command=f"{command} --only choice.{one.name}",
            **measured(one.test, self.choice.metric, self.original, self.choice.original_value, p_value),
        )

    def _chosen(self, one: Decided) -> Message:
        words = self._words(one)
        if one.cost_ratio is None:
            return in_points(
                self.choice.metric,
                Message(
                    "{name}: its {cost} is at most {high} of that of {original}, and it is not worse by more than {margin} points "
                    "(difference {difference}, lower bound {lower}, corrected p {p})",
                    **words,
                ),
                Message(
                    "{name}: its {cost} is at most {high} of that of {original}, and it is not worse by more than {margin} "
                    "(difference {difference}, lower bound {lower}, corrected p {p})",
                    **words,
                ),
            )
        words["ratio"] = _short(one.cost_ratio)
        return in_points(
            self.choice.metric,
            Message(
                "{name}: its {cost} is {ratio} of that of {original}, and it is not worse by more than {margin} points "
                "(difference {difference}, lower bound {lower}, corrected p {p})",
                **words,
            ),
            Message(
                "{name}: its {cost} is {ratio} of that of {original}, and it is not worse by more than {margin} "
                "(difference {difference}, lower bound {lower}, corrected p {p})",
                **words,
            ),
        )

    def _stays(self) -> Message:
        if not self.choice.options:
            return Message("no other form was tried")
        counts = {name: sum(one.decision == name for one in self.choice.options) for name in VERDICTS}
        return Message(
            "{original} stays: of {forms} forms none is both measurably cheaper and shown not to be worse by more than the margin "
            "({undecided} undecided, {inferior} inferior, {dear} not cheaper)",
            original=self.original,
            forms=len(self.choice.options),
            undecided=counts["undecided"],
            inferior=counts["inferior"],
            dear=counts["not cheaper"],
        )

    def _decided(self, one: Decided) -> Message:
        words, metric = self._words(one), self.choice.metric
        if one.decision == "undecided":
            return _undecided(one.test, metric, one.rows, one.p_value)
        if one.decision == "not cheaper":
            return Message("not measurably cheaper: its {cost} may be {high} of that of {original}", **words)
        if one.decision == "inferior":
            return in_points(
                metric,
                Message("worse than {original} by more than {margin} points (corrected p {p})", **words),
                Message("worse than {original} by more than {margin} (corrected p {p})", **words),
            )
        if one.decision == "chosen":
            return in_points(
                metric,
                Message("chosen: not worse by more than {margin} points (corrected p {p}), and the cheapest of those that pass", **words),
                Message("chosen: not worse by more than {margin} (corrected p {p}), and the cheapest of those that pass", **words),
            )
        return in_points(
            metric,
            Message("not worse by more than {margin} points (corrected p {p}), but {chosen} passes too and is cheaper", **words),
            Message("not worse by more than {margin} (corrected p {p}), but {chosen} passes too and is cheaper", **words),
        )

    def _words(self, one: Decided) -> dict[str, Any]:
        p_value = one.p_worse if one.decision == "inferior" else one.p_value
        return {
            "name": one.name,
            "original": self.original,
            "chosen": said(self.choice.chosen),
            "cost": self.cost,
            "high": _short(one.cost_ratio_high),
            "p": p_words(p_value),
            **losses(one.test, self.choice.metric),
        }


def _undecided(test: NonInferiority, metric: str, rows: int | None, p_value: float) -> Message:
    words: dict[str, Any] = {"p": p_words(p_value), "n": test.n, "least": LEAST_UNITS, **losses(test, metric)}
    if test.test == "none":
        return Message("the data can not decide: fewer than {least} independent rows or groups", **words)
    if rows is None:
        return Message(
            "the data can not decide (p {p}), and if the difference is as seen, no number of rows would show that it is within the margin",
            **words,
        )
    if rows <= test.n:
        return in_points(
            metric,
            Message("the data can not decide whether it is worse by more than {margin} points (p {p}) on these {n} rows", **words),
            Message("the data can not decide whether it is worse by more than {margin} (p {p}) on these {n} rows", **words),
        )
    words["more"] = round_up(rows - test.n)
    return in_points(
        metric,
        Message("the data can not decide whether it is worse by more than {margin} points (p {p}); about {more} more rows would", **words),
        Message("the data can not decide whether it is worse by more than {margin} (p {p}); about {more} more rows would", **words),
    )


def _of_ranking(found: Ranking) -> Message:
    words = {"worse": ", ".join(map(said, found.worse)), "alike": ", ".join(map(said, found.alike))}
    if not found.others:
        return Message("nothing else competed")
    if not found.alike:
        return Message("measurably better than {worse}", **words)
    if not found.worse:
        return Message("the judging rows can not tell it from {alike}", **words)
    return Message("measurably better than {worse}; the judging rows can not tell it from {alike}", **words)


def measured(test: NonInferiority, metric: str, original: str, value: float, p_value: float) -> dict[str, Any]:
    """Return the numbers of a finding: the difference with its interval, and what it is held against."""
    interval = None if test.test == "none" else test.interval
    name = Message("{name}", name=original)
    reference = Reference(name=name, value=value, difference=test.difference, difference_interval=interval, p_value=p_value)
    return {"value": test.difference, "interval": interval, "unit": WORDS[metric].unit, "n": test.n, "reference": reference}


def method_of(test: Test, confidence: float, *, forms: int) -> Message:
    """Return how it was tested, and over how many forms it was corrected."""
    words: dict[str, Any] = {"confidence": confidence, "forms": forms, "least": LEAST_UNITS}
    if test == "none":
        return Message("no test with fewer than {least} independent rows or groups", **words)
    if test == "exact":
        if forms == 1:
            return Message("exact one-sided test of paired rows in the order of Tango's score, at {confidence}", **words)
        return Message(
            "exact one-sided test of paired rows in the order of Tango's score, at {confidence}, Holm over {forms} forms", **words
        )
    if forms == 1:
        return Message("one-sided studentised bootstrap of paired differences under the hypothesis, at {confidence}", **words)
    return Message(
        "one-sided studentised bootstrap of paired differences under the hypothesis, at {confidence}, Holm over {forms} forms", **words
    )


def losses(test: NonInferiority, metric: str) -> dict[str, Any]:
    """Return margin, difference and, where there is one, the lower bound; in points for shares, which read "1.0 points"."""
    times = 1.0 if metric == "rmse" else 100.0
    values = {"margin": test.margin, "difference": test.difference, "lower": test.lower}
    told = {name: _short(times * value) for name, value in values.items() if math.isfinite(value)}
    return told if metric == "rmse" else {name: str(value) for name, value in told.items()}


def in_points(metric: str, points: Message, plain: Message) -> Message:
    """Return the message that fits the metric's unit: points for shares."""
    return plain if metric == "rmse" else points


def _short(value: float) -> float:
    """Return three significant digits, and no more than three after the point; 0 without a sign."""
    return round(float(f"{value:.3g}"), 3) + 0.0 if abs(value) >= 0.001 else float(f"{value:.2g}") + 0.0
