"""Drawings of a search: how it went, which keys mattered, and which values the best trials have.

As in plots.py: one drawing for light, dark and print, nothing told by colour alone. A finished trial is a dot, one that was ended early a
cross, one that failed a triangle at the edge; the best has a ring. Values beyond the scale stand at its edge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weighbridge.findings import Message
from weighbridge.report.plots import BAD, CARD, GOOD, INK, LINE, SOFT, drawing, finite, thinned
from weighbridge.report.words import Say, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DOTS = 400
MOST_LINES = 200
MOST_KEYS = 7  # axes beside each other on the width of a phone
BEST_SHARE, MOST_BEST = 0.1, 5  # trials that are emphasised
FAR = 4.0  # times the distance from the best to the third quarter: beyond that a value would flatten all others
ON_JUDGING = {
    "accuracy": Message("accuracy on the judging rows"),
    "rmse": Message("RMSE on the judging rows"),
    "f1_micro": Message("F1 on the judging rows"),
    "loss": Message("loss on the judging rows"),
}


def history(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the value of each trial in their order, and the best so far as a line; the recipe's own value is dashed."""
    trials = evidence["trials"]
    finished = [(one["number"] + 1, float(one["value"])) for one in trials if one["state"] == "finished" and finite(one["value"])]
    if not finished:
        return ""
    sign = 1.0 if evidence["direction"] == "maximize" else -1.0
    low, high = _limits([value for _, value in finished], sign)
    pruned = [(one["number"] + 1, one.get("last")) for one in trials if one["state"] == "pruned"]
    with drawing(2.7) as (figure, save):
        axes = figure.add_subplot()
        for one in trials:
            if one["own"] and finite(one["value"]):
                axes.axhline(one["value"], color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        steps = _best_so_far(evidence["best_so_far"], dict(finished), last=len(trials))
        axes.plot([x for x, _ in steps], [y for _, y in steps], color=GOOD, drawstyle="steps-post")
        # the last value of a set is minus its loss, which has no place on a scale of F1
        crosses = [(x, y if finite(y) and evidence["metric"] != "f1_micro" else -sign * math.inf) for x, y in pruned]
        _dots(axes, crosses, (low, high), marker="x", markersize=4.5, markeredgewidth=1.3, color=SOFT)
        _dots(axes, finished, (low, high), marker="o", markersize=4.2, markerfacecolor=GOOD, markeredgewidth=0, alpha=0.8)
        failed = [(one["number"] + 1, -sign * math.inf) for one in trials if one["state"] == "failed"]
        _dots(axes, failed, (low, high), marker="^" if sign > 0 else "v", markersize=5, markerfacecolor=BAD, markeredgewidth=0)
        best = [point for point in finished if point[0] - 1 == evidence["best"]]
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": GOOD, "markeredgewidth": 1.8}
        _dots(axes, best, (low, high), marker="o", markersize=9, **ring)
        axes.set_xlabel(say(Message("trial")))
        axes.set_ylabel(say(ON_JUDGING[evidence["metric"]]), fontsize=7.5)
        axes.locator_params(axis="x", integer=True, nbins=8)
        axes.set_xlim(0.4, len(trials) + 0.6)
        margin = 0.07 * (high - low)
        axes.set_ylim(low - margin, high + margin)
        return save("search-history")


def importance(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw what share of the differences between trials each key explains, largest first, as bars with their shares."""
    shares = [(str(key), float(share)) for key, share in (evidence["importances"] or {}).items() if finite(share)]
    if len(shares) < 2:
        return ""
    shares = sorted(shares, key=lambda pair: -pair[1])[: 2 * MOST_KEYS]
    with drawing(0.6 + 0.24 * len(shares)) as (figure, save):
        axes = figure.add_subplot()
        axes.barh(range(len(shares)), [share for _, share in shares], color=SOFT, alpha=0.55, height=0.68)
        axes.grid(visible=False, axis="y")
        for place, (_, share) in enumerate(shares):
            axes.text(share, place, f" {share:.2f}", va="center", fontsize=7.5, color=INK)
        axes.set_yticks(range(len(shares)), [short_key(key, 26) for key, _ in shares], fontsize=7.5)
        axes.set(ylim=(len(shares) - 0.4, -0.6), xlim=(0, min(1.0, shares[0][1]) * 1.16 or 1))
        axes.set_xlabel(say(Message("share of the differences between trials")))
        return save("search-importance")


def parallel_coordinates(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw each finished trial as a line over its values to what it was worth, better ones higher; the best are thick, with dots."""
    finished = [one for one in evidence["trials"] if one["state"] == "finished" and finite(one["value"])]
    if len(finished) < 2:
        return ""
    sign = 1.0 if evidence["direction"] == "maximize" else -1.0
    ranked = sorted(finished, key=lambda one: (-sign * one["value"], one["number"] != evidence["best"], one["number"]))[:MOST_LINES]
    keys = _shown_keys(evidence)
    limits = _limits([float(one["value"]) for one in ranked], sign)
    lines = [[*(_place(key, one["params"][key["key"]]) for key in keys), _worth(one["value"], limits, sign)] for one in ranked]
    best = lines[: max(1, min(MOST_BEST, round(BEST_SHARE * len(lines))))]
    with drawing(3.3) as (figure, save):
        axes = figure.add_subplot()
        axes.grid(visible=False)
        for place in range(len(keys) + 1):
            axes.axvline(place, color=LINE, linewidth=1.2)
        xs = [*range(len(keys) + 1), math.nan]
        others = lines[len(best) :]
        axes.plot(xs * len(others), [y for line in others for y in (*line, math.nan)], color=SOFT, linewidth=0.8, alpha=0.55)
        for line in best:
            style: dict[str, Any] = {"marker": "o", "markersize": 4, "markeredgewidth": 0}
            axes.plot(xs[:-1], line, color=GOOD, linewidth=2.0, **style)
        for place, key in enumerate(keys):
            _label_axis(axes, place, _marks(key))
        ends = limits if sign > 0 else (limits[1], limits[0])
        _label_axis(axes, len(keys), [(0.0, f"{ends[0]:.4g}"), (1.0, f"{ends[1]:.4g}")])
        names = [*(short_key(key["key"], 18) for key in keys), say(Message("value"))]
        axes.set_xticks(range(len(names)), names, fontsize=7, rotation=18 if len(names) > 3 else 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.set(xlim=(-0.3, len(keys) + 0.45), ylim=(-0.06, 1.06))
        return save("search-parallel")


def short_key(key: str, longest: int) -> str:
    """Return a recipe key without its section, cut at its beginning where it is too long: the end tells."""
    words = plain(key.partition(".")[2] or key)
    return words if len(words) <= longest else f"…{words[1 - longest :]}"


def _limits(values: Sequence[float], sign: float) -> tuple[float, float]:
    """Return the ends of the scale: all values, or without those far worse than most."""
    from_best = sorted(values, key=lambda value: -sign * value)
    best, third = from_best[0], from_best[(3 * len(values)) // 4 if len(values) > 1 else 0]
    reach = FAR * abs(third - best)
    kept = [value for value in values if abs(value - best) <= reach] or [best]
    low, high = min(kept), max(kept)
    return (low, high) if low < high else (low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0))


def _dots(axes: Axes, points: Sequence[tuple[float, float]], limits: tuple[float, float], **style: Any) -> None:
    """Draw points; one beyond the scale stands at its edge."""
    margin = 0.04 * (limits[1] - limits[0])
    kept = thinned(list(points), MOST_DOTS)
    ys = [min(max(y, limits[0] - margin), limits[1] + margin) for _, y in kept]
    if kept:
        axes.plot([x for x, _ in kept], ys, linestyle="none", clip_on=False, zorder=3, **style)


def _best_so_far(numbers: Sequence[int | None], values: Mapping[int, float], *, last: int) -> list[tuple[float, float]]:
    """Return the corners of the line: a point where the best changes, and the end."""
    corners: list[tuple[float, float]] = []
    for place, number in enumerate(numbers):
        if number is not None and number + 1 in values and (not corners or corners[-1][1] != values[number + 1]):
            corners.append((place + 1, values[number + 1]))
    return [*corners, (last, corners[-1][1])] if corners else []


def _shown_keys(evidence: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the keys that have an axis: all, or the most important."""
    shares = evidence["importances"] or {}
    keys = list(evidence["keys"])
    kept = sorted(keys, key=lambda key: -shares.get(key["key"], 0.0))[:MOST_KEYS]
    return [key for key in keys if key in kept]


def _place(key: Mapping[str, Any], value: Any) -> float:
    """Return where a value stands on its axis, 0 to 1."""
    if "values" in key:
        return float(key["values"].index(value)) / max(1, len(key["values"]) - 1)
    low, high = float(key["low"]), float(key["high"])
    if key["log"]:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return (float(value) - low) / (high - low)


def _worth(value: float, limits: tuple[float, float], sign: float) -> float:
    share = (min(max(value, limits[0]), limits[1]) - limits[0]) / (limits[1] - limits[0])
    return share if sign > 0 else 1 - share


def _marks(key: Mapping[str, Any]) -> list[tuple[float, str]]:
    if "values" not in key:
        return [(0.0, f"{key['low']:.4g}"), (1.0, f"{key['high']:.4g}")]
    values = key["values"]
    step = math.ceil(len(values) / 12)
    return [(_place(key, value), _word(value)) for value in values[::step]]


def _word(value: Any) -> str:
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 12)


def _label_axis(axes: Axes, place: int, marks: Sequence[tuple[float, str]]) -> None:
    for y, words in marks:
        axes.text(place + 0.05, y, words, fontsize=6.5, va="center", color=INK, bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.6})
