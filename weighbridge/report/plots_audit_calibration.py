"""Drawings of the calibration audit: answering only when sure, strange rows, how often each class is held by its sets.

As in plots.py: one drawing for light, dark and print, nothing told by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import CARD, GOOD, INK, SOFT, Draw, drawing, finite, reliability
from weighbridge.report.words import Say, plain

MOST_CLASSES = 30
LONGEST = 24  # characters of a class
KINDS = {
    "columns": Message("columns shuffled"),
    "far": Message("numbers far away"),
    "noise": Message("pictures of noise"),
    "tiles": Message("pictures cut up and laid anew"),
    "tokens": Message("words drawn at random"),
}
MARKS: dict[str, dict[str, Any]] = {
    "sureness": {"marker": "s", "markersize": 6, "color": GOOD},
    "energy": {"marker": "o", "markersize": 6, "markerfacecolor": CARD, "markeredgecolor": INK, "color": INK},
    "distance": {"marker": "D", "markersize": 4.5, "color": SOFT},
}


def risk_coverage(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the share that is right by the share answered with its band; dashed: all rows; rings: limits found on validation rows."""
    points = [point for point in evidence["curve"] if all(finite(point[name]) for name in ("answered", "accuracy", "low", "high"))]
    if len(points) < 2:
        return ""
    x = [point["answered"] for point in points]
    with drawing(2.5) as (figure, save):
        axes = figure.add_subplot()
        axes.axhline(evidence["all"], color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.fill_between(x, [point["low"] for point in points], [point["high"] for point in points], color=GOOD, alpha=0.16, linewidth=0)
        axes.plot(x, [point["accuracy"] for point in points], color=GOOD)
        marks = [mark for mark in evidence["marks"] if finite(mark["answered"]) and finite(mark["accuracy"])]
        axes.plot([mark["answered"] for mark in marks], [mark["accuracy"] for mark in marks], linestyle="none", marker="o", markersize=7,
                  markerfacecolor=CARD, markeredgecolor=GOOD, markeredgewidth=1.8)  # fmt: skip
        axes.set_xlim(0, 1.02)
        axes.set_xlabel(say(Message("share of the rows that is answered, the surest first")))
        axes.set_ylabel(say(Message("share that was right")), fontsize=7.5)
        return save("risk-coverage")


def strange(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw for each kind of strange rows how well each score tells them, with its interval; dashed: chance."""
    kinds = [kind for kind in evidence["kinds"] if kind["name"] in KINDS and kind["scores"]]
    if not kinds:
        return ""
    with drawing(0.8 + 0.62 * len(kinds)) as (figure, save):
        axes = figure.add_subplot()
        axes.axvline(0.5, color=SOFT, linewidth=1, linestyle=(0, (3, 2)))
        for place, kind in enumerate(kinds):
            for step, score in enumerate(one for one in kind["scores"] if one["name"] in MARKS):
                height = place + 0.2 * (step - 1)
                mark = MARKS[score["name"]]
                axes.plot([score["low"], score["high"]], [height, height], color=mark["color"], linewidth=1.6)
                axes.plot([score["value"]], [height], linestyle="none", **mark)
            axes.annotate(say(KINDS[kind["name"]]), (0, place - 0.3), xycoords=("axes fraction", "data"), xytext=(0, 3),
                          textcoords="offset points", fontsize=7.5, color=INK)  # fmt: skip
        axes.grid(visible=False, axis="y")
        axes.set_yticks([])
        axes.set_ylim(len(kinds) - 0.5, -0.75)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(say(Message("how well strange rows are told from usual ones")))
        return save("strange")


def sets(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw for each class which share of its rows is held by their sets, with its interval; dashed: what was promised."""
    rows = [row for row in evidence["classes"] if all(finite(row[name]) for name in ("value", "low", "high"))][:MOST_CLASSES]
    if len(rows) < 3:
        return ""
    with drawing(min(4.5, 0.8 + 0.22 * len(rows))) as (figure, save):
        axes = figure.add_subplot()
        axes.axvline(evidence["level"], color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        for place, row in enumerate(rows):
            axes.plot([row["low"], row["high"]], [place, place], color=GOOD, linewidth=2)
            axes.plot([row["value"]], [place], linestyle="none", marker="o", markersize=4.5, color=GOOD)
        axes.set_yticks(range(len(rows)), [plain(row["name"], LONGEST) for row in rows], fontsize=7)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(say(Message("share of a class's rows whose set holds the truth")))
        return save("sets")


_ANSWERED_KEY = (
    ("solid", Message("the model")),
    ("band", Message("95 % band")),
    ("ring", Message("the surest 90, 80 and 50 % by validation rows")),
    ("dashed", Message("all rows")),
)
_STRANGE_KEY = (
    ("square", Message("what is stated")),
    ("ink-ring", Message("energy of the network's outputs")),
    ("diamond", Message("distance of its features to training rows")),
    ("dashed", Message("chance")),
)
_SETS_KEY = (("dot", Message("the class with its interval")), ("dashed", Message("promised")))
_LABELS_KEY = (("solid", Message("the model")), ("band", Message("95 % band")), ("dashed", Message("exactly as often as it says")))
SHAPES: tuple[tuple[str, Draw, str, Message, tuple[tuple[str, Message], ...]], ...] = (
    (
        "label-reliability",
        reliability,
        "label_reliability.json",
        Message("Reliability of all labels: are they right as often as it says?"),
        _LABELS_KEY,
    ),
    ("risk-coverage", risk_coverage, "risk_coverage.json", Message("Answering only when sure"), _ANSWERED_KEY),
    ("strange", strange, "strange.json", Message("Strange rows: are they noticed?"), _STRANGE_KEY),
    ("sets", sets, "sets.json", Message("Sets of answers: how often each class is held"), _SETS_KEY),
)
