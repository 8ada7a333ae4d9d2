"""Counts and times of the server for Prometheus. Written on every request by two look-ups; shaped only when somebody asks.

No label holds a value that a caller chose: routes are those of the table, codes those of replies.py, models those that were started.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weighbridge.serving.replies import Response

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from weighbridge.serving.fleet import Fleet

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
UNKNOWN = "(unknown)"


@dataclass(kw_only=True, slots=True)
class Times:
    """A histogram: how many were at most each of BOUNDS_S and above the one before, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (bound, how many were at most that), as Prometheus wants them."""
        total, out = 0, []
        for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], self.counts, strict=True):
            total += count
            out.append((bound, float(total)))
        return out


@dataclass(kw_only=True)
class Measured:
    """What happened since the start. `events` are those of the fleet, by kind and model's name."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    times: dict[str, Times] = field(default_factory=dict)
    connections: Counter[str] = field(default_factory=Counter)

    def request(self, route: str, response: Response, seconds: float) -> None:
        """A request of a route (empty: of none) was answered."""
        route = route or UNKNOWN
        self.requests[route, response.status] += 1
        times = self.times.get(route)
        if times is None:
            times = self.times[route] = Times()
        times.add(seconds)
        if response.code:
            self.refused[response.code] += 1
        if response.rows:
            self.rows[response.model] += response.rows

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Something happened to a package or a worker, see Fleet."""
        self.events[kind, str(facts.get("name", ""))] += 1

    def page(self, fleet: Fleet) -> tuple[bytes, bytes]:
        """Return content type and text of /metrics."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Page(self, fleet))
        return CONTENT_TYPE_LATEST.encode(), generate_latest(registry)


class _Page:
    """What the registry of prometheus_client collects from."""

    def __init__(self, measured: Measured, fleet: Fleet) -> None:
        self._measured, self._fleet = measured, fleet

    def collect(self) -> Iterator[Metric]:
        yield from _of_requests(self._measured)
        yield from _of_fleet(self._fleet)


def _of_requests(measured: Measured) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    requests = CounterMetricFamily("weighbridge_requests", "Requests that were answered.", labels=("route", "status"))
    for (route, status), count in measured.requests.items():
        requests.add_metric((route, str(status)), count)
    yield requests
    times = HistogramMetricFamily("weighbridge_request_seconds", "From a request's headers to its answer.", labels=("route",))
    for route, one in measured.times.items():
        times.add_metric((route,), one.buckets(), one.sum_s)
    yield times
    for name, text, label, counts in (
        ("weighbridge_refused", "Requests that were answered with an error, by its code.", "code", measured.refused),
        ("weighbridge_rows", "Rows that were answered, by the hash of the model.", "model", measured.rows),
        ("weighbridge_connections_refused", "Connections that were closed by a limit.", "limit", measured.connections),
    ):
        family = CounterMetricFamily(name, text, labels=(label,))
        for value, count in counts.items():
            family.add_metric((value,), count)
        yield family
    events = CounterMetricFamily("weighbridge_events", "What happened to packages and workers.", labels=("kind", "name"))
    for (kind, name), count in measured.events.items():
        events.add_metric((kind, name), count)
    yield events


def _of_fleet(fleet: Fleet) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

    for name, text, key in (
        ("weighbridge_queue", "Requests that wait for a worker.", "queue"),
        ("weighbridge_in_flight", "Requests that a worker has.", "in_flight"),
        ("weighbridge_workers", "Worker processes that answer.", "ready"),
        ("weighbridge_worker_restarts", "Workers that were started again.", "restarts"),
    ):
        gauge = GaugeMetricFamily(name, text, labels=("name",))
        for model, status in fleet.status().items():
            gauge.add_metric((model,), float(_number(status["champion"].get(key))))
        yield gauge
    info = InfoMetricFamily("weighbridge_model", "The package that answers under a name.", labels=("name",))
    for name in fleet.names:
        facts = fleet.describe(name)
        info.add_metric((name,), {"version": str(facts["version"]), "model": str(facts["model"]), "kind": str(facts["kind"])})
    yield info


def _number(value: Any) -> float:
    return float(len(value)) if isinstance(value, list | dict) else float(value or 0)
