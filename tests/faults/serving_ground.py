"""What the tests of serving stand on: a tiny package, and callers that keep what they were told."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.preprocessing_tables import SECTION, schema, table
from tests.unit.runtime_packages import write_package
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.serving.asking import Ask, Refused, Reply
from weighbridge.serving.fleet import Fleet
from weighbridge.serving.limits import Limits
from weighbridge.storage import sha256_bytes

DIALECT = "tests.faults.serving_dialects"
IDS = itertools.count()


def write_numbers_package(folder: Path, mark: int = 0) -> Path:
    """`folder` is a package of two numbers and two classes; another `mark`, another package of another model."""
    random = np.random.default_rng(mark)
    columns = {
        "a": random.normal(mark, 1, 60),
        "b": random.normal(0, 1 + mark, 60),
        "label": objects([("no", "yes")[n % 2] for n in range(60)]),
    }
    encoder = Encoder.fit(table(columns), schema({"a": "number", "b": "number", "label": "category"}, "label"), SECTION)
    write_package(folder, encoder, columns, model_sha256=sha256_bytes(b"%d" % mark))  # the graph is the same, the encoder is another
    return folder


def fleet_of(limits: Limits | None = None, **more: Any) -> Fleet:
    return Fleet(limits or Limits(), dialects=(DIALECT,), **more)


def ask(
    row: tuple[float, float] = (0.5, -0.5), *, kind: str = "doubles", deadline_s: float = 30.0, body: bytes | None = None, **head: Any
) -> Ask:
    now_s = time.monotonic()
    content = np.array(row, dtype=np.float64).tobytes() if body is None else body
    return Ask(kind=kind, head=head, body=content, request_id=f"r{next(IDS)}", received_s=now_s, deadline_s=now_s + deadline_s)


def probabilities(reply: Reply) -> np.ndarray:
    return np.frombuffer(reply.body).reshape(-1, 2)


@dataclass
class Callers:
    """Callers that ask one row after the other until they are told to stop, and keep each answer or refusal."""

    fleet: Fleet
    name: str
    count: int = 16
    head: dict[str, Any] = field(default_factory=dict)
    kind: str = "doubles"
    replies: list[tuple[float, Ask, Reply]] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    _stop: bool = False

    async def __aenter__(self) -> Callers:
        self._tasks = [asyncio.create_task(self._call(place)) for place in range(self.count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def _call(self, place: int) -> None:
        while not self._stop:
            one = ask((float(place), float(self.asked % 97)), kind=self.kind, **self.head)
            self.asked += 1
            try:
                reply = await self.fleet.ask(self.name, one)
                self.replies.append((one.received_s, one, reply))
            except Refused as refused:
                self.refusals[refused.code] += 1
                await asyncio.sleep(0.001)


def workers_of(fleet: Fleet, name: str) -> list[int]:
    """Return the process ids of a package's workers that are warm."""
    return [worker.process.pid for worker in fleet._posts[name].champion._workers if worker.is_ready]
