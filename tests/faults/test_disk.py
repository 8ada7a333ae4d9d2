"""Law: whichever disk operation of a run fails, the run says so in one line, harms nothing that was finished, and goes on afterwards.

The disk is a seam through which every write passes; each of its operations fails once, by ENOSPC, EIO and EACCES in turn. A real file
system of a few MB is filled, too. The naive way, which writes in place, loses the old content at the first failure.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

import weighbridge
from tests.faults import small_runs
from tests.faults.places import small_file_system
from weighbridge import lifecycle
from weighbridge.deployment import price
from weighbridge.errors import StorageError
from weighbridge.stages.manifest import damaged, listed
from weighbridge.storage import OsDisk, fresh_folder, move, read_json, remove, sha256_file, sweep, use_disk, write_bytes, write_json
from weighbridge.training import plan

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
NAMES = {errno.ENOSPC: "the disk is full", errno.EIO: "I/O error", errno.EACCES: "permission is denied"}


class FailingDisk(OsDisk):
    """The real disk on which operation number `at` fails; `seen` counts."""

    def __init__(self, at: int, error: int) -> None:
        self.at, self.error, self.seen = at, error, 0

    def _meet(self, name: str, path: Path) -> None:
        self.seen += 1
        if self._fails(name, path):
            raise OSError(self.error, os.strerror(self.error), str(path))

    def _fails(self, name: str, path: Path) -> bool:
        return self.seen == self.at

    def make_folder(self, path: Path) -> None:
        self._meet("make_folder", path)
        super().make_folder(path)

    def open(self, path: Path) -> IO[bytes]:
        self._meet("open", path)
        return super().open(path)

    def write(self, file: IO[bytes], content: bytes) -> None:
        file.write(content[: len(content) // 2])
        self._meet("write", Path(file.name))
        file.write(content[len(content) // 2 :])

    def sync(self, file: IO[bytes]) -> None:
        self._meet("sync", Path(file.name))
        super().sync(file)

    def replace(self, source: Path, target: Path) -> None:
        self._meet("replace", target)
        super().replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._meet("sync_folder", folder)
        super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        self._meet("remove", path)
        super().remove(path)


class EachOnce(FailingDisk):
    """Every operation on every file fails the first time that it is met over all starts; the three errors take turns."""

    def __init__(self) -> None:
        super().__init__(0, errno.ENOSPC)
        self.failed: dict[tuple[str, str], int] = {}

    def _fails(self, name: str, path: Path) -> bool:
        met = name, re.sub(r"\.[0-9a-f]{8}\.part$", "", str(path))
        if met in self.failed:
            return False
        self.error = ERRORS[len(self.failed) % len(ERRORS)]
        self.failed[met] = self.error
        return True


def failure(work: Callable[[], object], disk: OsDisk) -> StorageError | None:
    """Do the work on this disk; return the error that it ended with, None where it ended well."""
    try:
        with use_disk(disk):
            work()
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("error", ERRORS)
def test_whichever_operation_of_a_write_fails_the_old_content_or_all_of_the_new_is_there(tmp_path: Path, error: int) -> None:
    path, at, failures = tmp_path / "a" / "value.json", 0, 0
    while True:
        at += 1
        shutil.rmtree(path.parent, ignore_errors=True)
        write_json(path, {"version": "old"})
        disk = FailingDisk(at, error)
        found = failure(lambda: write_json(path, {"version": "new"}), disk)
        if found is None:
            break
        failures += 1
        assert NAMES[error] in str(found)
        assert str(path) in str(found)
        assert found.exit_code == 2
        assert read_json(path)["version"] in ("old", "new")
        assert [one.name for one in path.parent.iterdir()] == ["value.json"]
    assert failures == disk.seen == 6


@pytest.mark.parametrize("error", ERRORS)
def test_the_naive_way_loses_the_old_content(tmp_path: Path, error: int) -> None:
    path = tmp_path / "value"
    path.write_bytes(b"old")
    disk = FailingDisk(2, error)
    with pytest.raises(OSError, match=re.escape(os.strerror(error))), disk.open(path) as file:
        disk.write(file, b"new content")
    assert path.read_bytes() not in (b"old", b"new content")


@pytest.mark.parametrize("error", ERRORS)
def test_folders_that_can_not_be_made_moved_or_removed_are_named(tmp_path: Path, error: int) -> None:
    (tmp_path / ".x.00000000.part").touch()
    (tmp_path / "one").mkdir()
    for work in (
        lambda: fresh_folder(tmp_path / "one"),
        lambda: remove(tmp_path / "one"),
        lambda: move(tmp_path / "one", tmp_path / "two"),
        lambda: sweep(tmp_path),
        lambda: write_bytes(tmp_path / "one" / "f", b""),
    ):
        with use_disk(FailingDisk(1, error)), pytest.raises(StorageError, match=NAMES[error]):
            work()
        assert sorted(path.name for path in tmp_path.iterdir()) == [".x.00000000.part", "one"]
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def finished(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the stages that are finished and whole."""
    found = {}
    for mark in folder.glob("*/stage.json"):
        known = read_json(mark)["files"]
        if not damaged(mark.parent, known):
            found |= {f"{mark.parent.name}/{name}": sha256_file(mark.parent / name) for name in known}
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A price from few measurements: the package is built some thirty times."""
    monkeypatch.setattr(price, "STARTS", 1)
    monkeypatch.setattr(price, "REPEATS", 5)
    monkeypatch.setattr(price, "BULK_REPEATS", 2)
    monkeypatch.setattr(price, "START_LIMIT_S", 60.0)
    monkeypatch.setattr(plan, "TRIAL_S", 0.0)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("quick")
def test_every_operation_of_a_whole_run_fails_once_and_the_run_ends_as_if_none_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Callable[..., None]
) -> None:
    recipe = small_runs.table(tmp_path)
    for place in ("calm", "stormy"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "calm")
    counted = FailingDisk(0, 0)
    with use_disk(counted):
        lifecycle.run(recipe, Path("run"))
    expected = small_runs.what_must_be_equal(Path("run"))
    monkeypatch.chdir(tmp_path / "stormy")
    disk, starts = EachOnce(), 0
    while True:
        before, starts = finished(Path("run")), starts + 1
        found = failure(lambda: lifecycle.run(recipe, Path("run")), disk)
        if found is None:
            break
        assert NAMES[disk.error] in str(found)
        assert "\n" not in str(found)
        now = finished(Path("run"))
        assert {name: now.get(name) for name in before} == before, str(found)
    assert small_runs.what_must_be_equal(Path("run")) == expected
    assert not list(Path("run").rglob("*.part"))
    assert weighbridge.load(Path("run/deployment/package")).classes == ("no", "yes")
    kinds = {name for name, _ in disk.failed}
    assert kinds == {"make_folder", "open", "write", "sync", "replace", "sync_folder", "remove"}
    assert starts > 100
    record("disk.faults", len(disk.failed), n=starts - 1)
    print(f"{starts - 1} failures of {len(disk.failed)} different operations; a run makes {counted.seen} operations")


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_package_of_the_recipe_before_stays_until_the_new_one_is_proven(tmp_path: Path) -> None:
    recipe = small_runs.table(tmp_path)
    lifecycle.run(recipe, tmp_path / "run")
    package = tmp_path / "run" / "deployment" / "package"
    before = {path.name: sha256_file(path) for path in package.iterdir()}
    other = small_runs.changed(recipe, "deployment", tolerance=2e-3)
    fault = FailingDisk(0, errno.ENOSPC)
    fault._fails = lambda name, path: path.name.startswith(".model.onnx") and name == "sync"  # type: ignore[method-assign]
    with use_disk(fault), pytest.raises(StorageError, match="the disk is full"):
        lifecycle.run(other, tmp_path / "run")
    assert {path.name: sha256_file(path) for path in package.iterdir()} == before
    lifecycle.run(other, tmp_path / "run")
    assert {path.name: sha256_file(path) for path in package.iterdir()} != before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_file_system(tmp_path / "small", 4) as place:
        yield place


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_real_file_system_that_is_full_is_named_and_the_run_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_runs.table(tmp_path)
    (tmp_path / "roomy").mkdir()
    monkeypatch.chdir(tmp_path / "roomy")
    lifecycle.run(recipe, Path("run"))
    expected = small_runs.what_must_be_equal(Path("run"))
    monkeypatch.chdir(small_disk)
    ballast, failures = small_disk / "ballast", []
    with open(ballast, "wb") as file:
        file.truncate(0)
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_disk).free)
    while True:
        before = finished(Path("run"))
        found = failure(lambda: lifecycle.run(recipe, Path("run")), OsDisk())
        if found is None:
            break
        assert "the disk is full" in str(found)
        assert found.exit_code == 2
        failures.append(str(found))
        now = finished(Path("run"))
        assert {name: now.get(name) for name in before} == before
        os.truncate(ballast, max(0, ballast.stat().st_size - (48 << 10)))
    assert len(failures) >= 5
    assert small_runs.what_must_be_equal(Path("run")) == expected
    assert not damaged(Path("run/training"), listed(Path("run/training")))
    print(f"full {len(failures)} times, at {len(set(failures))} different files")
