"""Law: a stall of the server is met by every request that was due in it; a refusal takes time and loses nothing; what fails is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.runtime_packages import make_package
from weighbridge.deployment import load
from weighbridge.deployment.load import NotMeasured, block_rate, body_of, carried, rows_of
from weighbridge.deployment.load_client import Client, Closed, arrivals, request_of
from weighbridge.deployment.load_findings import measure_load
from weighbridge.errors import RunError
from weighbridge.recipe.deployment import LoadOptions
from weighbridge.runtime import Model, to_columns
from weighbridge.runtime import load as load_package
from weighbridge.serving.limits import Limits
from weighbridge.serving.plain import Plain

Answerer = Callable[[int], Awaitable[int]]


async def asked(answer: Answerer, use: Callable[[Client], Awaitable[Any]], connections: int = 50) -> Any:
    """Return what `use` measures of a server on a real socket, whose i-th answer has the status that `answer(i)` gives after a time."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                count += 1
                status = await answer(count)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 5\r\n\r\nhe" % status)
                await asyncio.sleep(0)
                writer.write(b"llo")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with closing(await Client.connect(server.sockets[0].getsockname()[1], connections)) as client:
            return await use(client)


REQUESTS = [request_of(b"{}", "k"), request_of(b'{"rows": []}', "k")]


def test_a_stall_is_met_by_all_requests_that_were_due_in_it() -> None:
    async def stalls(number: int) -> int:
        if number == 10:
            time.sleep(0.5)  # the whole server stands still
        return 200

    due_s = np.arange(200) / 200
    found = asyncio.run(asked(stalls, lambda client: client.opened(REQUESTS, due_s)))
    assert (found.refused, found.unanswered, len(found.latency_s)) == (0, 0, 200)
    assert (found.latency_s > 0.1).sum() >= 60  # 0.4 s of 200 requests a second; a closed loop of one would see a single one
    assert (found.latency_s >= found.lag_s).all()


def test_who_is_refused_asks_again_and_his_time_goes_on() -> None:
    async def refuses(number: int) -> int:
        return 503 if number <= 3 else 200

    found = asyncio.run(asked(refuses, lambda client: client.opened(REQUESTS, np.array([0.0, 0.001, 0.002, 0.3]))))
    assert (found.refused, found.unanswered) == (3, 0)
    assert (found.latency_s[:3] >= 0.05).all()


def test_what_has_no_answer_at_the_end_counts_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weighbridge.deployment.load_client.LAST_S", 0.2)

    async def never(number: int) -> int:
        await asyncio.sleep(0 if number == 1 else 60)
        return 200

    found = asyncio.run(asked(never, lambda client: client.opened(REQUESTS, np.array([0.0, 0.1, 0.1, 0.1])), connections=2))
    assert found.unanswered == 3
    assert np.isfinite(found.latency_s).all()
    assert (found.latency_s[1:] >= 0.2).all()


@pytest.mark.parametrize("status", [500, 401, 422])
def test_an_answer_that_is_none_is_no_measurement(status: int) -> None:
    async def fails(number: int) -> int:
        return status

    for use in (lambda client: client.opened(REQUESTS, np.zeros(3)), lambda client: client.closed(REQUESTS, 0.1)):
        with pytest.raises(RunError, match=str(status)):
            asyncio.run(asked(fails, use))


def test_callers_in_a_closed_loop_ask_as_fast_as_they_are_answered() -> None:
    async def slow(number: int) -> int:
        await asyncio.sleep(0.02)
        return 200

    found = asyncio.run(asked(slow, lambda client: client.closed(REQUESTS, 0.5), connections=4))
    assert 4 <= len(found.answered_s) <= 100
    assert (np.diff(found.answered_s) >= 0).all()


def test_a_rate_has_the_interval_of_batch_means_and_few_answers_have_none() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(300):
        times = arrivals(100, 4.0, seed=int(rng.integers(2**31)))
        rate, (low, high) = block_rate(Closed(seconds=4.0, answered_s=times, refused=0))
        assert rate == pytest.approx(len(times) / 4)
        inside += low <= 100 <= high
    assert 0.91 <= inside / 300 <= 0.985  # 95 % and 3 standard errors of 300 trials
    with pytest.raises(NotMeasured, match="seconds"):
        block_rate(Closed(seconds=1.0, answered_s=np.arange(5) / 10, refused=0))


def test_arrivals_are_a_poisson_process() -> None:
    times = arrivals(1000.0, 20.0)
    gaps = np.diff(times)
    assert (gaps >= 0).all()
    assert times[-1] < 20
    assert len(times) == pytest.approx(20_000, abs=4 * 20_000**0.5)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert len(arrivals(0.001, 1.0)) == 1


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("load") / "tiny"
    make_package(folder)
    return folder


def held_out(model: Model) -> dict[str, np.ndarray]:
    return dict(to_columns(model._golden["columns"], model.inputs)[0])


def test_what_the_server_is_asked_is_the_very_row(package: Path) -> None:
    model = load_package(package)
    columns = held_out(model)
    body = body_of(rows_of(model, columns))
    read = Plain().read(model, {"content_type": "application/json"}, body, Limits())
    assert np.array_equal(model.outputs(read.columns, read.count), model.outputs(columns, read.count))


def test_what_keeps_the_load_from_being_measured_is_said_and_stops_nothing(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_package(package)
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    with pytest.raises(NotMeasured, match=r"httptools.*pip install 'weighbridge\[serve\]'"):
        carried(package, model, held_out(model), seconds=1)
    found, (finding,) = measure_load(LoadOptions(enabled=False), package, model, tmp_path, "weigh deploy RUN")
    assert found is None
    assert (finding.key, finding.verdict, finding.command) == ("deployment.load", "unmeasured", "weigh deploy RUN --only load")
    assert "enabled: false" in str(finding.reason)


@pytest.mark.slow
def test_a_server_that_does_not_start_is_no_measurement(package: Path, tmp_path: Path) -> None:
    model = load_package(package)
    with pytest.raises(NotMeasured, match="did not start"):
        carried(tmp_path / "none", model, held_out(model), seconds=1)


@pytest.mark.slow
def test_a_real_server_is_measured_and_leaves_nothing_behind(package: Path) -> None:
    import psutil

    model = load_package(package)
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    found = carried(package, model, held_out(model), seconds=6)
    assert {one.pid for one in psutil.Process().children(recursive=True)} <= before
    rate, (low, high) = block_rate(found.single)
    assert low <= rate <= high
    assert found.rate_per_s == pytest.approx(0.8 * rate)
    assert found.rows >= 1
    assert len(found.paced.latency_s) == pytest.approx(found.rate_per_s * 2.7, abs=5 * (found.rate_per_s * 2.7) ** 0.5)
    assert json.dumps(rows_of(model, held_out(model)))
