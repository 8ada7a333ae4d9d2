"""Drawings of what varies: the strip of seeds, the learning curve with its band, weak slices against the rest.

As in plots.py: one drawing for light, dark and print, nothing told by colour alone. Measured runs are dots, a fit is a line, what is
carried on beyond the data is dashed, references are dashed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import BAD, CARD, GOOD, INK, SOFT, drawing, finite
from weighbridge.report.words import Say, plain

MOST_SLICES = 8
MOST_SEEDS = 100
MOST_RUNS = 600
LONGEST = 72  # characters of a slice's words
DOT: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 5, "markerfacecolor": GOOD, "markeredgewidth": 0, "alpha": 0.75}
ON_TEST = {
    "accuracy": Message("accuracy on test rows"),
    "rmse": Message("RMSE on test rows"),
    "f1_micro": Message("F1 on test rows"),
}
ON_VALIDATION = {
    "accuracy": Message("accuracy on validation rows"),
    "rmse": Message("RMSE on validation rows"),
    "f1_micro": Message("F1 on validation rows"),
}


def seeds(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw a dot for each seed, the packaged one with a ring, the interval of their mean as a band, the best baseline as a dashed line."""
    points = [(row["seed"], row["test"]) for row in evidence["seeds"] if finite(row["test"])][:MOST_SEEDS]
    if len(points) < 2:
        return ""
    low, high = evidence["interval"]
    rivals = [value for value in evidence["baselines"].values() if finite(value)]
    with drawing(2.3) as (figure, save):
        axes = figure.add_subplot()
        axes.axhspan(low, high, color=GOOD, alpha=0.14, linewidth=0)
        axes.axhline(evidence["mean"], color=GOOD, linewidth=1.2)
        axes.plot([seed for seed, _ in points], [value for _, value in points], **DOT)
        axes.plot(*points[0], linestyle="none", marker="o", markersize=8, markerfacecolor=CARD, markeredgecolor=GOOD, markeredgewidth=1.8)
        if rivals:
            best = min(rivals) if evidence["metric"] == "rmse" else max(rivals)
            axes.axhline(best, color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.set_xlabel(say(Message("training seed")))
        axes.set_ylabel(say(ON_TEST[evidence["metric"]]), fontsize=7.5)
        axes.locator_params(axis="x", integer=True, nbins=10)
        axes.set_xlim(0.4, points[-1][0] + 0.6)
        return save("seeds")


def learning_curve(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw every run as a dot, the fitted curve solid up to all rows and dashed beyond, its 95 % band; rows on a logarithmic scale."""
    runs = [(run["rows"], run["value"]) for run in evidence["runs"] if finite(run["value"])][:MOST_RUNS]
    curve, rows = evidence["curve"], evidence["rows"]
    if len(runs) < 2 or not curve:
        return ""
    inside, beyond = [p for p in curve if p["rows"] <= rows * 1.0001], [p for p in curve if p["rows"] >= rows * 0.9999]
    beyond = [*inside[-1:], *beyond]
    with drawing(2.9) as (figure, save):
        axes = figure.add_subplot()
        axes.set_xscale("log")
        x = [point["rows"] for point in curve]
        axes.fill_between(x, [point["low"] for point in curve], [point["high"] for point in curve], color=GOOD, alpha=0.16, linewidth=0)
        axes.plot([point["rows"] for point in inside], [point["value"] for point in inside], color=GOOD)
        axes.plot([point["rows"] for point in beyond], [point["value"] for point in beyond], color=GOOD, linestyle=(0, (3, 2)))
        axes.axvline(rows, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        axes.plot([size for size, _ in runs], [value for _, value in runs], **DOT | {"markerfacecolor": INK, "markersize": 3.6})
        sizes = sorted({size for size, _ in runs})
        ticks = sorted({*sizes[-5:], round(x[-1])})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=7)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(say(Message("training rows")))
        axes.set_ylabel(say(ON_VALIDATION[evidence["metric"]]), fontsize=7.5)
        return save("learning-curve")


def slices(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw each listed slice: its value as a dot with its interval, the other rows as a ring."""
    found = [one for one in evidence["slices"] if all(finite(one[name]) for name in ("value", "low", "high", "rest"))][:MOST_SLICES]
    if not found:
        return ""
    with drawing(0.75 + 0.55 * len(found)) as (figure, save):
        axes = figure.add_subplot()
        for place, one in enumerate(found):
            axes.plot([one["low"], one["high"]], [place, place], color=BAD, linewidth=2)
            axes.plot([one["value"]], [place], **DOT | {"markerfacecolor": BAD, "alpha": 1.0})
            axes.plot([one["rest"]], [place], linestyle="none", marker="o", markersize=6, markerfacecolor=CARD, markeredgecolor=INK)
            words = plain(" & ".join(one["where"]), LONGEST)
            axes.annotate(f"{words}  (n = {one['n']:,})", (0, place), xycoords=("axes fraction", "data"), xytext=(0, 7),
                          textcoords="offset points", fontsize=7, color=INK)  # fmt: skip
        axes.grid(visible=False, axis="y")
        axes.set_yticks([])
        axes.set_ylim(len(found) - 0.5, -0.85)
        axes.set_xlabel(
            say(Message("mean absolute error") if evidence["metric"] == "mean absolute error" else Message("share that was right"))
        )
        axes.margins(x=0.06)
        return save("slices")
