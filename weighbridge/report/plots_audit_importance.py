"""Drawings of what columns are worth, and of the curves by which explanations are checked; see plots.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import BAD, CARD, GOOD, INK, SOFT, drawing, finite
from weighbridge.report.words import Say, plain

MOST_COLUMNS = 15
LONGEST = 26  # characters of a column's name
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (2.5, 1)))
WORSE = {
    "category": Message("rise of the share of wrong answers"),
    "set": Message("rise of the share of wrong labels"),
    "number": Message("rise of the mean absolute error"),
}


def importance(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw each column's importance as a dot with its interval, largest first; a ring where it can not be told from none."""
    found = [one for one in evidence["columns"] if all(finite(one[name]) for name in ("value", "low", "high"))][:MOST_COLUMNS]
    if not found:
        return ""
    with drawing(0.65 + 0.23 * len(found)) as (figure, save):
        axes = figure.add_subplot()
        axes.axvline(0, color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        for place, one in enumerate(found):
            colour = GOOD if one["told"] else SOFT
            axes.plot([one["low"], one["high"]], [place, place], color=colour, linewidth=1.8)
            axes.plot([one["value"]], [place], linestyle="none", marker="o", markersize=5, markeredgewidth=1.3, markeredgecolor=colour,
                      markerfacecolor=colour if one["told"] else CARD)  # fmt: skip
        axes.grid(visible=False, axis="y")
        axes.set_yticks(range(len(found)), [plain(str(one["column"]), LONGEST) for one in found], fontsize=7.5)
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.set_xlabel(say(WORSE[evidence["kind"]]))
        return save("explanation-importance")


def curves(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw what the model still says while parts of a row are taken out, and put in, in each method's order and in a random one."""
    grid, methods = evidence["grid"], evidence["methods"]
    if not methods:
        return ""
    with drawing(2.75) as (figure, save):
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, way in ((left, "deletion"), (right, "insertion")):
            axes.plot(grid, evidence["random"][way], color=SOFT, linewidth=2.4, alpha=0.6)
            for dash, one in zip(DASHES, methods, strict=False):
                axes.plot(grid, one[way], color=BAD if one["status"] == "fails" else GOOD, linestyle=dash, linewidth=1.4)
        number = evidence["kind"] == "number"
        left.set_ylabel(say(Message("what is left of the answer") if number else Message("probability of the answer")))
        left.set_xlabel(say(Message("parts taken out")))
        right.set_xlabel(say(Message("parts put in")))
        for axes in (left, right):
            axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        lines = left.get_lines()
        names = [say(Message("a random order")), *(_name(one, say) for one in methods)]
        figure.legend(lines, names, loc="outside lower center", ncols=2, fontsize=7, frameon=False, labelcolor=INK, handlelength=2.6)
        return save("explanation-curves")


def _name(method: Mapping[str, Any], say: Say) -> str:
    name = say(Message(str(method["name"])))
    return say(Message("{method} (fails)", method=name)) if method["status"] == "fails" else name
