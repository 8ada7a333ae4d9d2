"""Law: workers answer as the switch says, however it came to say so; a package that does not start is taken back in the registry itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.explained_packages import numbers_model
from tests.unit.serving_apps import WAIT_S, asked
from weighbridge.cli.watch import changes_of, released
from weighbridge.errors import PackageError, RecipeError
from weighbridge.feedback.registry import Registry
from weighbridge.recipe import FeedbackSection, changed_feedback
from weighbridge.serving.following import turn

pytestmark = pytest.mark.slow


def test_the_fleet_follows_every_turn_of_the_switch(tmp_path: Path) -> None:
    for place in range(3):
        numbers_model(tmp_path / f"p{place}", place)
    registry = released(tmp_path / "p0", tmp_path / "state", "numbers")
    one, two, three = (registry.install(tmp_path / f"p{place}") for place in range(3))
    said: list[str] = []
    with asked({"numbers": registry.path(one)}, tmp_path / "keys") as server:

        def follow() -> list[str]:
            current = registry.current()
            assert current is not None
            server.run(turn(server.app.fleet, registry, current, said.append)).result(WAIT_S)
            return list(server.app.fleet.describe("numbers")["versions"])

        assert follow() == [one[:12]]
        registry.challenge(two, 0.25, "try")
        assert follow() == [one[:12], two[:12]]
        assert server.app.fleet.describe("numbers")["share"] == 0.25
        registry.promote(two, "good")
        assert follow() == [two[:12]]
        registry.challenge(three, 0.5, "try")
        follow()
        registry.withdraw("bad")
        assert follow() == [two[:12]]
        registry.roll_back(two, "worse")
        assert follow() == [one[:12]]
        assert follow() == [one[:12]]
        assert len(said) == 5
        registry.challenge(two, 0.5, "broken on the disk")
        (registry.path(two) / "model.onnx").write_bytes(b"x")
        with pytest.raises(PackageError):
            follow()
        current = registry.current()
        assert current is not None
        assert current.challenger is None
        assert follow() == [one[:12]]


def test_the_same_command_again_releases_nothing_and_another_package_is_a_release_by_hand(tmp_path: Path) -> None:
    for place in range(2):
        numbers_model(tmp_path / f"p{place}", place)
    first = released(tmp_path / "p0", tmp_path / "state", "numbers")
    other = first.install(tmp_path / "p1")
    first.challenge(other, 0.5, "try")
    first.promote(other, "good")
    again = released(tmp_path / "p0", tmp_path / "state", "numbers").current()
    assert again is not None
    assert again.champion == other
    numbers_model(tmp_path / "p2", 2)
    third = released(tmp_path / "p2", tmp_path / "state", "numbers")
    assert [line["what"] for line in third.history()] == ["released", "challenged", "promoted", "released"]
    assert len(Registry.open(tmp_path / "state", "numbers").history()) == 4


def test_a_policy_is_changed_by_name_and_a_wrong_name_is_said() -> None:
    section = changed_feedback(FeedbackSection(), changes_of(["promote=auto"], ["canary.share=0.25"]))
    assert (section.policy.promote, section.canary.share) == ("auto", 0.25)
    for wrong in ("policy.promote=perhaps", "policy.promot=auto", "canary.share=2", "share"):
        with pytest.raises(RecipeError):
            changed_feedback(FeedbackSection(), (wrong,))


def test_rounds_end_with_their_server(tmp_path: Path) -> None:
    from weighbridge.cli.rounds import Order
    from weighbridge.cli.watch import go_round_and_round

    numbers_model(tmp_path / "p0", 0)
    released(tmp_path / "p0", tmp_path / "state", "numbers")
    order = Order(state=tmp_path / "state", name="numbers", every_s=0.1, nice=0)

    async def go() -> None:
        task = asyncio.create_task(go_round_and_round(order, print))
        while not (tmp_path / "state" / "watch" / "numbers.jsonl").exists():
            await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(go())
    lock = tmp_path / "state" / "watch" / ".numbers.lock"
    from filelock import FileLock

    with FileLock(lock, timeout=1):  # nobody holds it any more
        assert "decisions.jsonl" in {path.name for path in (tmp_path / "state").iterdir()}
