"""Law: what a stage made before stays until its new result is there; refused, stopped or killed at any point, nothing of it is lost."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import small_runs
from tests.faults.test_disk import FailingDisk, failure
from weighbridge.errors import DataError, RecipeError, RunError, Stopped, StorageError, TrainingError, WeighbridgeError
from weighbridge.findings import Finding
from weighbridge.stages.station import Context, Key, Stage, run_stage
from weighbridge.storage import read_json, sha256_file, sweep, use_disk, write_json, write_text
from weighbridge.storage.control import StopRequest

OLD, NEW, OTHER = (Key(whole=name, core=name) for name in ("old", "new", "other"))
KEPT = "test_ledger.jsonl"
Work = Callable[[Path], None]


def context(folder: Path, said: list[str] | None = None) -> Context:
    def tell(label: str, done: int, total: int | None, note: str = "") -> None:
        if said is not None:
            said.append(label)

    return Context(recipe=small_runs.digits(), folder=folder, progress=tell, stop=StopRequest())


def stage(folder: Path, work: Work, **options: tuple[str, ...]) -> Stage:
    def act(_: Context) -> list[Finding]:
        work(folder / "data")
        return []

    return Stage(name="data", verb="data", reads=(), work=act, keeps=(KEPT,), spare=(KEPT, "stopped.json"), **options)


def makes(version: str) -> Work:
    def work(place: Path) -> None:
        for name in ("train.arrow", "a.json", f"only-{version}.json", "deep/b.json"):
            write_text(place / name, version)

    return work


def fails(error: WeighbridgeError) -> Work:
    def work(place: Path) -> None:
        write_text(place / "train.arrow", "half")
        write_text(place / "stopped.json", "why")
        raise error

    return work


def never(place: Path) -> None:
    raise AssertionError("what is finished was done again")


def contents(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (sha256_file(path), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose stage is finished under the key `old`, with a ledger."""
    folder = tmp_path / "run"
    write_text(folder / "data" / KEPT, "read once\n")
    run_stage(stage(folder, makes("old")), OLD, context(folder))
    return folder


@pytest.mark.parametrize("error", [RecipeError("no"), DataError("no"), TrainingError("no")])
def test_a_refused_change_leaves_every_file_as_it_was_and_says_why_beside(run: Path, error: WeighbridgeError) -> None:
    before = contents(run)
    with pytest.raises(type(error)):
        run_stage(stage(run, fails(error), refusal=("stopped.json",)), NEW, context(run))
    assert (run / "data" / "stopped.json").read_text() == "why"
    (run / "data" / "stopped.json").unlink()
    assert contents(run) == before
    assert sorted(path.name for path in run.iterdir()) == ["data"]
    assert not run_stage(stage(run, never), OLD, context(run))["fresh"]


def test_the_naive_way_which_empties_the_folder_first_loses_it(run: Path) -> None:
    before = contents(run)
    shutil.rmtree(run / "data")
    with pytest.raises(DataError):
        run_stage(stage(run, fails(DataError("no"))), NEW, context(run))
    assert contents(run) != before


@pytest.mark.parametrize("error", [Stopped("stop"), StorageError("full"), RunError("a newer state")])
def test_work_that_can_go_on_stays_and_so_does_what_was_before(run: Path, error: WeighbridgeError) -> None:
    before = contents(run)
    with pytest.raises(type(error)):
        run_stage(stage(run, fails(error)), NEW, context(run))
    assert (run / "data" / "train.arrow").read_text() == "half"
    found: list[str] = []
    again = stage(run, lambda place: found.append((place / "train.arrow").read_text()) or makes("new")(place))
    shutil.copytree(run, run.parent / "copy")
    run_stage(again, NEW, context(run))
    assert found == ["half"], "it went on"
    assert not (run / ".before").exists()
    copy = run.parent / "copy"
    assert not run_stage(stage(copy, never), OLD, context(copy))["fresh"], "the recipe before costs nothing"
    assert {name: one[0] for name, one in contents(copy).items()} == {name: one[0] for name, one in before.items()}


