"""What a law of scale means: what the next doubling of the parameters, or of the rows, buys, at what price, and where it stops paying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.scale_law import FARTHEST, LEAST_RUNS, LEAST_SIZES, Foretold, Law, ScaleRun, predict_held_out, too_few
from weighbridge.evaluation.verdicts import p_words
from weighbridge.findings import Finding, Message, Reference, Verdict

KEY = "optimization.scale"
MATERIAL = 0.01  # share of the loss that a doubling must save to pay; no less than the noise from seed to seed either
MISFIT = 0.01  # p-value under which points that lie off the law speak against it
POINTS = 24  # of a drawn curve
SOURCE = "Hoffmann 2022; Hestness 2017; Hesterberg 2015"
UNKNOWN = Message("What more parameters and more rows would buy")
TITLES = {
    "parameters": Message("Loss saved by more parameters"),
    "rows": Message("Loss saved by more training rows"),
    "prediction": Message("Error of the law of scale at its largest point, left out"),
    "stop": Message("Which doubling still pays"),
}
MEANINGS: dict[str, dict[Verdict, Message]] = {
    "parameters": {
        "limitation": Message("a larger network helps"),
        "advantage": Message("the network is large enough"),
        "neutral": Message("these runs can not tell whether that matters"),
    },
    "rows": {
        "limitation": Message("more data helps"),
        "advantage": Message("the data suffices"),
        "neutral": Message("these runs can not tell whether that matters"),
    },
}
MISSED = Message("if the law held, but its own points speak against it")
PAYS = {0: Message("not even once"), 1: Message("once more, then no longer"), 2: Message("still at 4 times the largest point")}
NEXT = {
    (True, True): Message("both of them"),
    (True, False): Message("more parameters"),
    (False, True): Message("more rows"),
    (False, False): Message("neither of them"),
}


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What all findings of one study share."""

    law: Law
    runs: Sequence[ScaleRun]
    foretold: Foretold | None
    times: float
    command: str
    evidence: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the points lie no farther from the law than their repeats from each other."""
        return self.law.misfit is None or self.law.misfit >= MISFIT

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the law."""
        return self.fits and (self.foretold is None or self.foretold.holds)

    def finding(self, detail: str, **what: Any) -> Finding:
        return Finding(
            key=f"{KEY}.{detail}",
            title=TITLES[detail],
            n=len(self.runs),
            n_of="runs",
            source=SOURCE,
            evidence=self.evidence,
            command=f"{self.command}.{detail}",
            **what,
        )


def scale_findings(
    law: Law | None, runs: Sequence[ScaleRun], *, command: str, evidence: Sequence[str], times: float = 2.0
) -> list[Finding]:
    """Return `optimization.scale.parameters`, `.rows`, `.prediction` and `.stop`; one that says why where there is no law.

    command: that of the study (`... --only scale`); times: how many times the parameters, or the rows, are asked about.
    """
    if law is None:
        return [_no_law(runs, command)]
    foretold = predict_held_out(runs, seed=law.seed, level=law.level, resamples=len(law.refits))
    said = _Said(law=law, runs=runs, foretold=foretold, times=times, command=command, evidence=tuple(evidence))
    return [_gain(said, "parameters"), _gain(said, "rows"), _prediction(said), _stop(said)]


def judged_gain(gain: Interval, least: float) -> Verdict:
    """Return limitation when the whole gain is more than `least` (there is more to be had), advantage when none of it is."""
    if gain[0] > least:
        return "limitation"
    return "advantage" if gain[1] <= least else "neutral"


def paying(law: Law, what: str) -> int:
    """Return how many doublings pay from the largest point on, 0 to 2: a gain must be above the noise of a run and above MATERIAL."""
    for count in range(2):
        start, end = _point(law, what, 2.0**count), _point(law, what, 2.0 ** (count + 1))
        if law.gain(start, end)[0] <= least_gain(law, start):
            return count
    return 2


def least_gain(law: Law, point: tuple[float, float]) -> float:
    """Return the fall of the loss at which a doubling pays."""
    return max(MATERIAL, law.noise) * law.loss(*point)


