"""What was measured of the load, as findings, and as the contract of the package has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.deployment.load import CALLERS, CONNECTIONS, FEW_CALLERS, FEWEST, SHARE, Carried, NotMeasured, block_rate, carried
from weighbridge.findings import EMPTY, Finding, Message
from weighbridge.runtime.contract import Load, Measured

if TYPE_CHECKING:
    from weighbridge.deployment.load_client import Closed
    from weighbridge.recipe.deployment import LoadOptions
    from weighbridge.runtime import Model

KEY = "deployment.load"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number of the load, and where it goes."""

    name: str
    title: Message
    unit: str
    measured: Measured
    method: Message
    source: str
    reason: Message = EMPTY

    def finding(self, command: str) -> Finding:
        return Finding(
            key=f"{KEY}.{self.name}", title=self.title, value=self.measured.value, interval=self.measured.interval, unit=self.unit,
            n=self.measured.n, n_of="requests", reason=self.reason, method=self.method, source=self.source, command=command,
        )  # fmt: skip


def measure_load(
    options: LoadOptions, package: Path, model: Model, folder: Path, command: str
) -> tuple[Load | None, list[Finding]]:  # fmt: skip
    """Return what a server of the package carries on this machine, and a finding about each figure; without, one that says why.

    Args: package: a folder that was verified; folder: the run's, whose validation rows are asked for. Raises nothing that the server does.
    """
    from weighbridge import data
    from weighbridge.stages.describe import machine

    command = f"{command} --only load"
    if not options.enabled:
        return None, [_unmeasured(Message("the recipe says deployment.load.enabled: false"), command)]
    batch = next(data.open_data(folder / "data").validation.batches(256))
    try:
        found = carried(package, model, batch.columns, seconds=options.seconds)
        figures = [*_rates(found), *_latencies(found)]
    except NotMeasured as error:
        return None, [_unmeasured(Message("{why}", why=str(error)), command)]
    requests, rows, p50, p99 = (figure.measured for figure in figures)
    load = Load(requests_per_s=requests, rows_per_s=rows, rows=found.rows, share=SHARE, p50_s=p50, p99_s=p99, machine=machine())
    return load, [figure.finding(command) for figure in figures]


def _rates(found: Carried) -> list[Figure]:
    method = Message(
        "{rows} rows of held-out data as JSON in each request, {callers} callers that ask again when they are answered, over this "
        "machine's loopback; the client shared the machine with {workers} workers",
        rows=found.rows, callers=FEW_CALLERS, workers=found.workers,
    )  # fmt: skip
    single = Message(
        "a row of held-out data as JSON in each request, {callers} callers that ask again when they are answered, over this machine's "
        "loopback; the client shared the machine with {workers} workers",
        callers=CALLERS, workers=found.workers,
    )  # fmt: skip
    by_means = "batch means"
    return [
        Figure(name="rate", title=Message("Requests that a server carries"), unit="requests/s", measured=_rate(found.single, 1),
               method=single, source=by_means),
        Figure(name="rows", title=Message("Rows that a server carries"), unit="rows/s", measured=_rate(found.many, found.rows),
               method=method, source=by_means),
    ]  # fmt: skip


def _latencies(found: Carried) -> list[Figure]:
    paced = found.paced
    method = Message(
        "{rate} requests a second at random times (Poisson), {share} of what was carried; from the time at which each was due, at most "
        "{connections} connections; the client, itself late by {lag} ms (median), shared the machine",
        rate=round(found.rate_per_s, 1), share=SHARE, connections=CONNECTIONS, lag=round(1000 * float(np.median(paced.lag_s)), 2),
    )  # fmt: skip
    reason = Message(
        "{refused} refusals, each asked again; {unanswered} of {n} had no answer at the end and count with the time that they had waited",
        refused=paced.refused, unanswered=paced.unanswered, n=len(paced.latency_s),
    )  # fmt: skip
    same: dict[str, Any] = {"unit": "s", "method": method, "source": "order statistics"}
    if paced.refused or paced.unanswered:
        same["reason"] = reason
    return [
        Figure(name="p50", title=Message("Latency over HTTP under load, median"), measured=_quantile(paced.latency_s, 0.5), **same),
        Figure(
            name="p99", title=Message("Latency over HTTP under load, 99th percentile"), measured=_quantile(paced.latency_s, 0.99), **same
        ),
    ]


def _rate(closed: Closed, rows: int) -> Measured:
    rate, (low, high) = block_rate(closed)
    return Measured(value=rate * rows, interval=(low * rows, high * rows), n=len(closed.answered_s))


def _quantile(seconds: np.ndarray, share: float) -> Measured:
    """Return a quantile of the latencies. Raises NotMeasured for too few to have one."""
    from weighbridge.evaluation import quantile_interval

    if len(seconds) < FEWEST:
        raise NotMeasured(f"{len(seconds)} requests under load are too few for a percentile: give deployment.load.seconds more")
    return Measured(value=float(np.quantile(seconds, share)), interval=quantile_interval(seconds, share), n=len(seconds))


def _unmeasured(reason: Message, command: str) -> Finding:
    return Finding(
        key=KEY, title=Message("Load that a server of the package carries"), verdict="unmeasured", reason=reason, command=command
    )
