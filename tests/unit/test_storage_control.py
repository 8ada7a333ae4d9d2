"""Law: a signal is a request that work looks at where it is safe to leave; work that can not look is left where it stands."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import numpy as np
import pytest

from weighbridge.errors import Stopped
from weighbridge.storage.control import StopRequest, stop_on_signals


def test_a_signal_outside_is_a_request_and_nothing_else() -> None:
    with stop_on_signals(StopRequest()) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        with pytest.raises(Stopped) as caught:
            stop.check()
    assert caught.value.exit_code == 128 + signal.SIGTERM


def interrupted(stop: StopRequest) -> None:
    with stop.at_once("the fits before are kept"):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def interrupted_as_a_library_would_hide_it(stop: StopRequest) -> None:
    with stop.at_once():
        for _ in range(10):
            with contextlib.suppress(Exception):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)


def test_inside_it_leaves_at_once_and_after_it_is_a_request_again() -> None:
    with stop_on_signals(StopRequest()) as stop:
        with pytest.raises(Stopped, match="Ctrl-C; the fits before are kept"):
            interrupted(stop)
        stop.signal = None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop


def test_a_library_that_goes_on_after_any_failure_is_left_all_the_same() -> None:
    with stop_on_signals(StopRequest()) as stop, pytest.raises(Stopped):
        interrupted_as_a_library_would_hide_it(stop)


def test_a_request_that_came_before_leaves_before_the_work_begins() -> None:
    stop = StopRequest()
    stop.signal = signal.SIGINT
    with pytest.raises(Stopped), stop.at_once():
        pytest.fail("the work began")


def test_a_fit_of_scikit_learn_is_left_between_two_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble._hist_gradient_boosting import gradient_boosting

    grown: list[int] = []

    class Grower(gradient_boosting.TreeGrower):  # type: ignore[misc]
        def grow(self) -> None:
            grown.append(1)
            if len(grown) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            super().grow()

    monkeypatch.setattr(gradient_boosting, "TreeGrower", Grower)
    random = np.random.default_rng(0)
    model = gradient_boosting.HistGradientBoostingRegressor(max_iter=1000, early_stopping=False)
    rows, target = random.normal(size=(500, 4)), random.normal(size=500)
    with stop_on_signals(StopRequest()) as stop, pytest.raises(Stopped), stop.at_once():
        model.fit(rows, target)
    assert len(grown) == 5
