"""Numbers and sentences as a reader wants them: units, digits that match the interval, and the language of the report."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from weighbridge.errors import UsageError, did_you_mean
from weighbridge.findings import Message, Scalar

Language = Literal["en", "zh"]
Say = Callable[[Message], str]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
# Control characters could drive a terminal, bidirectional overrides could turn a line round; both are shown as what they are: noise.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
_BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"), (1.0, "B"))
_SHORT_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (0.0, "ns"))
_LONG_TIMES = {"en": ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")), "zh": ((86400, "天"), (3600, "小时"), (60, "分"), (1, "秒"))}
_UNITS_ZH = {"rows": "行", "rows/s": "行/秒", "requests/s": "个请求/秒", "columns": "列", "lines": "行", "repeats": "次", "reads": "次", "runs": "次", "parameters": "个参数", "epochs": "轮", "W h": "Wh", "classes": "类", "steps": "步", "stages": "个阶段", "rounds": "轮", "cases": "例", "files": "个文件", "calls": "次调用", "libraries": "个库"}
_UNITS_EN = {"W h": "Wh"}


def known_language(language: str) -> Language:
    """Return the language. Raises UsageError with the nearest known one."""
    if language not in LANGUAGES:
        raise UsageError(f"there is no report language '{language}'{did_you_mean(language, LANGUAGES)}", do=f"known: {', '.join(LANGUAGES)}")
    return language


def spoken_language(language: str | None, about: Mapping[str, Any]) -> Language:
    """Return the language asked for, else the one in run.json, else English. Raises UsageError."""
    return known_language(language or str(about.get("language") or "en"))


def plain(text: str, longest: int = 400) -> str:
    """Return `text` without characters that could drive a terminal or reorder a line, cut to `longest` with an ellipsis."""
    shown = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def translate(message: Message, language: Language) -> str:
    """Return the message in `language`; a template without translation, or a broken one, stays English.

    String values that are themselves templates or words of a stage ("gradient boosting") are translated too.
    """
    if language == "en":
        return _filled(message, message.template, message.values)
    from weighbridge.report.catalogue_zh import VALUES, ZH
    from weighbridge.report.catalogue_zh_watching import TRAITS

    values = {name: VALUES.get(value, value) if isinstance(value, str) else value for name, value in message.values.items()}
    if isinstance(traits := values.get("traits"), str):
        values["traits"] = "、".join(TRAITS.get(one, one) for one in traits.split(", "))
    return _filled(message, ZH.get(message.template, message.template), values)


def word(text: str, language: Language) -> str:
    """Return a bare word of a finding in `language`, as it is where the catalogue does not know it."""
    if language == "en":
        return plain(text)
    from weighbridge.report.catalogue_zh import VALUES

    return plain(VALUES.get(text, text))


def speaker(language: Language) -> Say:
    """Return the function that says a message in `language`."""
    return lambda message: translate(message, language)


def number(value: Scalar, unit: str = "", language: Language = "en", *, spread: float | None = None) -> str:
    """Return `value` with its unit; `spread` is the width of its interval and decides the digits.

    Shares are shown as they are (0.931), bytes as KB to TB of 1,000, seconds as durations (43 µs, 4 min 10 s).
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return word(value, language)
    if unit == "s":
        return duration(value, language, spread=spread)
    if unit == "bytes":
        factor, name = _bytes_scale(value)
        return f"{_scaled(value, factor, spread)} {name}"
    digits = plain_number(value, unit, spread=spread)
    return digits if unit in ("", "share") else f"{digits} {unit_name(unit, language)}"


def plain_number(value: float | int, unit: str = "", *, spread: float | None = None) -> str:
    """Return the digits alone, without a unit, with thousands separated and a true minus sign."""
    if isinstance(value, int):
        text = f"{value:.3f}" if unit == "share" else f"{value:,}"
    else:
        text = f"{value:,.{_decimals(value, unit, spread)}f}" if _is_readable(value) else _scientific(value)
        text = text.rstrip("0").rstrip(".") if "." in text and spread is None and unit != "share" and "e" not in text else text
    return _true_minus(text)


def interval(low: float, high: float, value: Scalar, unit: str = "", language: Language = "en") -> str:
    """Return `low – high` with as many digits as the value beside it, and the unit once where it is not plain."""
    spread = high - low
    size = _size_of(value, high)
    if unit == "bytes" or (unit == "s" and high < 60):
        factor, name = _bytes_scale(size) if unit == "bytes" else _time_scale(size)
        return f"{_scaled(low, factor, spread, size)} {DASH} {_scaled(high, factor, spread, size)} {name}"
    if unit == "s":
        return f"{duration(low, language)} {DASH} {duration(high, language)}"
    return f"{_matching(low, value, unit, spread)} {DASH} {_matching(high, value, unit, spread)}"


