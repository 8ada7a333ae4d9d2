"""Law: whether an answer hangs on the rows that are asked with it is measured; a form that takes its ranges from each batch is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from weighbridge.deployment.company import company_finding
from weighbridge.errors import FormError
from weighbridge.export.company import ROWS
from weighbridge.findings import Finding
from weighbridge.optimization import forms
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


def rows(n: int) -> Arrays:
    values = np.random.default_rng(0).normal(size=(n, 2))
    return Arrays(blocks={"x": values}, target=None, stored_ids=np.array([f"{row:04}" for row in range(n)]))


def found(session: Alike, n: int = 300) -> Finding:
    return company_finding(session, rows(n), scale=1.0, tolerance=1e-3, command="weigh deploy x")  # type: ignore[arg-type]  # answers alike


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


@pytest.mark.parametrize("session", [Alike(), ByCompany()])
def test_dynamic_integers_that_answer_by_company_are_no_form(session: Alike, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.runtime.session.Session.open", lambda _: session)
    contest = SimpleNamespace(some_rows=lambda _: rows(60))
    ground = SimpleNamespace(encoder=SimpleNamespace(learnt=SimpleNamespace(kind="category", std=1.0)))
    if isinstance(session, ByCompany):
        with pytest.raises(FormError, match="moves by up to"):
            forms._refuse_company(Path("model.onnx"), contest, ground)  # type: ignore[arg-type]  # what it reads of both
    else:
        forms._refuse_company(Path("model.onnx"), contest, ground)  # type: ignore[arg-type]  # what it reads of both