def test_a_third_recipe_keeps_the_finished_result_and_not_the_half_one(run: Path) -> None:
    with pytest.raises(Stopped):
        run_stage(stage(run, fails(Stopped("stop"))), NEW, context(run))
    with pytest.raises(DataError):
        run_stage(stage(run, fails(DataError("no"))), OTHER, context(run))
    assert not run_stage(stage(run, never), OLD, context(run))["fresh"]


@pytest.mark.slow
@pytest.mark.parametrize("then", ["old", "new"])
@pytest.mark.parametrize("ends", ["well", "refused"])
def test_killed_at_any_disk_operation_the_old_result_or_the_new_one_is_whole(run: Path, tmp_path: Path, then: str, ends: str) -> None:
    """A disk that fails at the n-th operation and at all after it leaves what a kill there leaves."""
    at = 0
    while True:
        at += 1
        place = tmp_path / f"{at}"
        shutil.copytree(run, place)
        work = makes("new") if ends == "well" else fails(DataError("no"))
        disk = FailingDisk(at, errno.EIO)
        disk._fails = lambda name, path, disk=disk: disk.seen >= disk.at  # type: ignore[method-assign]
        try:
            ended = failure(lambda work=work, place=place: run_stage(stage(place, work), NEW, context(place)), disk)
        except DataError:
            break
        assert (place / "data" / KEPT).read_text() == "read once\n"
        sweep(place)
        mark = place / "data" / "stage.json"
        replaced = mark.exists() and read_json(mark)["key"] == "new"
        ran = run_stage(stage(place, makes(then)), OLD if then == "old" else NEW, context(place))
        assert (place / "data" / f"only-{then}.json").read_text() == then
        assert {path.read_text() for path in (place / "data").rglob("*.json") if path not in (mark, place / "data" / "stopped.json")} == {
            then
        }
        assert not list(place.glob(".before/*"))
        marked = read_json(mark)
        assert marked["key"] == then
        assert set(marked["files"]) == {"train.arrow", "a.json", f"only-{then}.json", "deep/b.json", "findings.jsonl"}
        if then == "old":
            assert ran["fresh"] == replaced, "what is finished is not done again"
        if ended is None:
            break
    assert at > 20


def test_a_result_with_other_additions_is_gone_on_from(run: Path, tmp_path: Path) -> None:
    more = Key(whole="more", core="old")
    ran = run_stage(stage(run, lambda place: write_text(place / "added.json", "more")), more, context(run))
    assert ran["fresh"]
    assert {"only-old.json", "added.json"} <= set(ran["files"])
    with pytest.raises(Stopped):
        run_stage(stage(run, fails(Stopped("stop"))), Key(whole="most", core="old"), context(run))
    assert (run / "data" / "only-old.json").exists()
    run_stage(stage(run, makes("old")), more, context(run))
    assert (run / "data" / "added.json").exists(), "work begun for other additions is gone on from, too"


def test_a_result_made_with_another_version_of_a_library_is_kept_and_said(run: Path) -> None:
    mark = run / "data" / "stage.json"
    known = read_json(mark)
    assert {"python", "torch", "numpy"} <= set(known["made_with"])
    said: list[str] = []
    run_stage(stage(run, never), OLD, context(run, said))
    assert said == []
    write_json(mark, {**known, "made_with": {**known["made_with"], "torch": "1.0"}})
    run_stage(stage(run, never), OLD, context(run, said))
    (line,) = said
    assert line.startswith(f"data was made with torch 1.0 (here {known['made_with']['torch']}) and is kept; weigh data ")
    write_json(run / "data" / "under_way.json", {**{key: known[key] for key in ("key", "core")}, "made_with": {"torch": "1.0"}})
    mark.unlink()
    run_stage(stage(run, makes("old")), OLD, context(run, said))
    assert "data was begun with torch 1.0" in said[1]


def test_a_mark_from_elsewhere_can_not_lead_outside(run: Path, tmp_path: Path) -> None:
    """A run folder that was sent: what is set aside is moved by name within the folder, and a link is moved as a link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "theirs").write_text("theirs")
    (run / "data" / "link").symlink_to(outside)
    with use_disk(FailingDisk(0, 0)):
        run_stage(stage(run, makes("new")), NEW, context(run))
    assert (outside / "theirs").read_text() == "theirs"
