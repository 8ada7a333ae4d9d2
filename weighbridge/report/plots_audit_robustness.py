"""Drawings of robustness: the headline by strength for each kind of damage, example pictures, and the headline by epsilon under attack.

As in plots.py: one drawing for light, dark and print, nothing told by colour alone. Undamaged is dashed, a measured strength is a dot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import CARD, GOOD, INK, SOFT, drawing, finite
from weighbridge.report.words import Say, plain

MOST_KINDS = 12
ACROSS = 3  # small drawings in a row
LONGEST = 22  # characters of a kind's name
FIRST = "FGSM"  # the attack of one step, whose curve stands beside that of all
METRIC = {"accuracy": Message("accuracy"), "RMSE": Message("RMSE"), "F1": Message("F1")}


def damage(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw a small curve for each kind of damage: the headline by strength 0 (undamaged) to 5 with the band of what was lost."""
    kinds = [kind for kind in evidence["kinds"] if all(finite(level["value"]) for level in kind["levels"])][:MOST_KINDS]
    if not kinds:
        return ""
    clean, down = evidence["clean"], -(-len(kinds) // ACROSS)
    sign = 1 if evidence["metric"] == "RMSE" else -1
    with drawing(0.35 + 1.3 * down) as (figure, save):
        grid = figure.subplots(down, min(ACROSS, len(kinds)), sharex=True, sharey=True, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place >= len(kinds):
                axes.set_visible(False)
                continue
            _curve(axes, kinds[place]["levels"], clean, sign)
            axes.set_title(plain(say(Message(kinds[place]["title"])), LONGEST), fontsize=7.5, color=INK)
            axes.set_xticks(range(6))
            axes.tick_params(labelsize=6.5, labelbottom=place + ACROSS >= len(kinds))
        figure.supylabel(say(METRIC[evidence["metric"]]), fontsize=7.5, color=SOFT)
        figure.supxlabel(say(Message("strength")), fontsize=7.5, color=SOFT)
        return save("damage")


def _curve(axes: Any, levels: Sequence[Mapping[str, Any]], clean: float, sign: int) -> None:
    x = list(range(len(levels) + 1))
    axes.axhline(clean, color=SOFT, linewidth=1, linestyle=(0, (3, 2)))
    ends = [sorted((clean + sign * level["low"], clean + sign * level["high"])) for level in levels]
    axes.fill_between(x[1:], [low for low, _ in ends], [high for _, high in ends], color=GOOD, alpha=0.18, linewidth=0)
    axes.plot(x, [clean, *(level["value"] for level in levels)], color=GOOD, marker="o", markersize=2.6, linewidth=1.2)


def pictures(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw one row's picture undamaged, and for each kind of damage at its five strengths."""
    import numpy as np

    strips = evidence["strips"][:8]
    if not strips:
        return ""
    images = [[evidence["clean"], *strip["pictures"]] for strip in strips]
    tall, wide = np.asarray(images[0][0]).shape[:2]
    with drawing(max(1.2, 0.52 * len(strips) * tall / wide)) as (figure, save):
        axes = figure.add_subplot()
        gap = max(1, wide // 12)
        for row, strip in enumerate(images):
            for column, picture in enumerate(strip):
                pixels = np.asarray(picture, dtype=np.uint8)
                left, top = column * (wide + gap) + (gap if column else 0), row * (tall + gap)
                shown: Any = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
                extent = (left, left + wide, top + tall, top)
                axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none", aspect="equal")
        axes.set(xlim=(0, 6 * (wide + gap)), ylim=(len(strips) * (tall + gap), 0))
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
        names = [plain(say(Message(strip["title"])), LONGEST) for strip in strips]
        axes.set_yticks([row * (tall + gap) + tall / 2 for row in range(len(strips))], names, fontsize=7)
        axes.set_xticks([column * (wide + gap) + wide / 2 for column in range(6)], ["0", "1", "2", "3", "4", "5"], fontsize=7)
        axes.set_xlabel(say(Message("strength")), fontsize=7.5)
        return save("damage-pictures")


def attack(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the headline by epsilon: after FGSM alone dashed, after all attacks as rings with their intervals; epsilon 0 is undamaged."""
    curves = [curve for curve in evidence["curves"] if curve["points"]][:2]
    if not curves:
        return ""
    with drawing(2.4) as (figure, save):
        grid = figure.subplots(1, len(curves), squeeze=False)
        for axes, curve in zip(grid.flat, curves, strict=True):
            _under_attack(axes, curve, 1 if evidence["metric"] == "RMSE" else -1, stages=evidence["metric"] == "accuracy")
            axes.set_xlabel(say(Message(curve["unit"])), fontsize=7 if len(curves) == 1 else 5.5)
        grid.flat[0].set_ylabel(say(METRIC[evidence["metric"]]), fontsize=7.5)
        return save("attack")


def _under_attack(axes: Any, curve: Mapping[str, Any], sign: int, *, stages: bool) -> None:
    points, clean = curve["points"], curve["clean"]
    x = [0.0, *(point["epsilon"] for point in points)]
    if stages and all(FIRST in point["left"] for point in points):
        axes.plot(x, [clean, *(point["left"][FIRST] for point in points)], color=SOFT, linewidth=1.1, linestyle=(0, (3, 2)))
    for point in points:
        ends = sorted((clean + sign * point["low"], clean + sign * point["high"]))
        axes.plot([point["epsilon"]] * 2, ends, color=GOOD, linewidth=2)
    ring: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markerfacecolor": CARD, "markeredgecolor": GOOD, "markeredgewidth": 1.4}
    axes.plot(x, [clean, *(point["value"] for point in points)], color=GOOD, linewidth=1.3, **ring)
    axes.set_xlim(left=0)
