"""What the tests of serving stand on: a tiny package, the simplest dialects, and callers that keep what they were told."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.preprocessing_tables import SECTION, schema, table
from tests.unit.runtime_packages import network, write_package
from weighbridge.errors import InputError
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.runtime import Model
from weighbridge.serving.asking import Ask, Refused, Reply
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.fleet import Fleet
from weighbridge.serving.limits import Limits

HERE = "tests.faults.serving_ground"
IDS = itertools.count()


def write_numbers_package(folder: Path, mark: int = 0) -> Path:
    """`folder` is a package of two numbers and two classes; another `mark`, another package of another model."""
    random = np.random.default_rng(mark)
    columns = {"a": random.normal(mark, 1, 60), "b": random.normal(0, 1 + mark, 60), "label": objects([("no", "yes")[n % 2] for n in range(60)])}
    encoder = Encoder.fit(table(columns), schema({"a": "number", "b": "number", "label": "category"}, "label"), SECTION)
    model = network(encoder)
    model.graph.name = f"numbers {mark}"
    write_package(folder, encoder, columns, model=None, mark=mark)
    return folder


class Doubles:
    """Rows as float64 bytes [n, 2] in, the model's output as float64 bytes [n, 2] out. The head may ask for trouble."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        if head.get("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        if len(body) % 16:
            raise InputError(f"the body has {len(body)} bytes", do="send 16 for each row")
        values = np.frombuffer(body).reshape(-1, 2)
        return Rows(columns={"a": values[:, 0], "b": values[:, 1]}, count=len(values), context=head)

    def write(self, model: Model, context: Any, output: np.ndarray) -> tuple[str, dict[str, str], bytes]:
        return "application/octet-stream", {}, output.tobytes()


class Works(Doubles):
    """The same with work that takes a known time: `batch_s` for a call and `row_s` for each row of it, of the processor or asleep."""

    def write(self, model: Model, context: Any, output: np.ndarray) -> tuple[str, dict[str, str], bytes]:
        time.sleep(context.get("row_s", 0.0) * len(output))
        return super().write(model, context, output)


class Faulty(Doubles):
    """A dialect with mistakes of its own."""

    def read(self, model: Model, head: Mapping[str, Any], body: bytes, limits: Limits) -> Rows:
        raise KeyError("a mistake that names secret-canary")


DIALECTS["doubles"], DIALECTS["works"], DIALECTS["faulty"] = Doubles(), Works(), Faulty()


def fleet_of(limits: Limits | None = None, **more: Any) -> Fleet:
    return Fleet(limits or Limits(), dialects=(HERE,), **more)


def ask(row: tuple[float, float] = (0.5, -0.5), *, kind: str = "doubles", deadline_s: float = 30.0, body: bytes | None = None, **head: Any) -> Ask:
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
