"""Evidence as inline SVG: small, the same bytes every time, text kept as text, and every colour a CSS variable of the page.

matplotlib draws with sentinel colours that `_inline` turns into variables, so one drawing serves light, dark and print. Nothing is told by
colour alone: training is dashed, validation solid; references are dashed; a heat map's diagonal is where truth and prediction agree.
Figures are 4.6 inches (331 units) wide, about the width of a phone, so that text stays readable there.
"""

from __future__ import annotations

import io
import itertools
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from weighbridge.findings import Message
from weighbridge.report.words import Say, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_IN = 4.6
MOST_BYTES = 60_000
MOST_POINTS = 800
NUMBERED_CLASSES = 12
_LABEL_CHARS = 14
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}")
# Sentinels that no other part of a drawing uses, and the variables they stand for.
INK, SOFT, LINE, GOOD, BAD, CARD = "#010203", "#020304", "#030405", "#040506", "#050607", "#060708"
_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", GOOD: "var(--adv)", BAD: "var(--lim)", CARD: "var(--bg)"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 8.5, "path.simplify": False, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": LINE, "axes.labelcolor": SOFT, "text.color": INK, "xtick.color": LINE,
    "ytick.color": LINE, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": LINE, "grid.linewidth": 0.6, "axes.facecolor": "none", "figure.facecolor": "none", "axes.formatter.useoffset": False,
    "axes.unicode_minus": True, "xtick.major.size": 0, "ytick.major.size": 0, "font.family": ["DejaVu Sans"], "lines.linewidth": 1.6,
}  # fmt: skip

Draw = Callable[[Any, Say], str]


def drawn(draw: Draw, evidence: Any, say: Say) -> str:
    """Return the SVG of `evidence`, or "" where it is absent, does not have the promised form, or would be too large."""
    if evidence is None:
        return ""
    try:
        svg = draw(evidence, say)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        return ""
    return svg if len(svg.encode("utf-8")) < MOST_BYTES else ""


def training_curve(history: Mapping[str, Any], say: Say, *, metric: str = "loss") -> str:
    """Draw training (dashed) and validation (solid) values of `metric` by epoch; a ring and a line mark the kept epoch."""
    epochs = history["epochs"]
    names = {side: f"{side}_{metric}" for side in ("train", "validation")}
    lines = {
        side: [(row["epoch"], row[name]) for row in epochs if finite(row["epoch"]) and finite(row.get(name))]
        for side, name in names.items()
    }
    if not any(lines.values()):
        return ""
    with drawing(2.5) as (figure, save):
        axes = figure.add_subplot()
        best = history.get("best_epoch")
        if best is not None and finite(best):
            axes.axvline(best, color=SOFT, linewidth=1, linestyle=(0, (1, 2)))
        for side, colour, dash in (("train", SOFT, (0, (4, 2))), ("validation", GOOD, "solid")):
            points = thinned(lines[side], 400)
            mark = "o" if len(points) == 1 else None
            axes.plot([x for x, _ in points], [y for _, y in points], color=colour, linestyle=dash, marker=mark)
        for x, y in (point for point in lines["validation"] if point[0] == best):
            axes.plot([x], [y], linestyle="none", marker="o", markersize=7, markerfacecolor=CARD, markeredgecolor=GOOD, markeredgewidth=1.8)
        axes.set_xlabel(say(Message("epoch")))
        axes.locator_params(axis="x", integer=True, nbins=7)
        axes.margins(x=0.03)
        return save(f"training-{metric}")


def curve_metrics(history: Any) -> tuple[str, ...]:
    """Return what a history holds validation values of, the loss first, at most three."""
    if not isinstance(history, Mapping) or not isinstance(history.get("epochs"), list):
        return ()
    rows = [row for row in history["epochs"] if isinstance(row, Mapping)]
    keys = dict.fromkeys(key for row in rows for key in row if key.startswith("validation_") and finite(row[key]))
    names = [key.removeprefix("validation_") for key in keys]
    return tuple(sorted(names, key=lambda name: name != "loss"))[:3]


