"""The simplest dialects, for workers of the tests: nothing heavy is imported here."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from weighbridge.errors import InputError
from weighbridge.runtime import Model
from weighbridge.serving.dialects import DIALECTS, Rows
from weighbridge.serving.limits import Limits


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