def difference(value: float, unit: str = "", language: Language = "en", *, spread: float | None = None) -> str:
    """Return a signed difference: +0.055 for shares, +1.2 min for times."""
    size = number(abs(value), unit, language, spread=spread)
    return f"{MINUS if value < 0 else '+'}{size}"


def points(value: float) -> str:
    """Return a difference of shares as percentage points without sign: 5.5, 0.04."""
    size = abs(value) * 100
    return f"{size:.2f}" if size < 0.1 else f"{size:.1f}"


def duration(seconds: float, language: Language = "en", *, spread: float | None = None) -> str:
    """Return seconds as 43 µs, 1.2 ms, 12.4 s, 4 min 10 s, 2 h 5 min, 3 d 4 h; below a minute `spread` decides the digits."""
    if abs(seconds) < 60:
        factor, name = _time_scale(seconds)
        return f"{_scaled(seconds, factor, spread)} {'秒' if language == 'zh' and name == 's' else name}"
    scale = _LONG_TIMES[language]
    first = next(index for index, (size, _) in enumerate(scale) if abs(seconds) >= size)
    (large, large_name), (small, small_name) = scale[first], scale[first + 1]
    whole, rest = divmod(round(abs(seconds) / small) * small, large)
    tail = f" {int(rest // small)} {small_name}" if rest else ""
    return _true_minus(f"{'-' if seconds < 0 else ''}{int(whole)} {large_name}{tail}")


def unit_name(unit: str, language: Language = "en") -> str:
    """Return the unit as written in `language`."""
    names = _UNITS_ZH if language == "zh" else _UNITS_EN
    return plain(names.get(unit, unit))


def _filled(message: Message, template: str, values: Mapping[str, Scalar]) -> str:
    """Return the template with its values; a template that does not fit its values is shown as it is, never an error."""
    try:
        return plain(Message(template, **values).render(template), 2000)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        return plain(message.template, 2000)


def _decimals(value: float, unit: str, spread: float | None) -> int:
    """Return decimals: three for shares (more when the interval is narrower), else three significant digits of the value or two of its spread, whichever is more; four where there is no spread."""
    if unit == "share":
        return 4 if 0 < (spread if spread is not None else 1.0) < 0.002 or 0 < abs(value) < 0.001 else 3
    if spread is None or spread <= 0:
        return min(max(3 - _magnitude(value), 0), 6)
    return min(max(1 - _magnitude(spread), 2 - _magnitude(max(abs(value), spread)), 0), 6)


def _scientific(value: float) -> str:
    """Return three significant digits without a padded exponent: 2.4e-7, not 2.4e-07."""
    return re.sub(r"e([+-])0*(\d)", lambda found: f"e{found.group(1).replace('+', '')}{found.group(2)}", f"{value:.3g}")


def _matching(bound: float, value: Scalar, unit: str, spread: float) -> str:
    """Return a bound with the decimals that its value is shown with."""
    beside = float(value) if isinstance(value, float) else bound
    if not _is_readable(bound):
        return _true_minus(_scientific(bound))
    return _true_minus(f"{bound:,.{_decimals(beside, unit, spread)}f}")


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0


def _is_readable(value: float) -> bool:
    return value == 0 or 1e-5 <= abs(value) < 1e9


def _size_of(value: Scalar, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _time_scale(seconds: float) -> tuple[float, str]:
    for smallest, name in _SHORT_TIMES:
        if abs(seconds) >= smallest * 0.9995:
            return smallest or 1e-9, name
    return 1e-9, "ns"


def _bytes_scale(size: float) -> tuple[float, str]:
    return next(((factor, name) for factor, name in _BYTES if abs(size) >= factor), (1.0, "B"))


def _scaled(value: float, factor: float, spread: float | None, beside: float | None = None) -> str:
    """Return value / factor with three significant digits (of `beside` where given), or more where the spread asks for them."""
    size = value / factor
    if spread is None and float(size).is_integer():
        return _true_minus(f"{size:,.0f}")
    width, shown = (spread or 0.0) / factor, abs(value if beside is None else beside) / factor
    decimals = max(2 - _magnitude(max(shown, width)), 1 - _magnitude(width) if width else 0, 0)
    return _true_minus(f"{size:,.{min(decimals, 3)}f}")


def _true_minus(text: str) -> str:
    return text.replace("-", MINUS, 1) if text.startswith("-") else text.replace("e-", f"e{MINUS}")
