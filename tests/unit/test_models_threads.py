"""Law: work is done with the threads that finish it soonest, and threads that stand in each other's way are given up."""

from __future__ import annotations

import os
import time

import pytest
from threadpoolctl import threadpool_info

from weighbridge.models.threads import quickest_threads


def blas_threads() -> int:
    return max((one["num_threads"] for one in threadpool_info()), default=1)


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.skipif(CORES < 2, reason="one core has one answer")
def test_threads_that_hinder_each_other_are_given_up_and_those_that_help_are_kept() -> None:
    import sklearn.ensemble  # noqa: F401 - brings a pool of threads

    assert quickest_threads(lambda: time.sleep(0.001 if blas_threads() == 1 else 0.05)) == 1
    assert quickest_threads(lambda: time.sleep(0.05 if blas_threads() == 1 else 0.001)) == CORES


@pytest.mark.skipif(CORES < 2, reason="one core has one answer")
def test_threads_that_take_many_times_as_long_are_tried_once() -> None:
    turns = []
    quickest_threads(lambda: turns.append(1) or time.sleep(0.001 if len(turns) % 2 else 0.1))
    assert len(turns) == 2
