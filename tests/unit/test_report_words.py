# ruff: noqa: E501 - a case a line reads as the table that it is
"""A number is shown with the digits that its interval is worth, and no sentence that can reach a report lacks its Chinese."""

from __future__ import annotations

import ast
import math
import re
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import weighbridge.report
from weighbridge.errors import UsageError
from weighbridge.findings import Finding, Message, Reference
from weighbridge.report.catalogue_zh import REPORT, VALUES, ZH
from weighbridge.report.line import line
from weighbridge.report.whisker import reference_value, whisker
from weighbridge.report.words import difference, duration, interval, known_language, number, plain, points, translate

PACKAGE = Path(weighbridge.report.__file__).parent.parent


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.9312, "share", "0.931"), (1, "share", "1.000"), (371_000, "bytes", "371 KB"), (1_500_000, "bytes", "1.50 MB"), (999, "bytes", "999 B"),
        (43.1e-6, "s", "43.1 µs"), (0.0123, "s", "12.3 ms"), (12.42, "s", "12.4 s"), (250.4, "s", "4 min 10 s"), (7500.0, "s", "2 h 5 min"),
        (3 * 86400 + 4 * 3600, "s", "3 d 4 h"), (3.9, "W h", "3.9 Wh"), (10_000, "rows", "10,000 rows"), (23_146, "", "23,146"), (0.001, "", "0.001"),
        (2.4e-7, "", "2.4e−7"), (-0.5, "", "−0.5"), (True, "", "true"), ("cnn", "", "cnn"), (None, "", ""), (0, "bytes", "0 B"), (0.0, "s", "0 ns"),
    ],
)  # fmt: skip
def test_a_number_is_shown_in_its_unit(value: float | str | None, unit: str, shown: str) -> None:
    assert number(value, unit) == shown


@pytest.mark.parametrize(
    ("low", "high", "value", "unit", "shown"),
    [
        (0.926, 0.936, 0.931, "share", "0.926 – 0.936"), (0.9991, 0.9999, 0.9995, "share", "0.9991 – 0.9999"), (47.8, 60.1, 53.5, "", "47.8 – 60.1"),
        (41.2e-6, 46.0e-6, 43.1e-6, "s", "41.2 – 46.0 µs"), (200.0, 260.0, 250.4, "s", "3 min 20 s – 4 min 20 s"), (-1.9, 2.8, 0.4, "", "−1.90 – 2.80"),
        (900, 1_200, 1_000, "bytes", "0.90 – 1.20 KB"), (36.64e-6, 36.87e-6, 36.72e-6, "s", "36.64 – 36.87 µs"),
    ],
)  # fmt: skip
def test_an_interval_has_the_digits_of_its_value(low: float, high: float, value: float, unit: str, shown: str) -> None:
    assert interval(low, high, value, unit) == shown


def test_differences_carry_a_sign_and_points_do_not() -> None:
    assert difference(0.055, "share") == "+0.055"
    assert difference(-1.25, "") == "−1.25"
    assert (points(-0.055), points(0.0004)) == ("5.5", "0.04")


def test_times_are_chinese_in_a_chinese_report() -> None:
    assert duration(250.4, "zh") == "4 分 10 秒"
    assert number(1797, "rows", "zh") == "1,797 行"


@given(
    st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18),
    st.sampled_from(["", "share", "s", "bytes", "rows", "W h"]),
)
def test_every_finite_number_has_words(value: float, unit: str) -> None:
    assert number(value, unit)
    assert number(value, unit, "zh", spread=1e-3)


@given(
    st.floats(-1e9, 1e9),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.none() | st.floats(-1e9, 1e9),
    st.sampled_from(["", "share", "s", "bytes"]),
)
def test_a_whisker_holds_value_interval_and_reference(value: float, below: float, above: float, other: float | None, unit: str) -> None:
    finding = Finding(
        key="evaluation.x", title=Message("x"), value=value, interval=(value - below, value + above), unit=unit,
        reference=None if other is None else Reference(name=Message("y"), value=other),
    )  # fmt: skip
    drawing = whisker(finding)
    assert drawing is not None
    assert drawing.left is not None
    assert drawing.right is not None
    assert 0 <= drawing.left <= drawing.value <= drawing.right <= 1
    assert drawing.reference is None or 0 <= drawing.reference <= 1
    assert drawing.low < drawing.high
    assert math.isfinite(drawing.high)
    assert line(finding, "zh").spoken


