"""Drawing of the fairness audit: each group's figures as dots with their intervals, a panel a measure, groups of a column together.

As in plots.py: one drawing for light, dark and print. Groups of too few rows to be compared are rings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import CARD, GOOD, INK, SOFT, drawing, finite
from weighbridge.report.words import Say, plain

MOST_LINES = 30
LEAST = 30  # rows of a group that is compared
LONGEST = 26  # characters of a group's name
PANELS = {
    "selected": Message("answered {selected}"),
    "true_positive": Message("found of {selected}"),
    "false_positive": Message("false alarms"),
    "error": Message("wrong rows"),
    "mean_error": Message("mean error"),
    "rmse": Message("RMSE"),
}
OF_TWO_CLASSES, OF_NUMBERS, OF_OTHERS = ("selected", "true_positive", "false_positive"), ("mean_error", "rmse"), ("error",)


def groups(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the groups of each column one below the other; what does not fit into MOST_LINES lines is left out, intersections first."""
    measures = OF_NUMBERS if evidence["kind"] == "number" else OF_TWO_CLASSES if evidence["selected"] else OF_OTHERS
    lines = _lines(evidence["columns"], measures)
    if sum(bool(line["figures"]) for line in lines) < 2:
        return ""
    with drawing(0.75 + 0.165 * len(lines)) as (figure, save):
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            _panel(axes, measure, lines)
            axes.set_title(say(Message(PANELS[measure].template, selected=plain(evidence["selected"], 12))), fontsize=7.5)
        panels[0].set_yticks(range(len(lines)), [line["name"] for line in lines], fontsize=6.8)
        for label, line in zip(panels[0].get_yticklabels(), lines, strict=True):
            label.set_color(INK if line["figures"] else SOFT)
        panels[0].set_ylim(len(lines) - 0.4, -0.6)
        return save("fairness")


def _lines(columns: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> list[dict[str, Any]]:
    """Return a line for the name of each column, and one for each of its groups with its figures by measure."""
    lines: list[dict[str, Any]] = []
    for column in columns:
        own = [{"name": plain(column["column"], LONGEST + 8), "figures": {}}]
        for name in column["names"]:
            found = {measure: _of_group(column["measures"][measure], name) for measure in measures}
            own.append({"name": plain(name, LONGEST), "figures": {measure: one for measure, one in found.items() if one}})
        if len(lines) + len(own) <= MOST_LINES or not lines:
            lines += own[:MOST_LINES]
    return lines


def _of_group(figures: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    own = (one for one in figures if one["group"] == name and all(finite(one[part]) for part in ("value", "low", "high")))
    return next(own, None)


def _panel(axes: Any, measure: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Draw one measure: all intervals as one broken line, all dots as one."""
    found = [(place, line["figures"][measure]) for place, line in enumerate(lines) if measure in line["figures"]]
    for told in (True, False):
        own = [(place, one) for place, one in found if (one["n"] >= LEAST) == told]
        xs = [part for _, one in own for part in (one["low"], one["high"], float("nan"))]
        ys = [part for place, _ in own for part in (place, place, float("nan"))]
        axes.plot(xs, ys, color=GOOD, linewidth=1.8 if told else 0.7)
        face: Any = {"markerfacecolor": GOOD if told else CARD, "markeredgecolor": GOOD, "markeredgewidth": 0.9}
        axes.plot([one["value"] for _, one in own], [place for place, _ in own], linestyle="none", marker="o", markersize=4, **face)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="x", labelsize=6.5)
    axes.locator_params(axis="x", nbins=4)
    axes.margins(x=0.08)
