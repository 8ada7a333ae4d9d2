"""Law: the switch is old or new, each turn has its line of history exactly once, and a package is in the registry whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.runtime_packages import make_package
from weighbridge.errors import PackageError, RunError, StorageError, UsageError
from weighbridge.feedback.registry import Current, Registry, names
from weighbridge.storage.files import OsDisk, use_disk
from weighbridge.storage.lines import append_line, read_lines


@pytest.fixture
def shop(tmp_path: Path) -> tuple[Registry, str, str]:
    """A registry with two packages; the first is released."""
    registry = Registry.open(tmp_path / "state", "pets")
    packages = []
    for place, kind in enumerate(("category", "number")):
        make_package(tmp_path / f"p{place}", kind, photos=False)
        packages.append(registry.install(tmp_path / f"p{place}", run=f"runs/{place}", recipe_sha256="r", data_sha256="d"))
    registry.release(packages[0], "first")
    return registry, packages[0], packages[1]


def test_a_challenger_goes_the_whole_way_and_back(shop: tuple[Registry, str, str]) -> None:
    registry, first, second = shop
    assert registry.challenge(second, 0.25, "it passed").share == 0.25
    assert registry.promote(second, "it held").champion == second
    current = registry.roll_back(second, "it fell")
    assert (current.champion, current.challenger, current.before) == (first, None, None)
    with pytest.raises(RunError, match="nothing answered as pets before"):
        registry.roll_back(first, "again")
    assert [line["what"] for line in registry.history()] == ["released", "challenged", "promoted", "rolled_back"]
    assert [line["number"] for line in registry.history()] == [1, 2, 3, 4]
    assert names(registry.state) == ["pets"]
    assert registry.about(second)["run"] == "runs/1"


def test_a_turn_that_was_made_is_not_made_again(shop: tuple[Registry, str, str]) -> None:
    registry, _, second = shop
    registry.challenge(second, 0.25, "it passed")
    assert registry.challenge(second, 0.25, "it passed").number == 2
    registry.promote(second, "it held")
    assert registry.promote(second, "it held").number == 3
    assert registry.withdraw("nobody").number == 3
    registry.roll_back(second, "it fell")
    assert registry.roll_back(second, "it fell").number == 4
    assert len(registry.history()) == 4


def test_what_is_not_there_or_not_whole_is_never_switched_to(shop: tuple[Registry, str, str]) -> None:
    registry, first, second = shop
    with pytest.raises(RunError, match="does not challenge"):
        registry.promote(second, "unseen")
    with pytest.raises(UsageError, match="share of 1"):
        registry.challenge(second, 1, "all")
    (registry.path(second) / "package.json").write_text("{}")
    with pytest.raises(RunError, match="not whole"):
        registry.challenge(second, 0.5, "damaged")
    (registry.state / "bad").mkdir()
    with pytest.raises(PackageError):
        registry.install(registry.state / "bad")
    with pytest.raises(UsageError, match="no name of a model"):
        Registry.open(registry.state, "../pets")
    assert registry.current() == Current(
        number=1, champion=first, since=registry.history()[0]["since"], turned=registry.history()[0]["turned"]
    )


class Ends(OsDisk):
    """The n-th operation does not happen, nor does any after it: what a kill leaves on the disk."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _next(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise OSError(5, "ended")

    def write(self, file: object, content: bytes) -> None:
        self._next()
        super().write(file, content)  # type: ignore[arg-type]

    def replace(self, source: Path, target: Path) -> None:
        self._next()
        super().replace(source, target)

    def sync(self, file: object) -> None:
        self._next()
        super().sync(file)  # type: ignore[arg-type]


def test_ended_at_any_operation_the_switch_is_old_or_new_and_the_history_follows_it(shop: tuple[Registry, str, str]) -> None:
    registry, first, second = shop
    registry.challenge(second, 0.25, "it passed")
    for at in range(1, 30):
        before = registry.current()
        assert before is not None
        done = True
        with use_disk(Ends(at)):
            try:
                registry.promote(second, "it held")
            except StorageError:
                done = False
        after = registry.current()
        assert after is not None
        assert after in (before, registry.current())
        assert after.champion == (second if after.number == 3 else first)
        lines = registry.history()
        assert [line["number"] for line in lines] == list(range(1, after.number + 1))
        if done:
            break
    assert done
    assert at > 3
    registry.roll_back(second, "it fell")
    assert [line["number"] for line in read_lines(registry.folder / "history.jsonl")] == [1, 2, 3, 4]


def test_a_line_that_was_cut_off_is_taken_away_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for number in range(3):
        append_line(path, {"number": number})
    with open(path, "ab") as file:
        file.write(b'{"number": 3, "wor')
    assert [one["number"] for one in read_lines(path)] == [0, 1, 2]
    append_line(path, {"number": 4, "words": "ä" * 70_000})
    assert [one["number"] for one in read_lines(path)] == [0, 1, 2, 4]
    with open(path, "ab") as file:
        file.write(b"[1]\n")
    with pytest.raises(RunError, match="line 5 is damaged"):
        read_lines(path)


def test_the_switch_is_read_strictly(shop: tuple[Registry, str, str]) -> None:
    registry, _, _ = shop
    path = registry.folder / "current.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "odd": 1}))
    with pytest.raises(RunError, match="is not the switch"):
        registry.current()
