"""Drawings of explanations: heat maps over pictures, coloured words, bars of columns; what each method's checks say stands beside it.

As in plots.py: one drawing for light, dark and print, nothing told by colour alone. What speaks for the answer is full, what speaks against
it is a dash in a map, underlined in a text, hollow as a bar. A method that fails its check is crossed out. Rows that were answered
wrongly are marked by a cross.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weighbridge.findings import Message
from weighbridge.report.plots import finite
from weighbridge.report.words import Say, number, plain

WIDTH = 331.0  # as other drawings: about a phone
MOST_METHODS = 3  # those that hold first
MOST_ROWS = 6
LEVELS = 4  # shades of a map
FAINT = 0.1  # weights below it, relative to the largest, are not drawn
LONGEST = 30  # characters of a column with its value
MOST_PIECES = 900  # of all texts
_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
STATUS = {
    "holds": Message("{method}: holds, {lead} ahead of chance ({low} to {high})"),
    "fails": Message("{method}: fails, {lead} ahead of chance ({low} to {high})"),
    "open": Message("{method}: unsure, {lead} ahead of chance ({low} to {high})"),
}


def images(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw up to six pictures side by side and, a strip for each method, how much each of their squares weighs."""
    rows = [row for row in evidence["rows"] if "image" in row][:MOST_ROWS]
    methods = evidence["methods"][:MOST_METHODS]
    if not rows or not methods:
        return ""
    gap = 5.0
    size = (WIDTH - gap * (MOST_ROWS - 1)) / MOST_ROWS
    lefts = [place * (size + gap) for place in range(len(rows))]
    parts = [_picture(row, left, size) for row, left in zip(rows, lefts, strict=True)]
    top = size + 24
    for method in methods:
        parts.append(_text(0, top + 9, _said(method, say), size=8.5, colour="var(--lim)" if method["status"] == "fails" else "var(--ink)"))
        top += 14
        parts += _strip(rows, lefts, top, size, method)
        top += size + 8
    return _svg("explanation-images", top - 4, parts)


def columns(evidence: Mapping[str, Any], say: Say) -> str:
    """Draw up to six rows, each with its columns that weigh most as bars to the right (for the answer) or left (against it)."""
    rows = [row for row in evidence["rows"] if row.get("columns")][:MOST_ROWS]
    if not rows or not evidence["methods"]:
        return ""
    method = evidence["methods"][0]
    parts = [_text(0, 9, _said(method, say), size=8.5, colour="var(--lim)" if method["status"] == "fails" else "var(--ink)")]
    top, middle, reach = 18.0, 252.0, 76.0
    for row in rows:
        parts.append(_text(0, top + 9, _answered(row, 60), size=8.5, bold=True))
        top += 14
        for column in row["columns"]:
            weight = float(column["weights"][method["method"]])
            if not finite(weight):
                raise ValueError("a weight is not finite")
            words = f"{column['column']} = {column['value']}" if column["value"] else str(column["column"])
            parts.append(_text(0, top + 8, plain(words, LONGEST), size=8))
            parts.append(_bar(middle, top, max(-1.0, min(1.0, weight)) * reach))
            top += 12
        parts.append(f'<path d="M{middle:g} {top - 12 * len(row["columns"]) - 1:g}V{top:g}" stroke="var(--line)" stroke-width="1"/>')
        top += 6
    return _svg("explanation-columns", top, parts)


def words(evidence: Mapping[str, Any], say: Say) -> str:
    """Return up to six texts as HTML, each word shaded by its weight; all text is escaped."""
    from markupsafe import escape

    rows = [row for row in evidence["rows"] if row.get("texts")][:MOST_ROWS]
    if not rows or not evidence["methods"]:
        return ""
    method, left = evidence["methods"][0], MOST_PIECES
    fails = ' class="failed"' if method["status"] == "fails" else ""
    parts = [f'<div class="words"><p{fails}>{escape(_said(method, say))}</p>']
    for row in rows:
        parts.append(f"<p><b>{escape(_answered(row, 120))}</b></p>")
        for text in row["texts"]:
            pieces = text["pieces"][: max(0, left)]
            left -= len(pieces)
            shown = "".join(_word(str(piece["text"]), piece["weights"], method["method"]) for piece in pieces)
            parts.append(f'<p dir="auto">{shown}</p>')
    return "".join([*parts, "</div>"])


