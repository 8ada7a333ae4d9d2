"""What a learning curve means: does the data suffice, or would twice as much change the model?"""

from __future__ import annotations

from collections.abc import Sequence

from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.learning_curve import FARTHEST, Curve, HeldOut, Run, held_out, shown
from weighbridge.findings import Finding, Message, Reference, Verdict

KEY = "evaluation.learning_curve"
MATERIAL = 0.005  # of accuracy or F1; as deployment.margin
MATERIAL_OF_RMSE = 0.01  # share of the RMSE at all rows
TITLES = {
    "accuracy": Message("Accuracy gained by more training rows"),
    "rmse": Message("Root mean squared error saved by more training rows"),
    "f1_micro": Message("F1 gained by more training rows"),
}
UNKNOWN = Message("Whether more training rows would help")
NAMES = {"accuracy": "accuracy", "rmse": "RMSE", "f1_micro": "F1"}


def judged_change(change: Interval, error: float, metric: str) -> Verdict:
    """Return limitation when the data is too little for sure (the whole gain matters), advantage when no gain that matters is left."""
    material = MATERIAL_OF_RMSE * error if metric == "rmse" else MATERIAL
    if change[0] > material:
        return "limitation"
    return "advantage" if change[1] <= material else "neutral"


def curve_findings(
    curve: Curve, runs: Sequence[Run], *, metric: str, rows: int, n: int, times: float, seed: int, command: str
) -> list[Finding]:
    """Return the gain at `times` the rows, and how well the smaller sizes foretell the largest.

    Args: rows, training rows of the run (the largest size); n, validation rows that judged.
    """
    unit = "" if metric == "rmse" else "share"
    more = rows * times
    change, now, then = curve.change(rows, more), curve.error(rows), curve.error(more)
    checked = held_out(runs, seed=seed, level=curve.level)
    verdict = judged_change(change, now, metric) if checked.holds else "neutral"
    gain = Finding(
        key=KEY,
        title=TITLES[metric],
        value=now - then,
        interval=change,
        unit=unit,
        n=len(runs),
        n_of="runs",
        verdict=verdict,
        reason=_statement(curve, metric=metric, rows=rows, times=times, verdict=verdict, holds=checked.holds),
        method=_method(runs, n=n, times=times),
        source="Viering and Loog 2022; Hestness 2017",
        evidence=("evaluation/learning_curve.json",),
        command=f"{command} --only learning_curve",
    )
    return [gain, _check(checked, metric, unit, len(runs), command)]


def _statement(curve: Curve, *, metric: str, rows: int, times: float, verdict: Verdict, holds: bool) -> Message:
    """Return what more rows would change, in words."""
    more = rows * times
    band = sorted(shown(end, metric) for end in curve.band(more))
    words: dict[str, str | float | int] = {
        "times": times, "more": round(more), "metric": NAMES[metric], "now": shown(curve.error(rows), metric),
        "then": shown(curve.error(more), metric), "low": band[0], "high": band[1],
    }  # fmt: skip
    if not holds:
        return Message(
            "{times} times the training rows ({more}) would change {metric} from {now} to {then} ({low} to {high}) if the curve held, "
            "but it misses its own largest size", **words,
        )  # fmt: skip
    if verdict == "limitation":
        return Message(
            "{times} times the training rows ({more}) would change {metric} from {now} to {then} ({low} to {high}): more data helps",
            **words,
        )
    if verdict == "advantage":
        return Message(
            "{times} times the training rows ({more}) would change {metric} from {now} to {then} ({low} to {high}): a plateau", **words
        )
    return Message(
        "{times} times the training rows ({more}) would change {metric} from {now} to {then} ({low} to {high}): "
        "these runs can not tell whether that matters", **words,
    )  # fmt: skip


def _method(runs: Sequence[Run], *, n: int, times: float) -> Message:
    sizes = len({run.rows for run in runs})
    words = {"sizes": sizes, "runs": len(runs), "n": n}
    if times > FARTHEST:
        return Message(
            "a + b n^-c fitted to {runs} trainings on nested subsets of {sizes} sizes, judged on {n} validation rows; bootstrap over runs; "
            "carried on beyond {farthest} times the largest size, where nothing supports its form", farthest=FARTHEST, **words,
        )  # fmt: skip
    return Message(
        "a + b n^-c fitted to {runs} trainings on nested subsets of {sizes} sizes, judged on {n} validation rows; bootstrap over runs",
        **words,
    )


def _check(checked: HeldOut, metric: str, unit: str, runs: int, command: str) -> Finding:
    """Return how far the curve of the smaller sizes is from the largest, which it did not see."""
    sign = 1 if metric == "rmse" else -1
    ends = sorted(sign * (end - checked.seen) for end in checked.interval)
    words = {"rows": checked.rows, "predicted": shown(checked.predicted, metric), "seen": shown(checked.seen, metric)}
    if checked.holds:
        reason = Message("foretold {predicted} at {rows} rows, seen {seen}: within its interval", **words)
    else:
        reason = Message("foretold {predicted} at {rows} rows, seen {seen}: outside its interval, the curve does not hold", **words)
    return Finding(
        key=f"{KEY}_check",
        title=Message("Error of the learning curve at its largest size, left out"),
        value=sign * checked.error,
        interval=(ends[0], ends[1]),
        unit=unit,
        n=runs,
        n_of="runs",
        verdict="neutral" if checked.holds else "limitation",
        reference=Reference(name=Message("no error"), value=0.0),
        reason=reason,
        method=Message("the curve of all smaller sizes, carried on to the largest; bootstrap over runs with the noise of a run"),
        evidence=("evaluation/learning_curve.json",),
        command=f"{command} --only learning_curve_check",
    )
