"""Drawings of the audit of generalization: what the network learns of true and of shuffled labels, and its score by time.

As in plots.py: one drawing for light, dark and print, nothing told by colour alone. Training rows are rings, held-out rows dots; chance is
dashed; a fitted line is solid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import BAD, CARD, GOOD, INK, SOFT, drawing, finite
from weighbridge.report.words import Say, plain

SCORES = {"accuracy": Message("accuracy"), "rmse": Message("RMSE"), "f1_micro": Message("F1")}
LABELS = {"as_they_are": Message("labels as they are"), "shuffled": Message("labels shuffled")}
OF_A_ROW = {
    "category": Message("share that was right"),
    "number": Message("minus the absolute error"),
    "set": Message("F1 of a row"),
}
MOST_BLOCKS = 60


def memorised(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the score on training and held-out rows with true and with shuffled labels, a line a pair: its length is the gap."""
    places = {"as_they_are": 0, "shuffled": 1}
    scores = [one for one in evidence["scores"] if finite(one["value"])]
    if len(scores) != 4:
        return ""
    with drawing(1.7) as (figure, save):
        axes = figure.add_subplot()
        axes.axvline(evidence["chance"], color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        for labels, place in places.items():
            ends = [one["value"] for one in scores if one["labels"] == labels]
            axes.plot(ends, [place] * len(ends), color=SOFT, linewidth=1)
        for one in scores:
            place, held = places[one["labels"]], one["rows"] == "held_out"
            colour = GOOD if one["labels"] == "as_they_are" else BAD
            axes.plot(one["interval"], [place, place], color=colour, linewidth=3, alpha=0.35, solid_capstyle="butt")
            axes.plot(
                [one["value"]], [place], linestyle="none", marker="o", markersize=6.5, markeredgecolor=colour, markeredgewidth=1.6,
                markerfacecolor=colour if held else CARD,
            )  # fmt: skip
        axes.set_yticks(list(places.values()), [say(LABELS[name]) for name in places])
        axes.set_ylim(1.6, -0.6)
        axes.set_xlabel(say(SCORES[evidence["metric"]]))
        axes.margins(x=0.06)
        return save("memorised")


def over_time(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the mean score of each block of neighbours in time with its standard error, and the line through them."""
    blocks = [block for block in evidence["blocks"] if all(finite(value) for value in block)][:MOST_BLOCKS]
    if len(blocks) < 3:
        return ""
    with drawing(2.3) as (figure, save):
        axes = figure.add_subplot()
        for x, y, error in blocks:
            axes.plot([x, x], [y - error, y + error], color=SOFT, linewidth=0.8)
        axes.plot([x for x, *_ in blocks], [y for _, y, _ in blocks], linestyle="none", marker="o", markersize=4, color=INK)
        axes.plot([0, 1], [evidence["start"], evidence["start"] + evidence["value"]], color=GOOD, linewidth=1.8)
        axes.set_xticks([0, 1], [say(Message("oldest")), say(Message("newest"))])
        axes.set_xlabel(say(Message("test rows in the order of {column}", column=plain(str(evidence["column"]), 40))))
        axes.set_ylabel(say(OF_A_ROW[evidence["metric"]]), fontsize=7.5)
        return save("over-time")