def _word(text: str, weights: Mapping[str, Any] | None, method: str) -> str:
    from markupsafe import escape

    weight = 0.0 if weights is None else float(weights[method])
    said = str(escape(plain(text, 2000)))
    if not finite(weight) or abs(weight) < FAINT:
        return said
    return f'<i class="{"for" if weight > 0 else "against"}" style="--w:{min(100, round(abs(weight) * 60))}%">{said}</i>'


def _said(method: Mapping[str, Any], say: Say) -> str:
    """Return the method's name with what its check says."""
    name = say(Message(str(method["name"])))
    values = {key: number(float(method[key]), "share") for key in ("lead", "low", "high")}
    return say(Message(STATUS[method["status"]].template, method=name, **values))


def _answered(row: Mapping[str, Any], longest: int) -> str:
    """Return truth and answer, with a cross where they differ."""
    truth, predicted = plain(str(row["truth"]), longest // 2), plain(str(row["predicted"]), longest // 2)
    if row["right"] is None:
        return f"{predicted} ({truth})"
    return f"✓ {predicted}" if row["right"] else f"✗ {predicted} ({truth})"


def _picture(row: Mapping[str, Any], left: float, size: float) -> str:
    """Return a picture with the answer under it."""
    source = str(row["image"]["picture"])
    if not _PICTURE.fullmatch(source):
        raise ValueError("not a small picture")
    colour = "var(--lim)" if row["right"] is False else "var(--ink)"
    return (
        f'<image x="{left:.1f}" y="0" width="{size:.1f}" height="{size:.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{source}"/>' + _text(left, size + 12, _answered(row, 22), size=8.5, colour=colour)
    )


def _strip(rows: Sequence[Mapping[str, Any]], lefts: Sequence[float], top: float, size: float, method: Mapping[str, Any]) -> Iterator[str]:
    """Yield the maps of a method, a path for each sign and shade of all pictures together."""
    paths: dict[tuple[bool, int, float], list[str]] = {}
    for row, left in zip(rows, lefts, strict=True):
        down, across = row["image"]["edges"]["down"], row["image"]["edges"]["across"]
        for place, line in enumerate(row["image"]["maps"][method["method"]]):
            high = round((down[place + 1] - down[place]) * size, 1)
            for where, weight in enumerate(line):
                if not finite(weight) or abs(weight) < FAINT:
                    continue
                wide, level = (across[where + 1] - across[where]) * size, max(1, min(LEVELS, math.ceil(abs(weight) * LEVELS)))
                cell = f"M{left + across[where] * size:.1f} {top + (down[place] + down[place + 1]) / 2 * size:.1f}h{wide:.1f}"
                paths.setdefault((weight > 0, level, high), []).append(cell)
        yield f'<rect x="{left:.1f}" y="{top:.1f}" width="{size:.1f}" height="{size:.1f}" fill="none" stroke="var(--line)"/>'
    for (positive, level, high), cells in sorted(paths.items()):
        stroke, thick = ("var(--adv)", high) if positive else ("var(--lim)", high / 3)  # a square, or a dash a third as high
        opacity = level / LEVELS
        yield f'<path d="{"".join(cells)}" stroke="{stroke}" stroke-width="{thick:.1f}" stroke-opacity="{opacity:.2f}" fill="none"/>'
    if method["status"] == "fails":
        end, low = lefts[-1] + size, top + size
        cross = f"M0 {top:.1f}L{end:.1f} {low:.1f}M0 {low:.1f}L{end:.1f} {top:.1f}"
        yield f'<path d="{cross}" stroke="var(--lim)" stroke-width="1.5"/>'


def _bar(middle: float, top: float, length: float) -> str:
    if length >= 0:
        return f'<rect x="{middle:g}" y="{top:g}" width="{length:.1f}" height="8" fill="var(--adv)"/>'
    return f'<rect x="{middle + length:.1f}" y="{top + 0.5:g}" width="{-length:.1f}" height="7" fill="none" stroke="var(--lim)"/>'


def _text(x: float, y: float, words: str, *, size: float, colour: str = "var(--ink)", bold: bool = False) -> str:
    from markupsafe import escape

    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"{weight}>{escape(plain(words, 120))}</text>'


def _svg(name: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg class="plot" viewBox="0 0 {WIDTH:g} {height:.0f}" role="img" aria-labelledby="caption-{name}">'
    return head + "".join(parts) + "</svg>"