def scale_json(law: Law | None, runs: Sequence[ScaleRun]) -> dict[str, Any]:
    """Return the content of scale.json: runs, the law, curves by rows for each width and by parameters for each size, with bands."""
    told: dict[str, Any] = {
        "runs": [
            {"parameters": run.parameters, "rows": run.rows, "repeat": run.repeat, "loss": run.loss, "seconds": run.seconds} for run in runs
        ]
    }
    if law is None:
        return {**told, "fit": None, "curves": [], "by_rows": [], "held_out": None}
    foretold = predict_held_out(runs, seed=law.seed, level=law.level, resamples=len(law.refits))
    widths, sizes = sorted({run.parameters for run in runs}), sorted({run.rows for run in runs})
    along = {"rows": np.geomspace(sizes[0], 2 * sizes[-1], POINTS), "parameters": np.geomspace(widths[0], 2 * widths[-1], POINTS)}
    return {
        **told,
        "fit": {**law.constants, "noise": law.noise, "misfit": law.misfit, "refits": len(law.refits), "level": law.level},
        "times": None if law.times is None else {"parameters": law.times[0], "rows": law.times[1]},
        "curves": [
            {"parameters": width, "points": [{"rows": float(rows), **_banded(law, width, rows)} for rows in along["rows"]]}
            for width in widths
        ],
        "by_rows": [
            {"rows": size, "points": [{"parameters": float(one), **_banded(law, one, size)} for one in along["parameters"]]}
            for size in sizes
        ],
        "held_out": None if foretold is None else _foretold_json(foretold),
    }


def _gain(said: _Said, what: str) -> Finding:
    """Return what so many times the parameters, or the rows, save at the largest point, and what a training takes then."""
    law, start, end = said.law, said.law.largest, _point(said.law, what, said.times)
    value, interval = law.gain(start, end)
    verdict = judged_gain(interval, least_gain(law, start)) if said.holds else "neutral"
    then, band = law.predict(*end)
    place = 0 if what == "parameters" else 1
    words: dict[str, Any] = {
        "times": said.times,
        "more": round(end[place]),
        "now": law.loss(*start),
        "then": then,
        "low": band[0],
        "high": band[1],
        "meaning": str(MEANINGS[what][verdict] if said.holds else MISSED),
    }
    before, after = law.seconds(*start), law.seconds(*end)
    if before is not None and after is not None:
        words |= {"before": float(f"{before:.3g}"), "after": float(f"{after:.3g}")}
    return said.finding(what, value=value, interval=interval, verdict=verdict, reason=_gain_words(what, words), method=_method(said))


def _gain_words(what: str, words: dict[str, Any]) -> Message:
    timed = "before" in words
    if what == "parameters":
        if timed:
            return Message(
                "{times} times the parameters ({more}) would change the loss from {now} to {then} ({low} to {high}) "
                "and a training from {before} s to {after} s: {meaning}",
                **words,
            )
        return Message(
            "{times} times the parameters ({more}) would change the loss from {now} to {then} ({low} to {high}): {meaning}", **words
        )
    if timed:
        return Message(
            "{times} times the training rows ({more}) would change the loss from {now} to {then} ({low} to {high}) "
            "and a training from {before} s to {after} s: {meaning}",
            **words,
        )
    return Message(
        "{times} times the training rows ({more}) would change the loss from {now} to {then} ({low} to {high}): {meaning}", **words
    )


