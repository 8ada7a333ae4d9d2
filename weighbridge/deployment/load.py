"""The load that a package carries on this machine: measured through the server itself, as its callers would meet it, before it is shipped.

A `weigh serve` is started for the package beside the run, with keys and a state folder that are thrown away, and asked over loopback with
held-out rows as JSON. First how much it does in a closed loop: requests of one row, then requests of several. Then how long a request takes
when requests of one row come at 0.8 of that rate (load_client.py says how latency is counted). Client and server share the machine's
cores, so a client elsewhere leaves the server more of them. What can not be measured is said and stops nothing.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.deployment.load_client import Client, Closed, Opened, arrivals, request_of
from weighbridge.errors import RunError, WeighbridgeError
from weighbridge.runtime.golden import value_json

if TYPE_CHECKING:
    from weighbridge.runtime import Model

SHARE = 0.8
CALLERS = 32  # in a closed loop: enough that no worker waits for a client, few enough that nothing is refused
FEW_CALLERS = 8  # with several rows each
CONNECTIONS = 128  # in an open one; who finds none free waits, and the wait counts
ROWS, MOST_ROWS_BYTES = 64, 1 << 20  # of a request with several rows: the rows and bytes of one call of a worker (serving.limits)
GAIN = 3.0  # about how many times as many rows are answered when they come together
DIFFERENT = 256  # rows that are asked for in turn
PARTS = {"warm": 0.1, "rate": 0.3, "rows": 0.15, "latency": 0.45}  # of the time
BLOCKS = 10
FEWEST = 20  # answers that a figure may rest on
START_S, STOP_S = 60.0, 10.0
NEEDS = ("cryptography", "httptools", "orjson", "prometheus_client", "python_multipart")
READY = "serving  http://127.0.0.1:"


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What was measured. `rows`: in each of the requests of `many`; the others have one; `workers`: processes that answered."""

    workers: int
    rows: int
    single: Closed
    many: Closed
    rate_per_s: float
    paced: Opened


class NotMeasured(Exception):  # noqa: N818 - nothing went wrong with the run
    """Why the load is not measured, in a line."""


def carried(package: Path, model: Model, columns: Mapping[str, np.ndarray], *, seconds: float) -> Carried:
    """Return what a server of the package does on this machine, measured for `seconds`; its start and end come on top.

    Args: columns: canonical values of held-out rows, at least one. Raises NotMeasured.
    """
    from weighbridge.serving.launch import physical_cores

    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise NotMeasured(f"the server needs {', '.join(missing)}: pip install 'weighbridge[serve]'")
    rows = rows_of(model, columns)
    workers = physical_cores()
    with _server(package, workers) as (port, key), ThreadPoolExecutor(1) as thread:  # a notebook's thread has a loop of its own
        measured = thread.submit(asyncio.run, _measured(port, key, rows, seconds))
        try:
            single, several, many, rate_per_s, paced = measured.result()
        except (OSError, TimeoutError) as error:
            raise NotMeasured(f"the server did not answer ({str(error) or type(error).__name__})") from None
        except RunError as error:
            raise NotMeasured(error.what) from None
    return Carried(workers=workers, rows=several, single=single, many=many, rate_per_s=rate_per_s, paced=paced)


def rows_of(model: Model, columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return rows as a caller of /predict sends them in JSON; files are sent whole."""
    types = model.signature
    count = min(DIFFERENT, len(next(iter(columns.values()))))
    return [{name: value_json(columns[name][row], kind) for name, kind in types.items()} for row in range(count)]


def block_rate(closed: Closed) -> tuple[float, tuple[float, float]]:
    """Return answers a second and its 95 % interval, by batch means: Student's over the rates of BLOCKS parts of the time (Law 2015, 9.5).

    Answers come in batches, so single ones do not count as independent. Raises NotMeasured for too few.
    """
    from scipy.stats import t

    if len(closed.answered_s) < FEWEST:
        what = f"{len(closed.answered_s)} answers in {closed.seconds:.2g} s are too few"
        raise NotMeasured(f"{what}: give deployment.load.seconds more")
    rates = np.histogram(closed.answered_s, BLOCKS, (0.0, closed.seconds))[0] * BLOCKS / closed.seconds
    rate, half = float(rates.mean()), float(t.ppf(0.975, BLOCKS - 1) * rates.std(ddof=1) / np.sqrt(BLOCKS))
    return rate, (max(0.0, rate - half), rate + half)


async def _measured(port: int, key: str, rows: Sequence[Any], seconds: float) -> tuple[Closed, int, Closed, float, Opened]:
    single = [request_of(body_of([row]), key) for row in rows]
    with closing(await Client.connect(port, CALLERS)) as client:
        await client.closed(single, PARTS["warm"] * seconds)
        one = await client.closed(single, PARTS["rate"] * seconds)
    rate_per_s = block_rate(one)[0]
    fitting = int(GAIN * rate_per_s * PARTS["rows"] * seconds / FEWEST)  # of a slow model, so that there are enough answers
    several = max(1, min(ROWS, fitting, MOST_ROWS_BYTES // max(map(len, single))))
    many = [request_of(body_of([rows[(start + place) % len(rows)] for place in range(several)]), key) for start in range(0, 128, 16)]
    with closing(await Client.connect(port, FEW_CALLERS)) as client:
        all_rows = await client.closed(many, PARTS["rows"] * seconds)
    with closing(await Client.connect(port, CONNECTIONS)) as client:
        paced = await client.opened(single, arrivals(SHARE * rate_per_s, PARTS["latency"] * seconds))
    return one, several, all_rows, SHARE * rate_per_s, paced


def body_of(rows: Sequence[Any]) -> bytes:
    """Return the body of a request to /predict."""
    return json.dumps({"rows": list(rows)}, ensure_ascii=False, allow_nan=False).encode("utf-8")


@contextmanager
def _server(package: Path, workers: int) -> Iterator[tuple[int, str]]:
    """Give the port of a server of the package, and a key for it; afterwards it is gone. Raises NotMeasured: it does not start."""
    from weighbridge.serving.keys import KeyFile
    from weighbridge.serving.link import environment_of

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        state = Path(folder)
        try:
            made = KeyFile(state).first()
        except WeighbridgeError as error:
            raise NotMeasured(str(error)) from None
        assert made is not None
        log = state / "log.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "weighbridge.cli", "serve", f"model={package.absolute()}", "--port", "0", "--state", folder,
                 "--workers", str(workers)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment_of(1),
            )  # fmt: skip
        try:
            yield _port(process, log), made[1]
        finally:
            _end(process)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Return where the server listens, once it answers."""
    until_s = time.monotonic() + START_S
    while True:
        text = log.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines(keepends=True):
            if line.startswith(READY) and line.endswith("\n"):
                return int(line[len(READY) :])
        if process.poll() is not None:
            raise NotMeasured(f"the server did not start: {(text.strip().splitlines() or ['it said nothing'])[-1][:300]}")
        if time.monotonic() > until_s:
            raise NotMeasured(f"the server was not ready within {START_S:g} s")
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
