"""One finding as a line of the balance sheet: every part said in the report's language, ready for a screen or a page."""

from __future__ import annotations

from dataclasses import dataclass

from weighbridge.findings import Finding, Message, Reference
from weighbridge.report.verdict import width
from weighbridge.report.whisker import Whisker, as_number, whisker
from weighbridge.report.words import Language, difference, interval, number, plain, plain_number, translate, word


@dataclass(frozen=True, kw_only=True)
class Line:
    """A finding in words; a part that the finding does not have is "".

    Attributes:
        compared: what the value is compared with and that one's value ("gradient boosting 0.876").
        difference: the paired difference with its interval and p-value, where one was taken.
        whisker: where to draw value, interval and reference; ends holds the words at both ends of its scale.
        spoken: the drawing in words, for who can not see it.
    """

    key: str
    title: str
    value: str
    interval: str
    n: str
    compared: str
    difference: str
    reason: str
    method: str
    source: str
    evidence: tuple[str, ...]
    command: str
    headline: bool
    whisker: Whisker | None
    ends: tuple[str, str]
    spoken: str


def line(finding: Finding, language: Language) -> Line:
    """Return the finding as a line in `language`."""
    drawing = whisker(finding)
    parts = {
        "value": number(finding.value, finding.unit, language, spread=width(finding)),
        "interval": interval(*finding.interval, finding.value, finding.unit, language) if finding.interval else "",
        "compared": _compared(finding, language),
    }
    return Line(
        key=plain(finding.key),
        title=translate(finding.title, language),
        n=_n(finding, language),
        difference=_difference(finding.reference, finding.unit, language) if finding.reference else "",
        reason=translate(finding.reason, language),
        method=translate(finding.method, language),
        source=plain(finding.source),
        evidence=tuple(plain(name) for name in finding.evidence),
        command=plain(finding.command),
        headline=finding.headline,
        whisker=drawing,
        ends=_ends(drawing, finding.unit, language),
        spoken=_spoken(parts, language),
        **parts,
    )


def _n(finding: Finding, language: Language) -> str:
    if finding.n is None:
        return ""
    if finding.n_of == "rows":
        return f"n = {finding.n:,}"
    return f"n = {finding.n:,} {word(finding.n_of, language)}"


def _compared(finding: Finding, language: Language) -> str:
    if finding.reference is None:
        return ""
    name = translate(finding.reference.name, language)
    value = as_number(finding.reference.value)
    return name if value is None else f"{name} {number(value, finding.unit, language, spread=width(finding))}".strip()


def _difference(reference: Reference, unit: str, language: Language) -> str:
    if reference.difference is None:
        return ""
    low_high = reference.difference_interval
    spread = low_high[1] - low_high[0] if low_high else None
    text = difference(reference.difference, unit, language, spread=spread)
    if low_high:
        low, high = (difference(end, unit, language, spread=spread) for end in low_high)
        text += " " + translate(Message("({low} to {high})", low=low, high=high), language)
    return text + _p_value(reference.p_value)


def _p_value(p_value: float | None) -> str:
    if p_value is None:
        return ""
    return ", p < 0.001" if p_value < 0.001 else f", p = {p_value:.2g}"


def _ends(drawing: Whisker | None, unit: str, language: Language) -> tuple[str, str]:
    """Return the words at the two ends of the scale, as short as they can be."""
    if drawing is None:
        return ("", "")
    if unit in ("s", "bytes"):
        return (number(drawing.low, unit, language), number(drawing.high, unit, language))
    low, high = (f"{end:.6g}" if abs(end) < 1e6 else plain_number(end) for end in (drawing.low, drawing.high))
    return (low.replace("-", "\N{MINUS SIGN}"), high.replace("-", "\N{MINUS SIGN}"))


def _spoken(parts: dict[str, str], language: Language) -> str:
    said = [parts["value"]]
    if parts["interval"]:
        said.append(translate(Message("95 % interval {interval}", interval=parts["interval"]), language))
    if parts["compared"]:
        said.append(translate(Message("compared with {reference}", reference=parts["compared"]), language))
    return ", ".join(said)