def test_a_share_is_drawn_within_0_and_1() -> None:
    drawing = whisker(Finding(key="e.x", title=Message("x"), value=0.99, interval=(0.97, 1.0), unit="share"))
    assert drawing is not None
    assert drawing.high == 1


def test_a_value_that_is_the_difference_itself_is_drawn_against_nothing() -> None:
    reference = Reference(name=Message("linear"), value=0.95, difference=0.02)
    assert reference_value(Finding(key="e.x", title=Message("x"), value=0.02, reference=reference)) == 0.0


def test_text_can_not_drive_a_terminal_or_turn_a_line_round() -> None:
    assert plain("a\x1b[31mb\u202ec\x00d") == "a\ufffd[31mb\ufffdc\ufffdd"
    assert len(plain("x" * 1000)) == 400


def test_a_language_that_is_not_known_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="known: en, zh"):
        known_language("zn")


def test_what_is_watched_of_a_value_is_said_in_chinese_and_an_unknown_trait_as_it_is() -> None:
    from weighbridge.runtime.fixed_features import image_features, text_features
    from weighbridge.runtime.inner import MOST_AXES, REST, trait_of

    known = [*image_features(np.zeros((1, 28, 28))), *text_features([""]), *map(trait_of, range(1, MOST_AXES + 1)), trait_of(REST)]
    for trait in known:
        said = translate(Message("moved: alarm at row {row} ({traits})", row=7, traits=f"{trait}, values dog"), "zh")
        assert said.endswith("、values dog）")
        assert trait not in said
    assert "cell 1,1, class" in translate(Message("moved: alarm at row {row} ({traits})", row=7, traits="cell 1,1, class"), "en")


def test_words_inside_a_message_are_translated_too_but_a_class_keeps_its_name() -> None:
    said = translate(
        Message(
            "{model} is not shown to be needed here: the data can not tell it from {baseline}.",
            model="A deep model",
            baseline="linear regression",
        ),
        "zh",
    )
    assert "深度模型" in said
    assert "线性回归" in said
    assert translate(Message("{title}: {value} (no interval).", title="data", value="right"), "zh") == "data：right（无区间）。"


@pytest.mark.parametrize(
    "message", [Message("{absent}", present=1), Message("{x.__class__}", x="a"), Message("{0}", x=1), Message("{", x=1)]
)
def test_a_template_that_does_not_fit_is_shown_as_it_is(message: Message) -> None:
    assert translate(message, "zh")
    assert translate(message, "en")


def test_every_message_has_its_chinese() -> None:
    """Translations of the stages stand in catalogue_zh_stages.py, those of the report in catalogue_zh.py."""
    missing = sorted({f"{file}: {template!r}" for file, template in _templates() if template and template not in ZH})
    assert not missing, f"{len(missing)} templates without Chinese:\n" + "\n".join(missing)


@pytest.mark.parametrize("template", sorted(ZH))
def test_a_translation_has_the_same_placeholders(template: str) -> None:
    assert _names(ZH[template]) == _names(template)


def test_no_translation_hides_another() -> None:
    assert {key: (REPORT[key], VALUES[key]) for key in REPORT.keys() & VALUES.keys() if REPORT[key] != VALUES[key]} == {}


def _templates() -> Iterator[tuple[str, str]]:
    """Yield (file, template) of each literal first argument of Message(...) in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Message" and node.args:
                yield from ((str(path.relative_to(PACKAGE)), text) for text in _literals(node.args[0]))


def _literals(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def test_what_is_counted_has_its_chinese_word() -> None:
    """`n_of` is a bare word of a finding, not a Message: each that the package names is known."""
    package = Path(weighbridge.__file__).parent
    named = {found for path in package.rglob("*.py") for found in re.findall(r'n_of="([a-z]+)"', path.read_text(encoding="utf-8"))}
    assert named - {"rows"} <= set(VALUES)
