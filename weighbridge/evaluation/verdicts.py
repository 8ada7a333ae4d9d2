"""The rules by which a number becomes a verdict: every threshold stands here, and the reason names it in words.

A verdict follows the interval, never the point: what the data can not decide stays neutral.
"""

from __future__ import annotations

from weighbridge.evaluation.comparison import Comparison
from weighbridge.evaluation.intervals import Interval
from weighbridge.evaluation.wording import said
from weighbridge.findings import EMPTY, Message, Verdict

SIGNIFICANCE = 0.05  # of corrected p-values
BASELINES = ("trivial", "linear", "boosting")  # a model that costs more must beat these
CALIBRATION_ERROR = 0.05
GAP = 0.02  # accuracy or F1
GAP_OF_RMSE = 0.10  # share of the held-out RMSE
BALANCE_GAP = 0.05  # balanced accuracy under accuracy
CHANCE_AUROC = 0.5
STRONG_AUROC = 0.9  # "outstanding" (Hosmer and Lemeshow 2013)
NOMINAL_COVERAGE = 0.9
NARROW = 0.5  # width of the intervals as a share of the width without a model

Judged = tuple[Verdict, Message]
NEUTRAL: Judged = ("neutral", EMPTY)


def of_comparison(comparison: Comparison, corrected: float) -> Judged:
    """Significant after Holm's correction and 0 outside the interval: advantage or limitation. Else limitation for a baseline, or neutral.

    With few heavy errors the test of signs flipped may see what the interval can not bound: no claim then.
    """
    words: dict[str, str | int] = {"name": said(comparison.name), "p": p_words(corrected)}
    if corrected < SIGNIFICANCE and comparison.interval[0] <= 0 <= comparison.interval[1]:
        reason = Message(
            "the paired test tells it from {name} (corrected p {p}), the interval of the difference holds 0: no claim", **words
        )
        return ("limitation" if comparison.name in BASELINES else "neutral"), reason
    if corrected < SIGNIFICANCE and comparison.difference > 0:
        return "advantage", Message("better than {name} by the paired test (corrected p {p})", **words)
    if corrected < SIGNIFICANCE:
        return "limitation", Message("worse than {name} by the paired test (corrected p {p})", **words)
    return ("limitation" if comparison.name in BASELINES else "neutral"), _undecided(comparison, words)


def _undecided(comparison: Comparison, words: dict[str, str | int]) -> Message:
    rows, n = comparison.rows, comparison.n
    if rows is None:
        return Message(
            "not measurably different from {name} (corrected p {p}); no difference was seen that more rows could confirm",
            **words,
        )
    if rows <= n:
        return Message("not measurably different from {name} (corrected p {p}) on these {n} rows", n=n, **words)
    more = round_up(rows - n)
    return Message(
        "not measurably different from {name} (corrected p {p}); about {more} more rows would show a difference like the one seen",
        more=more,
        **words,
    )


def p_words(p_value: float) -> str:
    """Return the p-value with its sign of relation: "= 0.023" or "< 0.001"."""
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.3f}"


def of_headline(best: tuple[Comparison, float] | None) -> Judged:
    """The verdict against the best baseline; neutral without one."""
    if best is None:
        return "neutral", Message("there is no baseline beside it, so nothing says whether it is high or low")
    return of_comparison(*best)


def of_calibration_error(interval: Interval) -> Judged:
    """Advantage when the whole interval is at most 0.05; limitation when it lies above."""
    if interval[1] <= CALIBRATION_ERROR:
        return "advantage", Message("stated and observed rates differ by at most {most}", most=CALIBRATION_ERROR)
    if interval[0] > CALIBRATION_ERROR:
        return "limitation", Message("stated and observed rates differ by more than {most}", most=CALIBRATION_ERROR)
    return "neutral", Message("too few rows to tell whether stated and observed rates differ by more than {most}", most=CALIBRATION_ERROR)


def of_auroc(interval: Interval) -> Judged:
    """Limitation when the interval reaches down to chance; advantage when it lies at 0.9 or above."""
    if interval[0] <= CHANCE_AUROC:
        return "limitation", Message("not measurably better than chance ({chance})", chance=CHANCE_AUROC)
    if interval[0] >= STRONG_AUROC:
        return "advantage", Message("the whole interval is at {strong} or above", strong=STRONG_AUROC)
    return NEUTRAL


def of_balanced_accuracy(interval: Interval, accuracy: float) -> Judged:
    """Limitation when the whole interval lies more than 0.05 under the accuracy: frequent classes carry it."""
    if interval[1] < accuracy - BALANCE_GAP:
        return "limitation", Message(
            "more than {gap} under the accuracy of {accuracy}: rare classes are recognised worse", gap=BALANCE_GAP, accuracy=accuracy
        )
    return NEUTRAL


def of_loss(interval: Interval, without: float) -> Judged:
    """Limitation when the loss is not measurably under that of stating the class frequencies for every row."""
    if interval[1] >= without:
        return "limitation", Message("not measurably under {without}, the loss of the class frequencies alone", without=without)
    return NEUTRAL


def of_r2(interval: Interval) -> Judged:
    """Limitation when the interval reaches 0: no better than the mean."""
    return ("limitation", Message("not measurably better than predicting the mean")) if interval[0] <= 0 else NEUTRAL


def of_coverage(interval: Interval, width: float, width_without: float) -> Judged:
    """Limitation when fewer rows than stated are covered; advantage when enough are, at half the width needed without a model or less."""
    if interval[1] < NOMINAL_COVERAGE:
        return "limitation", Message("intervals built to cover {nominal} cover less", nominal=NOMINAL_COVERAGE)
    if width <= NARROW * width_without:
        return "advantage", Message(
            "intervals built to cover {nominal} do, at half the width needed without a model or less", nominal=NOMINAL_COVERAGE
        )
    return "neutral", Message("intervals built to cover {nominal} do", nominal=NOMINAL_COVERAGE)


def of_gap(interval: Interval, threshold: float) -> Judged:
    """Limitation when the whole interval lies above the threshold (0.02; for numbers a tenth of the held-out RMSE)."""
    if interval[0] > threshold:
        return "limitation", Message("better on training rows by more than {threshold}: overfitted", threshold=threshold)
    if interval[1] <= threshold:
        return "advantage", Message("better on training rows by at most {threshold}", threshold=threshold)
    return "neutral", Message("too few rows to tell whether the gap is above {threshold}", threshold=threshold)


def of_weakest_class(interval: Interval, accuracy: float) -> Judged:
    """Limitation when the class's whole interval lies under the overall accuracy."""
    if interval[1] < accuracy:
        return "limitation", Message("its whole interval lies under the overall accuracy of {accuracy}", accuracy=accuracy)
    return "neutral", Message("not measurably under the overall accuracy of {accuracy}", accuracy=accuracy)


def round_up(rows: int) -> int:
    """Two digits: the figure is an estimate."""
    unit = 10 ** max(len(str(rows)) - 2, 0)
    return int(-(-rows // unit) * unit)
