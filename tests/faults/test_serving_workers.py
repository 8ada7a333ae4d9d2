"""Law: what was accepted is answered once, by a model that it names, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import Record
from tests.faults.serving_ground import Callers, ask, fleet_of, probabilities, workers_of, write_numbers_package
from weighbridge.errors import PackageError
from weighbridge.runtime import load
from weighbridge.serving.asking import Refused
from weighbridge.serving.fleet import Fleet, share_of
from weighbridge.serving.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
KILLS, SWAPS = 50, 20


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three packages of different models that answer the same rows."""
    folder = tmp_path_factory.mktemp("packages")
    return [write_numbers_package(folder / f"package{mark}", mark) for mark in range(3)]


@asynccontextmanager
async def serving(path: Path, **more: Any) -> AsyncIterator[Fleet]:
    fleet = fleet_of(**more)
    await fleet.start({"numbers": path})
    try:
        yield fleet
    finally:
        await fleet.drain(10)


async def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)


def run(work: Awaitable[None]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(240):
            await work

    asyncio.run(whole())


def assert_answered(calls: Callers, models: dict[str, Any]) -> None:
    """Every ask has one answer, and it is what the model that it names says of that row."""
    assert len(calls.replies) + calls.refusals.total() == calls.asked
    assert len({one.request_id for _, one, _ in calls.replies}) == len(calls.replies)
    for name in {reply.model for _, _, reply in calls.replies}:
        of_model = [(one, reply) for _, one, reply in calls.replies if reply.model == name]
        rows = np.array([np.frombuffer(one.body) for one, _ in of_model])
        expected = models[name].outputs({"a": rows[:, 0], "b": rows[:, 1]}, len(rows))
        found = np.concatenate([probabilities(reply) for _, reply in of_model])
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.slow
def test_of_50_workers_killed_under_load_no_accepted_ask_is_lost(packages: list[Path], record: Record) -> None:
    async def work() -> None:
        events: list[str] = []
        async with serving(packages[0], workers=2, on_event=lambda kind, facts: events.append(kind)) as fleet:
            async with Callers(fleet, "numbers", 8) as calls:
                for _ in range(KILLS):
                    await until(lambda: len(workers_of(fleet, "numbers")) == 2)
                    await asyncio.sleep(0.02)
                    os.kill(workers_of(fleet, "numbers")[0], signal.SIGKILL)
                    before = len(calls.replies)
                    await until(lambda before=before: len(calls.replies) > before + 8)  # type: ignore[misc]
            await until(lambda: events.count("worker_started") == KILLS)
            assert fleet.status()["numbers"]["champion"]["restarts"] == KILLS
        assert not calls.refusals
        assert_answered(calls, {reply.model: model for reply in [calls.replies[0][2]] for model in [load(packages[0])]})
        print(f"{KILLS} workers killed, {len(calls.replies):,} of {calls.asked:,} asks answered")
        record("serving.kill", len(calls.replies), n=calls.asked, kills=KILLS)

    run(work())


@pytest.mark.slow
def test_over_20_swaps_under_load_each_answer_names_the_old_or_the_new_model_and_then_the_new_one(
    packages: list[Path], record: Record
) -> None:
    async def work() -> None:
        models = {model.hash: model for model in map(load, packages)}
        swaps: list[tuple[float, float, str, str]] = []
        async with serving(packages[0]) as fleet, Callers(fleet, "numbers", 8) as calls:
            was = fleet.describe("numbers")["model"]
            for turn in range(1, SWAPS + 1):
                begun = time.monotonic()
                now = (await fleet.swap("numbers", packages[turn % 3]))["model"]
                swaps.append((begun, time.monotonic(), was, now))
                was = now
                await asyncio.sleep(0.05)
        assert not calls.refusals
        assert_answered(calls, models)
        for place, (begun, done, old, new) in enumerate(swaps):
            until_s = swaps[place + 1][0] if place + 1 < SWAPS else np.inf
            after = {reply.model for moment, _, reply in calls.replies if done < moment < until_s}
            during = {reply.model for moment, _, reply in calls.replies if begun <= moment <= done}
            assert after == {new}
            assert during <= {old, new}
        print(f"{SWAPS} swaps, {len(calls.replies):,} of {calls.asked:,} asks answered")
        record("serving.swap", len(calls.replies), n=calls.asked, swaps=SWAPS)

    run(work())


def test_a_package_that_does_not_pass_leaves_the_old_one_serving_and_a_rollback_wants_the_same_bytes(
    packages: list[Path], tmp_path: Path
) -> None:
    async def work() -> None:
        first, second = (load(path).hash for path in packages[:2])
        moving = write_numbers_package(tmp_path / "moving", 1)
        events: list[tuple[str, dict[str, Any]]] = []
        async with (
            serving(packages[0], on_event=lambda kind, facts: events.append((kind, facts))) as fleet,
            Callers(fleet, "numbers", 4) as calls,
        ):
            with pytest.raises(Refused, match="before this package") as refused:
                await fleet.rollback("numbers")
            assert refused.value.status == 409
            with pytest.raises(PackageError, match="answers its own rows otherwise"):
                await fleet.swap("numbers", other_golden(tmp_path / "liar"))
            with pytest.raises(PackageError, match="there is no package"):
                await fleet.swap("numbers", tmp_path / "nowhere")
            assert fleet.describe("numbers")["model"] == first == (await fleet.ask("numbers", ask())).model
            await fleet.swap("numbers", moving)
            assert (await fleet.ask("numbers", ask())).model == second
            assert (await fleet.rollback("numbers"))["model"] == first == (await fleet.ask("numbers", ask())).model
            (moving / "card.md").write_text("# other\n")
            with pytest.raises(PackageError):
                await fleet.rollback("numbers")
            assert (await fleet.ask("numbers", ask())).model == first
        assert not calls.refusals
        assert [kind for kind, _ in events] == ["started", "refused", "refused", "swapped", "rolled_back", "refused"]

    run(work())


def other_golden(folder: Path) -> Path:
    """`folder` is a whole package whose golden answers are not those of its model."""
    from weighbridge.runtime import write_manifest

    write_numbers_package(folder, 2)
    golden = json.loads((folder / "golden.json").read_text())
    golden["outputs"] = [row[::-1] for row in golden["outputs"]]
    (folder / "golden.json").write_text(json.dumps(golden))
    (folder / "manifest.json").unlink()
    write_manifest(folder)
    return folder


def test_a_worker_that_hangs_is_found_killed_and_replaced_and_its_ask_is_answered(packages: list[Path]) -> None:
    async def work() -> None:
        events: list[tuple[str, dict[str, Any]]] = []
        limits = replace(Limits(), hang_s=0.4)
        async with serving(packages[0], limits=limits, on_event=lambda kind, facts: events.append((kind, facts))) as fleet:
            os.kill(workers_of(fleet, "numbers")[0], signal.SIGSTOP)
            reply = await fleet.ask("numbers", ask())
            assert reply.status == 200
            await until(lambda: fleet.ready())
            assert [(kind, facts.get("why")) for kind, facts in events[1:]] == [("worker_died", "hung"), ("worker_started", None)]

    run(work())


def test_a_worker_that_hangs_with_nothing_to_do_is_found_before_anybody_asks_it(
    packages: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weighbridge.serving.pool.PING_S", 0.1)

    async def work() -> None:
        async with serving(packages[0], limits=replace(Limits(), hang_s=0.3)) as fleet:
            await asyncio.sleep(0.6)  # it answers pings: nothing happens
            assert fleet.status()["numbers"]["champion"]["restarts"] == 0
            stopped = workers_of(fleet, "numbers")[0]
            os.kill(stopped, signal.SIGSTOP)
            await until(lambda: workers_of(fleet, "numbers") not in ([], [stopped]))

    run(work())


def test_an_ask_that_kills_workers_is_refused_after_two_and_the_others_are_answered(packages: list[Path]) -> None:
    async def work() -> None:
        async with serving(packages[0]) as fleet:
            first = [asyncio.create_task(fleet.ask("numbers", ask((1, n)))) for n in range(20)]
            poison = asyncio.create_task(fleet.ask("numbers", ask(poison=True)))
            after = [asyncio.create_task(fleet.ask("numbers", ask((2, n)))) for n in range(20)]
            with pytest.raises(Refused) as refused:
                await poison
            assert (refused.value.code, refused.value.status) == ("worker_died", 503)
            assert {reply.status for reply in await asyncio.gather(*first, *after)} == {200}
            await until(lambda: fleet.ready())
            assert fleet.status()["numbers"]["champion"]["restarts"] == 2

    run(work())


def test_a_restart_takes_no_other_package_than_the_one_that_was_started(tmp_path: Path) -> None:
    async def work() -> None:
        path = write_numbers_package(tmp_path / "package", 0)
        events: list[str] = []
        async with serving(path, workers=2, on_event=lambda kind, facts: events.append(kind)) as fleet:
            model = (await fleet.ask("numbers", ask())).model
            path.rename(tmp_path / "old")
            write_numbers_package(path, 1)
            os.kill(workers_of(fleet, "numbers")[0], signal.SIGKILL)
            await until(lambda: "worker_not_started" in events)
            assert fleet.ready()
            assert {(await fleet.ask("numbers", ask())).model for _ in range(5)} == {model}
            assert "worker_started" not in events

    run(work())


def test_a_share_of_asks_goes_to_the_challenger_by_their_id_until_it_is_promoted_or_withdrawn(packages: list[Path]) -> None:
    async def work() -> None:
        first, second = (load(path).hash for path in packages[:2])
        async with serving(packages[0]) as fleet:
            about = await fleet.challenge("numbers", packages[1], 0.3)
            assert about["share"] == 0.3
            assert len(about["versions"]) == 2
            for _ in range(200):
                one = ask()
                assert (await fleet.ask("numbers", one)).model == (second if share_of(one.request_id) < 0.3 else first)
            named = [(await fleet.ask("numbers", ask(), version=version)).model for version in about["versions"]]
            assert named == [first, second]
            await fleet.withdraw("numbers")
            assert {(await fleet.ask("numbers", ask())).model for _ in range(50)} == {first}
            with pytest.raises(Refused):
                await fleet.promote("numbers")
            await fleet.challenge("numbers", packages[1], 0.5)
            assert (await fleet.promote("numbers"))["model"] == second
            assert {(await fleet.ask("numbers", ask())).model for _ in range(50)} == {second}
            with pytest.raises(Refused) as refused:
                await fleet.ask("numbers", ask(), version=about["versions"][0])
            assert refused.value.status == 404

    run(work())


def test_shares_are_even() -> None:
    shares = np.array([share_of(f"request-{n}") for n in range(20_000)])
    assert abs((shares < 0.1).mean() - 0.1) < 0.01
    assert abs((shares < 0.5).mean() - 0.5) < 0.02


def test_a_drain_answers_what_was_accepted_and_takes_nothing_more_even_where_a_worker_dies_in_it(packages: list[Path]) -> None:
    async def work() -> None:
        async with serving(packages[0]) as fleet:
            slow = [asyncio.create_task(fleet.ask("numbers", ask(kind="works", row_s=0.02))) for _ in range(12)]
            await asyncio.sleep(0.05)
            victim = workers_of(fleet, "numbers")[0]
            os.kill(victim, signal.SIGTERM)  # as a signal to the whole group would: the front is who drains
            drained = asyncio.create_task(fleet.drain(20))
            await asyncio.sleep(0.02)
            assert not fleet.ready()
            with pytest.raises(Refused) as refused:
                await fleet.ask("numbers", ask())
            assert refused.value.code == "draining"
            os.kill(victim, signal.SIGKILL)
            assert {reply.status for reply in await asyncio.gather(*slow)} == {200}
            assert await drained
            assert not psutil.Process().children()

    run(work())


def test_what_is_not_done_when_the_time_of_a_drain_is_over_is_refused(packages: list[Path]) -> None:
    async def work() -> None:
        async with serving(packages[0]) as fleet:
            slow = asyncio.create_task(fleet.ask("numbers", ask(kind="works", row_s=1.0)))
            await asyncio.sleep(0.05)
            assert not await fleet.drain(0.1)
            with pytest.raises(Refused, match="stopped before"):
                await slow

    run(work())


def test_an_ask_is_not_waited_for_beyond_its_deadline(packages: list[Path]) -> None:
    async def work() -> None:
        async with serving(packages[0]) as fleet:
            running = asyncio.create_task(fleet.ask("numbers", ask(kind="works", row_s=1.2, deadline_s=0.2)))
            await asyncio.sleep(0.05)
            queued = asyncio.create_task(fleet.ask("numbers", ask(deadline_s=0.2)))
            gone = asyncio.create_task(fleet.ask("numbers", ask()))
            await asyncio.sleep(0.05)
            gone.cancel()
            begun = time.monotonic()
            for one in (running, queued):
                with pytest.raises(Refused) as refused:
                    await one
                assert refused.value.code == "deadline"
            assert time.monotonic() - begun < 1.0
            assert (await fleet.ask("numbers", ask())).status == 200

    run(work())


def test_an_invalid_ask_and_a_mistake_of_ours_cost_no_other_ask_its_answer(packages: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        async with serving(packages[0]) as fleet:
            asks = [ask(body=b"short"), *(ask((n, n)) for n in range(10)), ask(kind="faulty"), ask((1e308, np.inf)), ask(kind="nobody")]
            replies = await asyncio.gather(*(fleet.ask("numbers", one) for one in asks))
            assert [reply.status for reply in replies[:12]] == [422, *[200] * 10, 500]
            assert replies[0].cause is not None
            assert replies[0].cause.code == "input"
            assert "5 bytes" in replies[0].cause.what
            assert replies[11].cause is not None
            assert replies[11].cause.code == "internal"
            assert "canary" not in replies[11].cause.what
            assert replies[12].status in (200, 422)
            assert fleet.status()["numbers"]["champion"]["restarts"] == 0

    run(work())
    said = capfd.readouterr().err
    assert "KeyError at Faulty.read" in said
    assert "secret-canary" not in said


def test_a_package_that_does_not_load_is_refused_with_the_workers_own_line_and_leaves_no_process(
    packages: list[Path], tmp_path: Path
) -> None:
    async def work() -> None:
        fleet = fleet_of(workers=2)
        with pytest.raises(PackageError, match="answers its own rows otherwise"):
            await fleet.start({"numbers": packages[0], "liar": other_golden(tmp_path / "liar")})
        assert not fleet.names
        assert not psutil.Process().children()

    run(work())


FRONT = """
import asyncio, sys, time
from pathlib import Path
from tests.faults.serving_ground import ask, fleet_of, workers_of
async def main():
    fleet = fleet_of(workers=2)
    await fleet.start({"numbers": Path(sys.argv[1])})
    asyncio.create_task(fleet.ask("numbers", ask(kind="works", row_s=60)))
    await asyncio.sleep(0.1)
    print(*workers_of(fleet, "numbers"), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.slow
def test_workers_end_when_the_front_is_killed_even_in_the_middle_of_a_call(packages: list[Path]) -> None:
    front = subprocess.Popen([sys.executable, "-c", FRONT, str(packages[0])], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8")
    assert front.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in front.stdout.readline().split()]
    assert len(workers) == 2
    front.kill()
    front.wait()
    front.stdout.close()
    _gone, left = psutil.wait_procs(workers, timeout=15)
    assert not left


LOADED = """
import json, sys
sys.argv = ["worker", sys.argv[1]]
from weighbridge.serving import worker
worker.main()
print(json.dumps(sorted(name for name in ("torch", "pyarrow", "pandas", "scipy", "sklearn", "pydantic", "sqlalchemy", "matplotlib")
    if name in sys.modules)), file=sys.stderr)
"""


def test_a_worker_that_answered_has_loaded_no_heavy_library(
    packages: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("weighbridge.serving.link.PROGRAM", ("-P", "-c", LOADED))

    async def work() -> None:
        async with serving(packages[0]) as fleet:
            assert (await fleet.ask("numbers", ask())).status == 200

    run(work())
    assert json.loads(capfd.readouterr().err.strip().splitlines()[-1]) == []


def test_the_journal_holds_each_answer_before_it_leaves_and_a_killed_worker_loses_none(packages: list[Path], tmp_path: Path) -> None:
    from weighbridge.serving.journaling import Journaling

    async def work() -> None:
        async with serving(packages[0], workers=2, journal=Journaling(folder=tmp_path / "journal")) as fleet:
            async with Callers(fleet, "numbers", 8) as calls:
                await asyncio.sleep(0.2)
                os.kill(workers_of(fleet, "numbers")[0], signal.SIGKILL)
                await asyncio.sleep(0.2)
            answers.update({f"{one.request_id}/0": probabilities(reply)[0].tolist() for _, one, reply in calls.replies})
            assert not calls.refusals

    answers: dict[str, list[float]] = {}
    run(work())
    lines = [json.loads(line)[2] for path in (tmp_path / "journal").glob("*.jsonl") for line in path.read_text().splitlines()]
    logged = {one["id"]: one["output"] for one in lines if "id" in one}
    assert answers
    assert {key: logged.get(key) for key in answers} == answers
