"""Law: an erasure that is stopped at any point, by a kill or by the disk, is ended by the same command; until then the folder is refused,
and nothing that was not to go is harmed.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Record
from tests.faults import small_runs
from tests.faults.kill_points import KINDS, Points, Where, in_child
from tests.faults.test_disk import FailingDisk
from weighbridge import lifecycle
from weighbridge.data.erased import PENDING, read_receipts
from weighbridge.data.table import Table, load_schema
from weighbridge.deployment.erase import Request, erase
from weighbridge.errors import RunError, StorageError
from weighbridge.evaluation import read_predictions
from weighbridge.preprocessing import open_arrays
from weighbridge.recipe import Recipe
from weighbridge.storage import use_disk

pytestmark = pytest.mark.slow
FAILS, KILLS = 24, 16  # points of each sweep, spread over all that there are


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, few_audits: None) -> tuple[Recipe, Path, str]:
    """A run up to its evaluation, and the id of a training row."""
    home = tmp_path_factory.mktemp("erase")
    recipe = small_runs.changed(small_runs.table(home), "training", epochs=1)
    lifecycle.run(recipe, home / "run", until="evaluation")
    return recipe, home / "run", str(_table(home / "run", "train").row_ids[5])


def _table(run: Path, side: str) -> Table:
    return Table(run / "data" / f"{side}.arrow", load_schema(run / "data" / "schema.json"))


def _values(path: Path, row: str) -> bytes:
    arrays = open_arrays(path)
    return bytes(np.asarray(arrays.blocks["number"])[arrays.row_ids.tolist().index(row)].tobytes())


def _request(row: str) -> Request:
    return Request(ids=(row,), where={}, source=True)


def _ended(before: Path, run: Path, row: str, encoded: bytes, source: list[str]) -> None:
    """The row is gone, every other row is there as it was, one receipt names it."""
    assert not (run / PENDING).exists()
    assert [len(one["rows"]) for one in read_receipts(run / "data")] == [1]
    for side in ("train", "validation", "test"):
        was, now = _table(before, side), _table(run, side)
        stay = was.row_ids != row
        assert now.row_ids.tolist() == was.row_ids[stay].tolist()
        assert np.array_equal(now.column("z"), was.column("z")[stay])
    was, now = open_arrays(before / "preprocessing" / "train"), open_arrays(run / "preprocessing" / "train")
    stay = was.row_ids != row
    assert np.array_equal(now.blocks["number"], np.asarray(was.blocks["number"])[stay])
    assert np.array_equal(now.target, was.target[stay])
    assert row not in read_predictions(run / "evaluation" / "train.parquet").row_id.tolist()
    for path in run.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert encoded not in content, path
            assert row.encode() not in content, path
    assert (run.parent / "table.csv").read_text(encoding="utf-8").splitlines() == source


def _begin(made: tuple[Recipe, Path, str], place: Path) -> tuple[Recipe, Path, list[str]]:
    """A copy of the run with a source of its own; return the source's lines without the row."""
    recipe, run, row = made
    shutil.copytree(run, place / "run")
    shutil.copy(run.parent / "table.csv", place / "table.csv")
    own = small_runs.changed(recipe, "data", source=(place / "table.csv").as_posix())
    text = (place / "run" / "recipe.yaml").read_text(encoding="utf-8").replace(run.parent.as_posix(), place.as_posix())
    (place / "run" / "recipe.yaml").write_text(text, encoding="utf-8")
    table = _table(run, "train")
    z = float(table.column("z")[table.row_ids.tolist().index(row)])
    lines = (place / "table.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if f"{z:.5f}" != line.split(",")[1]]
    assert len(kept) == len(lines) - 1
    return own, place / "run", kept


def _sound_or_refused(recipe: Recipe, run: Path) -> bool:
    """Whether the folder is whole; one with an erasure under way is refused by `weigh run`."""
    if not (run / PENDING).exists():
        return True
    with pytest.raises(RunError, match="being erased"):
        lifecycle.run(recipe, run, until="data")
    return False


def test_whichever_disk_operation_fails_the_same_command_ends_the_erasure(
    made: tuple[Recipe, Path, str], tmp_path: Path, record: Record
) -> None:
    _, before, row = made
    encoded = _values(before / "preprocessing" / "train", row)
    _, run, _ = _begin(made, tmp_path / "count")
    counter = FailingDisk(-1, 0)
    with use_disk(counter):
        erase(run, _request(row))
    places = sorted({*np.linspace(1, counter.seen, FAILS).astype(int).tolist()})
    refused = 0
    for at in places:
        recipe, run, kept = _begin(made, tmp_path / f"at{at}")
        error = (errno.ENOSPC, errno.EIO, errno.EACCES)[at % 3]
        with use_disk(FailingDisk(at, error)), pytest.raises(StorageError):
            erase(run, _request(row))
        refused += not _sound_or_refused(recipe, run)
        erase(run, _request(row))
        _ended(before, run, row, encoded, kept)
        shutil.rmtree(tmp_path / f"at{at}")
    assert refused > len(places) // 2
    record("erase.disk", len(places), n=len(places), operations=counter.seen)


def test_killed_at_any_point_the_same_command_ends_the_erasure(made: tuple[Recipe, Path, str], tmp_path: Path, record: Record) -> None:
    _, before, row = made
    encoded = _values(before / "preprocessing" / "train", row)
    points = Points()
    _, run, _ = _begin(made, tmp_path / "count")
    points.aim(None)
    assert in_child(lambda: erase(run, _request(row)), points, tmp_path / "log.txt", light=True) == 0
    where = [Where(kind=kind, n=n) for kind in KINDS for n in range(1, points.counts[kind] + 1)]
    aimed = [where[place] for place in sorted({*np.linspace(0, len(where) - 1, KILLS).astype(int).tolist()})]
    for number, one in enumerate(aimed):
        recipe, run, kept = _begin(made, tmp_path / f"k{number}")
        points.aim(one)
        assert in_child(lambda run=run: erase(run, _request(row)), points, tmp_path / "log.txt", light=True) == -9  # type: ignore[misc]
        _sound_or_refused(recipe, run)
        erase(run, _request(row))
        _ended(before, run, row, encoded, kept)
        shutil.rmtree(tmp_path / f"k{number}")
    record("erase.kills", len(aimed), n=len(aimed), points=len(where))


def test_a_run_that_another_process_holds_is_not_touched(made: tuple[Recipe, Path, str], tmp_path: Path) -> None:
    from weighbridge.storage import FolderLock

    _, run, _ = _begin(made, tmp_path / "held")
    listed: dict[str, Any] = {path.name: path.stat().st_mtime_ns for path in (run / "data").iterdir()}
    with FolderLock(run), pytest.raises(RunError):
        erase(run, _request(made[2]))
    assert {path.name: path.stat().st_mtime_ns for path in (run / "data").iterdir()} == listed
