"""Law: five times the capacity changes little for who is accepted, and who is refused knows it at once. Measured, so the machine is needed.

The same law in simulated time, for models of several kinds: tests/unit/test_serving_batching.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Record
from tests.faults.serving_ground import Callers, ask, fleet_of, write_numbers_package
from weighbridge.serving.asking import Refused
from weighbridge.serving.fleet import Fleet

ROW_S, CALLERS = 0.002, 32  # of work for each row; callers that find the capacity
RAMP_S, MEASURED_S = 2.0, 8.0  # a queue that is as long as bursts may be is empty after the ramp


@dataclass
class Load:
    """Asks that came at random moments, whatever became of those before them."""

    accepted_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)

    @property
    def refused_share(self) -> float:
        return len(self.refused_s) / (len(self.refused_s) + len(self.accepted_s))

    def p99_s(self) -> float:
        return float(np.quantile(self.accepted_s, 0.99))


async def capacity(fleet: Fleet) -> float:
    async with Callers(fleet, "numbers", CALLERS, head={"row_s": ROW_S}, kind="works") as calls:
        await asyncio.sleep(3.0)
    assert not calls.refusals
    return len(calls.replies) / 3.0


async def offered(fleet: Fleet, rate: float) -> Load:
    """Return what became of the asks of MEASURED_S, after those of RAMP_S, at so many a second."""
    load, moments, tasks = Load(), random.Random(0), set[asyncio.Task[None]]()
    begun_s = next_s = time.monotonic()

    async def one() -> None:
        asked_s = time.monotonic()
        counted = asked_s - begun_s > RAMP_S
        try:
            await fleet.ask("numbers", ask(kind="works", row_s=ROW_S))
            into = load.accepted_s
        except Refused:
            into = load.refused_s
        if counted:
            into.append(time.monotonic() - asked_s)

    while next_s - begun_s < RAMP_S + MEASURED_S:
        while next_s <= time.monotonic():
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            next_s += moments.expovariate(rate)
        await asyncio.sleep(max(0.0, min(next_s - time.monotonic(), 0.005)))
    await asyncio.gather(*tasks)
    return load


@pytest.mark.slow
def test_at_five_times_the_capacity_the_accepted_are_nearly_as_fast_and_the_refused_know_it_at_once(tmp_path: Path, record: Record) -> None:
    async def work() -> None:
        fleet = fleet_of()
        await fleet.start({"numbers": write_numbers_package(tmp_path / "package")})
        rate = await capacity(fleet)
        busy, over = await offered(fleet, 0.8 * rate), await offered(fleet, 5 * rate)
        await asyncio.sleep(1.5)  # nobody is refused for a second: the queue takes all again
        rate = (rate + await capacity(fleet)) / 2
        await fleet.drain(10)
        goodput, refusal_ms = len(over.accepted_s) / MEASURED_S / rate, 1e3 * float(np.quantile(over.refused_s, 0.99))
        print(f"capacity {rate:.0f}/s; at 0.8: p99 {1e3 * busy.p99_s():.1f} ms, {busy.refused_share:.2%} refused")
        print(f"at 5: p99 {1e3 * over.p99_s():.1f} ms, goodput {goodput:.2f}, {over.refused_share:.1%} refused in {refusal_ms:.2f} ms")
        assert busy.refused_share <= 0.02
        assert refusal_ms < 10
        assert over.p99_s() <= 2 * busy.p99_s()
        assert goodput >= 0.95
        more = {"goodput": goodput, "refused": busy.refused_share, "refusal_ms": refusal_ms}
        record("serving.overload", over.p99_s() / busy.p99_s(), n=len(over.accepted_s) + len(over.refused_s), **more)

    asyncio.run(work())