def _prediction(said: _Said) -> Finding:
    """Return how far the law of all other points is from the largest, which it did not see, as a share of the loss seen."""
    found = said.foretold
    if found is None:
        reason = Message(
            "without the largest point there are fewer than {sizes} sizes or {points} points", sizes=LEAST_SIZES, points=LEAST_RUNS
        )
        return said.finding("prediction", verdict="unmeasured", reason=reason)
    words: dict[str, Any] = {"parameters": found.parameters, "rows": found.rows, "predicted": found.predicted, "seen": found.seen}
    if found.holds and not said.fits:
        words["p"] = p_words(said.law.misfit or 0.0)
        reason = Message(
            "foretold {predicted} for {parameters} parameters and {rows} rows, seen {seen}: within its interval, but all points lie "
            "farther from the law than their repeats from each other (p {p}): the law does not hold",
            **words,
        )
    elif found.holds:
        reason = Message("foretold {predicted} for {parameters} parameters and {rows} rows, seen {seen}: within its interval", **words)
    else:
        reason = Message(
            "foretold {predicted} for {parameters} parameters and {rows} rows, seen {seen}: outside its interval, the law does not hold",
            **words,
        )
    return said.finding(
        "prediction",
        value=found.error,
        interval=(found.interval[0] / found.seen - 1, found.interval[1] / found.seen - 1),
        unit="share",
        verdict="neutral" if said.holds else "limitation",
        reference=Reference(name=Message("no error"), value=0.0),
        reason=reason,
        method=Message("the law of all other points, carried on to the largest; bootstrap over runs with the noise of a run"),
    )


def _stop(said: _Said) -> Finding:
    """Return which doubling still pays beyond the largest point, looked at up to 4 times of it."""
    law = said.law
    by_parameters, by_rows = paying(law, "parameters"), paying(law, "rows")
    words: dict[str, Any] = {
        "parameters": str(PAYS[by_parameters]),
        "rows": str(PAYS[by_rows]),
        "share": MATERIAL,
        "noise": float(f"{law.noise:.2g}"),
    }
    if said.holds:
        reason = Message(
            "a doubling of the parameters pays {parameters}, one of the rows {rows}; it pays when it saves more than {share} of the loss "
            "and more than the noise of a training ({noise} of it)",
            **words,
        )
    else:
        reason = Message(
            "by a law that its own points speak against, a doubling of the parameters pays {parameters}, one of the rows {rows}; it pays "
            "when it saves more than {share} of the loss and more than the noise of a training ({noise} of it)",
            **words,
        )
    return said.finding("stop", value=str(NEXT[by_parameters > 0, by_rows > 0]), reason=reason, method=_method(said))


def _method(said: _Said) -> Message:
    words = {
        "runs": len(said.runs),
        "widths": len({run.parameters for run in said.runs}),
        "sizes": len({run.rows for run in said.runs}),
        "refits": len(said.law.refits),
    }
    if said.times > FARTHEST:
        return Message(
            "E + A/N^a + B/D^b fitted to {runs} trainings at {widths} sizes of the network and {sizes} of the data; bootstrap over runs, "
            "{refits} refits; carried on beyond {farthest} times the largest point, where nothing supports its form",
            farthest=FARTHEST,
            **words,
        )
    return Message(
        "E + A/N^a + B/D^b fitted to {runs} trainings at {widths} sizes of the network and {sizes} of the data; bootstrap over runs, "
        "{refits} refits",
        **words,
    )


def _no_law(runs: Sequence[ScaleRun], command: str) -> Finding:
    widths, sizes = too_few(runs) or (0, 0)
    reason = Message(
        "{points} points at {widths} sizes of the network and {sizes} of the data show no law: at least {least} points and {each} of each "
        "are needed",
        points=len({(run.parameters, run.rows) for run in runs}),
        widths=widths,
        sizes=sizes,
        least=LEAST_RUNS,
        each=LEAST_SIZES,
    )
    return Finding(key=KEY, title=UNKNOWN, verdict="unmeasured", reason=reason, command=command)


def _point(law: Law, what: str, times: float) -> tuple[float, float]:
    """Return the largest point with so many times its parameters, or its rows."""
    parameters, rows = law.largest
    return (parameters * times, rows) if what == "parameters" else (parameters, rows * times)


def _banded(law: Law, parameters: float, rows: float) -> dict[str, float]:
    value, (low, high) = law.predict(parameters, rows)
    return {"loss": value, "low": low, "high": high}


def _foretold_json(found: Foretold) -> dict[str, Any]:
    return {
        "parameters": found.parameters,
        "rows": found.rows,
        "predicted": found.predicted,
        "interval": list(found.interval),
        "seen": found.seen,
        "error": found.error if math.isfinite(found.error) else None,
        "holds": found.holds,
    }
