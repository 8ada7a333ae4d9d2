"""Drawing of the scan for planted triggers: how small a change leads into each class, and the smallest one itself.

As in plots.py: one drawing for light, dark and print. A suspected class is told by its place left of the dashed line as well as by colour;
in the picture of the change, a square is the larger the more of its pixel is replaced, filled for light and empty for dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import BAD, CARD, GOOD, INK, LINE, SOFT, drawing, finite
from weighbridge.report.words import Say, plain

MOST_CLASSES = 20
MOST_SIDE = 16  # pixels of the picture; a larger one is drawn by the largest change in each block
MOST_MARKS = 100  # of them, the largest
SEEN = 0.1  # of a pixel that is replaced
LONGEST = 16


def triggers(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the size of the smallest change for each class, the smallest at the top, and beside it what that change is."""
    pairs = zip(evidence["classes"], evidence["pixels"], strict=True)
    sizes = sorted(((str(name), float(size)) for name, size in pairs if finite(size)), key=lambda pair: pair[1])[:MOST_CLASSES]
    if len(sizes) < 3:
        return ""
    limit = float(evidence["suspected_below"])
    with drawing(max(2.0, 0.2 * len(sizes) + 0.8)) as (figure, save):
        bars, picture = figure.subplots(1, 2, width_ratios=[2.2, 1])
        for place, (_, size) in enumerate(sizes):
            bars.plot([0, size], [place, place], color=LINE, linewidth=1.2)
            bars.plot([size], [place], linestyle="none", marker="o", markersize=5, color=BAD if size < limit else GOOD)
        bars.axvline(limit, color=SOFT, linewidth=1.2, linestyle=(0, (3, 2)))
        bars.set_yticks(range(len(sizes)), [plain(name, LONGEST) for name, _ in sizes], fontsize=7)
        bars.set_ylim(len(sizes) - 0.5, -0.5)
        bars.set_xlim(left=0)
        bars.set_xlabel(say(Message("pixels of the smallest change that leads into the class")), fontsize=7)
        _change(picture, evidence["mask"], evidence["pattern"], f"{plain(evidence['smallest'], LONGEST)}")
        return save("triggers")


def _change(axes: Any, mask: Sequence[Sequence[float]], pattern: Sequence[Sequence[Sequence[float]]], name: str) -> None:
    step = -(-max(len(mask), len(mask[0])) // MOST_SIDE)
    high, wide = -(-len(mask) // step), -(-len(mask[0]) // step)
    size, cells = 62 / max(high, wide), list[tuple[float, float, int, int]]()
    for top in range(high):
        for left in range(wide):
            below = range(top * step, min((top + 1) * step, len(mask)))
            y, x = max(
                ((y, x) for y in below for x in range(left * step, min((left + 1) * step, len(mask[0])))),
                key=lambda cell: mask[cell[0]][cell[1]],
            )
            cells.append((mask[y][x], sum(pattern[y][x]) / len(pattern[y][x]), left, top))
    for share, light, left, top in sorted(cells, reverse=True)[:MOST_MARKS]:
        if share >= SEEN:
            axes.plot(
                [left], [top], linestyle="none", marker="s", markersize=max(1.2, size * share**0.5), markeredgewidth=0.8,
                markeredgecolor=INK, markerfacecolor=SOFT if light > 127 else CARD,
            )  # fmt: skip
    axes.set_xlim(-0.5, wide - 0.5)
    axes.set_ylim(high - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(True)
    axes.set_title(name, fontsize=7.5)
