"""Law: a line of the trail that was acknowledged is on the disk and stays; writers take turns; what failed left nothing behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from weighbridge.errors import RunError, StorageError, UsageError
from weighbridge.serving.trail import LINE_BYTES, Anchor, Trail, trail_files
from weighbridge.serving.trail_notes import MOST_WAITING, Notes
from weighbridge.serving.trail_verify import read_anchors, verify

ROOT = Path(__file__).resolve().parents[2]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in trail_files(folder) for line in path.read_bytes().splitlines()]


def test_a_line_says_who_did_what_and_when(tmp_path: Path) -> None:
    trail = Trail(tmp_path, clock=lambda: 1_800_000_000.25)
    anchor = trail.add("key.made", "4f1c0a9b2e", {"roles": ["predict"]})
    (line,) = lines(tmp_path)
    assert line == {
        "n": 1, "time": "2027-01-15T08:00:00.250000Z", "who": "4f1c0a9b2e", "what": "key.made", "detail": {"roles": ["predict"]},
        "before": "0" * 64, "hash": anchor.head,
    }  # fmt: skip
    assert trail_files(tmp_path)[0].stat().st_mode & 0o777 == 0o600


def test_a_restart_goes_on_where_the_trail_was(tmp_path: Path) -> None:
    for at in range(5):
        anchor = Trail(tmp_path, file_bytes=600).add("server.started", "", {"at": at})
    assert verify(tmp_path, [anchor]).damage is None
    assert anchor.count == 5
    assert len(trail_files(tmp_path)) > 1


def test_two_processes_and_threads_write_in_turn(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from weighbridge.serving.trail import Trail\n"
        "trail = Trail(Path(sys.argv[1]), file_bytes=4000)\n"
        "for at in range(15): trail.add('key.made', sys.argv[2], {'at': at})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], cwd=ROOT, env=environment) for name in "ab"]
    trail = Trail(tmp_path, file_bytes=4000)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda at: trail.add("key.made", "c", {"at": at}), range(15)))
    assert [one.wait() for one in started] == [0, 0]
    found = verify(tmp_path, [trail.anchor()])
    assert (found.lines, found.damage, found.anchored) == (45, None, 45)
    for who in "ab":
        assert [line["detail"] for line in lines(tmp_path) if line["who"] == who] == [{"at": at} for at in range(15)]


@pytest.mark.parametrize("size", [1, 40, -1])
def test_what_a_kill_left_of_a_line_is_taken_away_and_said(tmp_path: Path, size: int) -> None:
    trail = Trail(tmp_path)
    for at in range(3):
        trail.add("key.made", "a", {"at": at})
    (path,) = trail_files(tmp_path)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole + last[:size])
    assert verify(tmp_path).damage is not None
    again = Trail(tmp_path)
    again.add("server.started", "")
    assert verify(tmp_path, [again.anchor()]).damage is None
    assert [line["what"] for line in lines(tmp_path)][3:] == ["trail.mended", "server.started"]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("failing", ["write", "fsync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_line_that_the_disk_refused_is_not_there_and_the_next_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: int
) -> None:
    trail = Trail(tmp_path)
    trail.add("key.made", "a")
    real = getattr(os, failing)
    calls: list[int] = []

    def fails_once(handle: int, *rest: bytes) -> int:
        calls.append(handle)
        if len(calls) == 1:
            if rest:
                real(handle, rest[0][:7])
            raise OSError(error, os.strerror(error))
        return int(real(handle, *rest) or 0)

    monkeypatch.setattr(os, failing, fails_once)
    with pytest.raises(StorageError, match="can not write"):
        trail.add("key.revoked", "a")
    assert [line["what"] for line in lines(tmp_path)] == ["key.made"]
    anchor = trail.add("key.rotated", "a")
    assert [line["what"] for line in lines(tmp_path)] == ["key.made", "key.rotated"]
    assert verify(tmp_path, [anchor]).damage is None


def test_a_short_write_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(tmp_path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: real(handle, content[: len(content) // 2]))
    with pytest.raises(StorageError, match="disk is full"):
        trail.add("key.made", "a")
    monkeypatch.undo()
    assert trail.add("key.made", "a").count == 1
    assert verify(tmp_path).damage is None


def test_a_trail_that_can_not_be_mended_takes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(tmp_path)
    trail.add("key.made", "a")

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StorageError):
        trail.add("key.made", "b")
    monkeypatch.undo()
    with pytest.raises(StorageError, match="start the server again"):
        trail.add("key.made", "c")


def test_a_trail_that_is_cut_while_it_is_written_is_not_continued(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    for at in range(4):
        trail.add("key.made", "a", {"at": at})
    (path,) = trail_files(tmp_path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(RunError, match="had 4 lines and has 2"):
        trail.add("key.made", "a")
    path.unlink()
    with pytest.raises(RunError, match="is gone"):
        trail.add("key.made", "a")


def test_a_damaged_last_line_is_not_built_upon(tmp_path: Path) -> None:
    Trail(tmp_path).add("key.made", "a")
    (path,) = trail_files(tmp_path)
    path.write_bytes(b'{"n": "x"}\n')
    with pytest.raises(RunError, match="damaged"):
        Trail(tmp_path).add("key.made", "a")


def test_older_files_may_be_kept_elsewhere_when_an_anchor_says_what_they_held(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "trail", file_bytes=600)
    anchors = [trail.add("key.made", "a", {"at": at}) for at in range(9)]
    first, *_ = trail_files(tmp_path / "trail")
    held = len(first.read_bytes().splitlines())
    first.unlink()
    assert verify(tmp_path / "trail", [anchors[held - 1], anchors[-1]]).damage is None
    damage = verify(tmp_path / "trail", [anchors[-1]]).damage
    assert damage is not None
    wrong = Anchor(count=held, head="f" * 64)
    assert verify(tmp_path / "trail", [wrong, anchors[-1]]).damage is not None


def test_anchors_are_exported_with_each_rotation_and_at_the_end(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "trail", anchor_file=tmp_path / "elsewhere" / "anchors", file_bytes=600)
    for at in range(9):
        trail.add("key.made", "a", {"at": at})
    trail.close()
    anchors = read_anchors(str(tmp_path / "elsewhere" / "anchors"))
    assert len(anchors) == len(trail_files(tmp_path / "trail"))
    assert anchors[-1] == trail.anchor()
    assert verify(tmp_path / "trail", anchors).damage is None
    assert read_anchors(str(anchors[0])) == [anchors[0]]


@pytest.mark.parametrize("text", ["nowhere", "3:abc", "3:" + "g" * 64, "x:" + "0" * 64])
def test_what_is_no_anchor_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_anchors(text)


def test_secrets_and_halves_of_characters_do_not_reach_a_line(tmp_path: Path) -> None:
    key = "wb_0123456789_" + "A" * 43
    trail = Trail(tmp_path)
    trail.add(
        "login.refused",
        key,
        {"header": f"x\nBearer {key}", key: ['token=abcdefgh\\"ijkl', "\ud800"], "pem": "-----BEGIN PRIVATE KEY-----\nMIIE"},
    )
    content = trail_files(tmp_path)[0].read_text()
    for secret in ("A" * 20, "abcdefgh", "MIIE"):
        assert secret not in content
    assert "wb_0123456789_***" in content
    assert verify(tmp_path).damage is None


def test_a_detail_of_any_size_makes_a_line_of_bounded_size(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    trail.add("labels.accepted", "w" * 10_000, {"ids": ["x" * 1000] * 1000})
    assert max(len(line) for line in trail_files(tmp_path)[0].read_bytes().splitlines()) < LINE_BYTES
    assert lines(tmp_path)[0]["detail"]["cut"] is True  # type: ignore[index]
    assert Trail(tmp_path).add("labels.accepted", "a").count == 2


@pytest.mark.parametrize("what", ["", "made", "Key.made", "key.made\n", "key made"])
def test_what_was_done_is_said_in_dotted_words(tmp_path: Path, what: str) -> None:
    with pytest.raises(ValueError, match="not such as"):
        Trail(tmp_path).add(what, "a")


def test_a_trail_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no trail"):
        verify(tmp_path)


def test_notes_are_written_in_order_and_what_did_not_fit_is_counted(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    notes = Notes(trail)
    with trail._thread:  # the disk hangs
        for at in range(MOST_WAITING + 50):
            notes.note("login.refused", "", {"at": at})
        lost = notes.lost
    assert 49 <= lost <= 50
    notes.close()
    told = lines(tmp_path)
    assert [line["detail"]["at"] for line in told if line["what"] == "login.refused"] == list(range(MOST_WAITING + 50 - lost))  # type: ignore[index]
    assert [line["detail"] for line in told if line["what"] == "trail.lost"] == [{"lines": lost}]
    assert verify(tmp_path, [trail.anchor()]).damage is None
