"""Drawing of the privacy audit: training rows named against unseen rows named, on logarithmic scales, where the surest few are seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import GOOD, SOFT, drawing, finite
from weighbridge.report.words import Say

LEAST = 1e-4
TICKS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LINES: dict[str, tuple[str, Any]] = {"loss": (GOOD, "solid"), "shadow": (SOFT, "dashed")}


def members(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the curve of each attack; chance is the diagonal."""
    curves = {name: _points(one.get("curve", ())) for name, one in evidence["attacks"].items() if name in LINES}
    curves = {name: points for name, points in curves.items() if len(points) > 1}
    if not curves:
        return ""
    with drawing(2.6) as (figure, save):
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        low = min(min(x for x, _ in points) for points in curves.values())
        axes.plot([low, 1], [low, 1], color=SOFT, linewidth=1, linestyle="dotted")
        for name, points in curves.items():
            colour, style = LINES[name]
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.6)
        axes.set_xlim(low, 1)
        axes.set_ylim(low / 2, 1.1)
        shown = [share for share in TICKS if share >= low]
        axes.set_xticks(shown, [f"{share:.4g}" for share in shown])
        axes.set_yticks(shown, [f"{share:.4g}" for share in shown])
        axes.minorticks_off()
        axes.set_xlabel(say(Message("share of unseen rows that are named")))
        axes.set_ylabel(say(Message("share of training rows that are named")))
        return save("members")


def _points(curve: Any) -> list[tuple[float, float]]:
    pairs = [tuple(pair) for pair in curve if len(pair) == 2 and all(finite(part) for part in pair)]
    return [(max(x, LEAST), max(y, LEAST)) for x, y in pairs]
