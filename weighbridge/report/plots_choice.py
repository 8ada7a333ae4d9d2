"""Drawings of the choice: quality against cost with what may be lost, and what more parameters and rows buy.

As in plots.py: one drawing for light, dark and print, nothing told by colour alone. The kept form is a filled square, the most capable
model a ring, other forms dots, rivals diamonds; the margin is a dashed line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import BAD, CARD, GOOD, INK, SOFT, drawing, finite
from weighbridge.report.plots_spread import ON_VALIDATION
from weighbridge.report.words import Say, number, plain

MOST_MODELS = 24
LONGEST = 34  # characters of a name
UNITS = {"latency": "s", "latency_32": "s", "size": "bytes", "memory": "bytes", "speed": "rows/s"}
COSTS = {
    "latency": Message("median time for one row"),
    "latency_32": Message("median time for 32 rows"),
    "size": Message("size of the graph"),
    "memory": Message("peak memory"),
    "speed": Message("rows a second"),
}


def frontier(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw each model's score with its interval against what it costs, on a logarithmic scale."""
    cost = evidence["cost"]
    shown = [one for one in evidence["models"] if one["name"] != "trivial"]  # far below all others: they would lie on one line
    models = [one for one in shown if finite(one["value"]) and finite(one["costs"][cost])][:MOST_MODELS]
    if len(models) < 2:
        return ""
    champion = next(one for one in models if one["name"] == evidence["champion"])
    with drawing(3.1) as (figure, save):
        axes = figure.add_subplot()
        axes.set_xscale("log")
        for one in models:
            _model(axes, one, one["costs"][cost], evidence)
        worst = champion["value"] - evidence["sign"] * evidence["margin"]
        axes.axhline(worst, color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        _cost_ticks(axes, [one["costs"][cost] for one in models], UNITS[cost])
        axes.set_xlabel(say(COSTS[cost]))
        axes.set_ylabel(say(ON_VALIDATION[evidence["metric"]]), fontsize=7.5)
        if evidence["sign"] < 0:
            axes.invert_yaxis()  # up is better in every drawing of a choice
        axes.margins(x=0.12, y=0.12)
        return save("frontier")


def _model(axes: Any, one: Mapping[str, Any], cost: float, evidence: Mapping[str, Any]) -> None:
    chosen, champion = one["name"] == evidence["chosen"], one["name"] == evidence["champion"]
    colour = GOOD if chosen else BAD if one["decision"] == "inferior" else SOFT
    if finite(one["low"]) and finite(one["high"]):
        axes.plot([cost, cost], [one["low"], one["high"]], color=colour, linewidth=2 if chosen else 1)
    shape = "s" if chosen else "D" if one["role"] == "rival" else "x" if one["decision"] == "inferior" else "o"
    axes.plot([cost], [one["value"]], linestyle="none", marker=shape, markersize=7 if chosen else 5, color=colour, markeredgewidth=1.4)
    if champion:
        axes.plot([cost], [one["value"]], linestyle="none", marker="o", markersize=11, markerfacecolor="none", markeredgecolor=INK)
    if chosen or champion or one["role"] == "rival":
        axes.annotate(plain(one["name"], LONGEST), (cost, one["value"]), xytext=(7, 4), textcoords="offset points", fontsize=6.5, color=INK)


def _cost_ticks(axes: Any, costs: Sequence[float], unit: str) -> None:
    """Mark the ends and the middle of what the models cost, in words."""
    import math

    low, high = min(costs), max(costs)
    ticks = [low, math.sqrt(low * high), high] if high > 1.5 * low else [low]
    axes.set_xticks(ticks, [number(tick, unit) for tick in ticks], fontsize=7)
    axes.set_xticks([], minor=True)


def ladder(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw what competed, one a line: its score as a dot with the interval, the most capable with a ring."""
    rungs = [one for one in evidence["ladder"] if finite(one["value"])][:MOST_MODELS]
    if len(rungs) < 2:
        return ""
    with drawing(0.8 + 0.34 * len(rungs)) as (figure, save):
        axes = figure.add_subplot()
        for place, one in enumerate(rungs):
            colour = SOFT if one["role"] == "baseline" else GOOD
            if finite(one["low"]) and finite(one["high"]):
                axes.plot([one["low"], one["high"]], [place, place], color=colour, linewidth=2)
            axes.plot([one["value"]], [place], linestyle="none", marker="o", markersize=5, color=colour)
            if one["name"] == evidence["champion"]:
                axes.plot([one["value"]], [place], linestyle="none", marker="o", markersize=10, markerfacecolor="none", markeredgecolor=INK)
        axes.set_yticks(range(len(rungs)), [plain(one["name"], LONGEST) for one in rungs], fontsize=7)
        axes.set_ylim(len(rungs) - 0.5, -0.5)
        axes.set_xlabel(say(ON_VALIDATION[evidence["metric"]]))
        return save("ladder")


def scale(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the loss by training rows, a line with its band for each width; measured runs are dots, the point that was foretold a ring."""
    runs = [run for run in evidence["runs"] if finite(run["loss"])]
    curves = evidence["curves"]
    if len(runs) < 3 or not curves:
        return ""
    dashes = ["solid", (0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))]
    with drawing(3.1) as (figure, save):
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        for place, curve in enumerate(curves[:8]):
            points = [point for point in curve["points"] if finite(point["loss"])]
            x = [point["rows"] for point in points]
            axes.fill_between(x, [p["low"] for p in points], [p["high"] for p in points], color=GOOD, alpha=0.10, linewidth=0)
            axes.plot(x, [p["loss"] for p in points], color=GOOD, linestyle=dashes[place % len(dashes)], linewidth=1.3)
            axes.annotate(f"{curve['parameters']:,}", (x[-1], points[-1]["loss"]), xytext=(4, -2), textcoords="offset points", fontsize=6.5)
        axes.plot([run["rows"] for run in runs], [run["loss"] for run in runs], linestyle="none", marker="o", markersize=3.4, color=INK)
        held = evidence.get("held_out")
        if held and finite(held["predicted"]):
            ring: dict[str, Any] = {
                "marker": "o",
                "markersize": 9,
                "markerfacecolor": CARD,
                "markeredgecolor": GOOD,
                "markeredgewidth": 1.6,
            }
            axes.plot([held["rows"]], [held["predicted"]], linestyle="none", zorder=1, **ring)
        sizes = sorted({run["rows"] for run in runs})
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(say(Message("training rows")))
        axes.set_ylabel(say(Message("loss on validation rows")), fontsize=7.5)
        return save("scale")
