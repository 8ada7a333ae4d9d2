"""Law: whether an answer hangs on the rows that are asked with it is measured; a form that takes its ranges from each batch is told."""

from __future__ import annotations

import numpy as np

from weighbridge.deployment.company import ROWS, company_finding
from weighbridge.findings import Finding
from weighbridge.preprocessing import Arrays


class Alike:
    """Answers each row by itself."""

    def answer(self, arrays: Arrays) -> np.ndarray:
        return np.asarray(arrays.blocks["x"], dtype=np.float64)


class ByCompany(Alike):
    """Rounds to 255 steps of what the batch spans, as dynamic int8 does with what is inside a network."""

    def answer(self, arrays: Arrays) -> np.ndarray:
        values = super().answer(arrays)
        step = np.abs(values).max() / 2
        return np.asarray(np.round(values / step) * step)


def found(session: Alike, n: int = 300) -> Finding:
    values = np.random.default_rng(0).normal(size=(n, 2))
    arrays = Arrays(blocks={"x": values}, target=None, stored_ids=np.array([f"{row:04}" for row in range(n)]))
    return company_finding(session, arrays, scale=1.0, tolerance=1e-3, command="weigh deploy x")  # type: ignore[arg-type]  # answers alike


def test_rows_that_are_answered_alike_in_any_company_pass() -> None:
    assert found(Alike()).verdict == "neutral"
    assert found(Alike()).value == 0.0
    assert found(Alike()).n == ROWS
    assert found(Alike(), n=7).n == 7


def test_a_form_that_rounds_by_the_batch_is_told_with_the_answers_that_changed() -> None:
    one = found(ByCompany())
    assert one.verdict == "limitation"
    assert isinstance(one.value, float)
    assert one.value > 0.1
    assert one.reason is not None
    assert "hang on the rows" in str(one.reason)