def confusion(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw a heat map, rows are the truth; shade is the square root of the share of the row, so that few mistakes still show."""
    import numpy as np

    classes = [str(name) for name in evidence["classes"]]
    counts = np.asarray(evidence["counts"], dtype=np.float64)
    size = len(classes)
    if counts.shape != (size, size) or size < 2 or not np.isfinite(counts).all() or (counts < 0).any():
        return ""
    share = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    levels = np.ceil(share * (10 if size <= 25 else 5)) / (10 if size <= 25 else 5)
    with drawing(min(4.5, 0.9 + 0.5 * size)) as (figure, save):
        axes = figure.add_subplot()
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
        axes.grid(visible=False)
        axes.set_xlabel(say(Message("predicted")))
        axes.set_ylabel(say(Message("truth")))
        _class_ticks(axes, classes)
        figure.draw_without_rendering()  # only now the size of a cell is known
        cell_pt = axes.get_window_extent().height / size * 72 / figure.dpi
        for level in np.unique(levels[levels > 0]):
            _cells(axes, (levels == level) & np.eye(size, dtype=bool), cell_pt, GOOD, float(level))
            _cells(axes, (levels == level) & ~np.eye(size, dtype=bool), cell_pt, BAD, float(level))
        if size <= NUMBERED_CLASSES:
            _numbers(axes, counts, levels)
        return save("confusion")


def reliability(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the share that was right against the stated confidence with its band; below, how many rows had that confidence."""
    curve = [point for point in evidence["curve"] if all(finite(point.get(name)) for name in ("confidence", "accuracy"))]
    if not curve:
        return ""
    x = [point["confidence"] for point in curve]
    with drawing(3.6) as (figure, save):
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        upper.plot([0, 1], [0, 1], color=SOFT, linestyle=(0, (3, 2)), linewidth=1)
        low, high = ([point.get(name, point["accuracy"]) for point in curve] for name in ("low", "high"))
        upper.fill_between(x, low, high, color=GOOD, alpha=0.18, linewidth=0)
        upper.plot(x, [point["accuracy"] for point in curve], color=GOOD, marker="o", markersize=3.5)
        upper.set_ylabel(say(Message("share that was right")))
        upper.set(xlim=(min(0.0, *x) if min(x) < 0.4 else 0.4, 1.01), ylim=(0, 1.02))
        histogram = evidence.get("histogram") or {"edges": [], "counts": []}
        edges, counts = histogram["edges"], histogram["counts"]
        if counts and len(edges) == len(counts) + 1:
            lower.bar(edges[:-1], counts, width=[b - a for a, b in itertools.pairwise(edges)], align="edge", color=SOFT, alpha=0.55)
        lower.set_ylabel(say(Message("rows")))
        lower.set_xlabel(say(Message("stated confidence")))
        lower.locator_params(axis="y", nbins=2)
        return save("reliability")


def predicted_against_actual(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw at most 800 rows as dots; on the dashed line a prediction is exact."""
    pairs = [(a, p) for a, p in zip(evidence["actual"], evidence["predicted"], strict=True) if finite(a) and finite(p)]
    if not pairs:
        return ""
    pairs = thinned(pairs, MOST_POINTS)
    ends = [min(min(pair) for pair in pairs), max(max(pair) for pair in pairs)]
    with drawing(3.6) as (figure, save):
        axes = figure.add_subplot()
        axes.plot(ends, ends, color=SOFT, linestyle=(0, (3, 2)), linewidth=1)
        style: Any = {"marker": "o", "markersize": 3.2, "markerfacecolor": GOOD, "markeredgewidth": 0, "linestyle": "none", "alpha": 0.5}
        axes.plot([a for a, _ in pairs], [p for _, p in pairs], **style)
        axes.set_xlabel(say(Message("actual")))
        axes.set_ylabel(say(Message("predicted")))
        return save("residuals")


def class_balance(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw the test rows of each class, from the row sums of a confusion matrix, as bars with their counts."""
    classes = [str(name) for name in evidence["classes"]]
    rows = [sum(counts) for counts in evidence["counts"]]
    if len(rows) != len(classes) or not 2 <= len(classes) <= 50 or not all(finite(count) for count in rows):
        return ""
    many = len(classes) > 20
    with drawing(max(1.3, (0.12 if many else 0.17) * len(classes) + 0.5)) as (figure, save):
        axes = figure.add_subplot()
        axes.barh(range(len(classes)), rows, color=SOFT, alpha=0.55, height=0.72)
        axes.grid(visible=False, axis="y")
        for place, count in enumerate(rows):
            axes.text(count, place, f" {count:,.0f}", va="center", fontsize=6.5 if many else 7.5, color=INK)
        axes.set_yticks(range(len(classes)), [_short(name) for name in classes], fontsize=6.5 if many else 8.5)
        axes.set(ylim=(len(classes) - 0.4, -0.6), xlim=(0, max(rows) * 1.14 or 1))
        axes.locator_params(axis="x", nbins=5, integer=True)
        axes.set_xlabel(say(Message("rows")))
        return save("class-balance")


@contextmanager
def drawing(height_in: float) -> Iterator[tuple[Figure, Callable[[str], str]]]:
    """Give a figure without pyplot and the function that saves it; matplotlib's settings are as before afterwards."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # `plt.style` and pyplot are never touched; missing glyphs matter not, since the browser picks the font.
    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, lambda name: _saved(figure, name)


def _saved(figure: Figure, name: str) -> str:
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": f"weighbridge-{name}"}):
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(target.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Return matplotlib's document as an element of a page: no prologue, no far-reaching styles, short numbers, colours as variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]+)"', svg)
    head = f'<svg class="plot" viewBox="{box.group(1) if box else ""}" role="img" aria-labelledby="caption-{name}">'
    svg = re.sub(r"<svg[^>]*>", head, svg, count=1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: _LONG_NUMBER.sub(lambda found: f"{float(found.group()):.1f}", tag.group()), svg)
    svg = _named(_hoisted(svg), name)
    for sentinel, variable in _VARIABLES.items():
        svg = svg.replace(sentinel, variable)
    svg = svg.replace("xlink:href", "href").replace("stroke-linejoin: miter; ", "").replace("stroke-linejoin: miter", "")
    return re.sub(r"\s*\n\s*", "\n", svg)


def _hoisted(svg: str) -> str:
    """Return the drawing with the style of each repeated marker written once, at its definition."""
    styles = dict(re.findall(r'<use xlink:href="#(\w+)"[^>]*? style="([^"]*)"', svg))
    for mark, style in styles.items():
        svg = re.sub(rf'(<path id="{mark}" d="[^"]*")(?: style="[^"]*")?', rf'\1 style="{style}"', svg)
        svg = re.sub(rf'(<use xlink:href="#{mark}"[^>]*?) style="{re.escape(style)}"', r"\1", svg)
    return svg


def _named(svg: str, name: str) -> str:
    """Return the drawing with ids that no other drawing of the page has; an id that nothing refers to is dropped."""
    used = set(re.findall(r"(?:xlink:href=\"#|url\(#)([\w-]+)", svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found.group(1)}"' if found.group(1) in used else "", svg)
    return re.sub(r"(xlink:href=\"#|url\(#)([\w-]+)", rf"\1{name}-\2", svg)


def _cells(axes: Axes, mask: Any, cell_pt: float, colour: str, level: float) -> None:
    """Fill the cells of `mask` as runs of one broken line each: a few bytes a cell where a rectangle takes a hundred."""
    xs: list[float] = []
    ys: list[float] = []
    for row, inside in enumerate(mask):
        for start, stop in _runs(inside.tolist()):
            xs += [start - 0.5, stop - 0.5, float("nan")]
            ys += [row, row, float("nan")]
    if xs:
        axes.plot(xs, ys, color=colour, linewidth=cell_pt, alpha=0.08 + 0.92 * level, solid_capstyle="butt")


def _runs(inside: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield (first, past the last) of each run of True."""
    start: int | None = None
    for place, yes in enumerate([*inside, False]):
        if yes and start is None:
            start = place
        elif not yes and start is not None:
            yield start, place
            start = None


def _numbers(axes: Axes, counts: Any, levels: Any) -> None:
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            if count:
                colour = CARD if levels[row, column] > 0.55 else INK
                axes.text(column, row, f"{count:,.0f}", ha="center", va="center", fontsize=7.5, color=colour)


def _class_ticks(axes: Axes, classes: Sequence[str]) -> None:
    """Name every class where there is room, else every second, fifth ...; the last step keeps at most 25 names."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, len(classes)) if len(classes) / step <= 25)
    places = range(0, len(classes), step)
    names = [_short(classes[place]) for place in places]
    turned = max(map(len, names)) > (4 if len(places) <= NUMBERED_CLASSES else 2)
    axes.set_yticks(places, names)
    axes.set_xticks(places, names, rotation=90 if turned else 0)


def _short(name: str) -> str:
    return plain(" ".join(name.split()), _LABEL_CHARS)


def thinned(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return at most `most` points, evenly taken, the last one included."""
    if len(points) <= most:
        return points
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
