"""Law: whatever is done to a trail behind its back is found with the anchor that was exported, and the line is named.

Six tamperings at every position, by someone who does not know the scheme and by someone who does and makes every hash anew. Without an
anchor the second one is not found: the harness shows that, so that nobody believes a chain of hashes alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weighbridge.serving.trail import START, Anchor, Trail, sealed, trail_files
from weighbridge.serving.trail_verify import Verified, verify

LINES = 12
Tamper = Callable[[list[bytes], int], list[bytes]]


def made(folder: Path, lines: int = LINES, file_bytes: int = 1200) -> Anchor:
    """A trail over several files."""
    trail = Trail(folder, file_bytes=file_bytes)
    for at in range(lines):
        anchor = trail.add("key.made", f"admin{at}", {"key": f"{at:010x}", "note": "é 中 \u2028 <b>"})
    return anchor


def read(folder: Path) -> list[tuple[Path, list[bytes]]]:
    return [(path, path.read_bytes().splitlines(keepends=True)) for path in trail_files(folder)]


def rewritten(folder: Path, copy: Path, lines: list[bytes]) -> Path:
    """A copy of the trail with other lines, in files of the same numbers of lines; the last one takes what is over."""
    shutil.copytree(folder, copy)
    rest = lines
    counts = [len(held) for _, held in read(folder)]
    for path, count in zip(trail_files(copy), [*counts[:-1], len(lines)], strict=True):
        path.write_bytes(b"".join(rest[:count]))
        rest = rest[count:]
    return copy


def rehashed(lines: list[bytes]) -> list[bytes]:
    """The same records with numbers and hashes that fit: what someone does who knows the scheme."""
    before, found = START, []
    for at, line in enumerate(lines, start=1):
        record = {name: value for name, value in json.loads(line).items() if name != "hash"}
        found.append(sealed(record | {"n": at, "before": before}))
        before = json.loads(found[-1])["hash"]
    return found


def edit(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], lines[at].replace(b"admin", b"nobody"), *lines[at + 1 :]]


def delete(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at] + lines[at + 1 :]


def insert(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], lines[at].replace(b"admin", b"other"), *lines[at:]]


def swap(lines: list[bytes], at: int) -> list[bytes]:
    other = (at + 1) % len(lines)
    changed = list(lines)
    changed[at], changed[other] = changed[other], changed[at]
    return changed


def truncate(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at]


def rewrite(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], *(line.replace(b"key.made", b"key.lost") for line in lines[at:])]


TAMPERINGS: dict[str, Tamper] = {one.__name__: one for one in (edit, delete, insert, swap, truncate, rewrite)}
FIRST_TOUCHED = {"swap": lambda at: min(at, (at + 1) % LINES)}


def tampered(folder: Path, scratch: Path, *, knowing: bool) -> Iterator[tuple[str, int, Path]]:
    lines = [line for _, held in read(folder) for line in held]
    for name, tamper in TAMPERINGS.items():
        for at in range(LINES):
            changed = tamper(lines, at)
            yield name, at, rewritten(folder, scratch / f"{name}-{at}", rehashed(changed) if knowing else changed)


def first(name: str, at: int) -> int:
    """The number of the first line that is not as it was."""
    return FIRST_TOUCHED.get(name, lambda one: one)(at) + 1


def test_six_tamperings_at_every_position_are_found_and_the_line_is_named(tmp_path: Path, record: Callable[..., None]) -> None:
    anchor = made(tmp_path / "trail")
    assert verify(tmp_path / "trail", [anchor]) == Verified(lines=LINES, damage=None, anchored=LINES, end=anchor)
    assert len(trail_files(tmp_path / "trail")) >= 3
    missed = []
    for name, at, folder in tampered(tmp_path / "trail", tmp_path, knowing=False):
        damage = verify(folder, [anchor]).damage
        if damage is None or damage.line != first(name, at):
            missed.append((name, at, str(damage)))
    assert missed == []
    record("trail.tampered", 6 * LINES - len(missed), n=6 * LINES)


def test_who_makes_every_hash_anew_is_found_by_the_anchor_and_only_by_it(tmp_path: Path, record: Callable[..., None]) -> None:
    anchor = made(tmp_path / "trail")
    found, blind, trials = 0, 0, 0
    for name, at, folder in tampered(tmp_path / "trail", tmp_path, knowing=True):
        trials += 1
        damage = verify(folder, [anchor]).damage if trail_files(folder) else None
        assert damage is not None, (name, at)
        found += 1
        blind += verify(folder).damage is None
    assert blind == trials, "a chain of hashes that is made anew is whole: without an anchor there is nothing to find"
    record("trail.rewritten", found, n=trials)


def test_an_anchor_at_each_line_names_the_very_line_of_a_rewriting(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "trail", file_bytes=1200)
    anchors = [trail.add("key.made", f"admin{at}") for at in range(LINES)]
    for name, at, folder in tampered(tmp_path / "trail", tmp_path, knowing=True):
        damage = verify(folder, anchors).damage
        assert damage is not None
        assert damage.line == first(name, at), name


def test_a_cut_at_any_byte_is_found(tmp_path: Path) -> None:
    anchor = made(tmp_path / "trail", lines=2, file_bytes=10_000)
    (path,) = trail_files(tmp_path / "trail")
    content = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(content) if byte == 10]
    for size in range(len(content)):
        path.write_bytes(content[:size])
        damage = verify(tmp_path / "trail", [anchor]).damage
        assert damage is not None
        assert damage.line == 1 + sum(end <= size for end in ends)
        if size and size not in ends and size % 7 == 0:
            assert verify(tmp_path / "trail").damage is not None, "a line that is cut is seen without an anchor, too"


@settings(max_examples=200, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_no_changed_byte_passes(trail_of_three: tuple[Path, bytes, Anchor], place: float, change: int) -> None:
    path, content, _ = trail_of_three
    at = int(place * len(content))
    path.write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
    assert verify(path.parent).damage is not None, "even without an anchor"


@settings(max_examples=60, deadline=None)
@given(junk=st.binary(max_size=300))
def test_bytes_of_any_kind_are_damage_and_never_a_crash(trail_of_three: tuple[Path, bytes, Anchor], junk: bytes) -> None:
    path, content, anchor = trail_of_three
    for changed in (junk, content + junk, junk + content, content[:100] + junk + content[100:]):
        if changed != content:
            path.write_bytes(changed)
            assert verify(path.parent, [anchor]).damage is not None


@pytest.fixture(scope="module")
def trail_of_three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, Anchor]:
    folder = tmp_path_factory.mktemp("trail")
    anchor = made(folder, lines=3, file_bytes=10_000)
    (path,) = trail_files(folder)
    return path, path.read_bytes(), anchor


def test_a_file_that_is_taken_away_is_found(tmp_path: Path) -> None:
    anchor = made(tmp_path / "trail")
    files = trail_files(tmp_path / "trail")
    for taken in files:
        shutil.copytree(tmp_path / "trail", tmp_path / "copy")
        (tmp_path / "copy" / taken.name).unlink()
        assert verify(tmp_path / "copy", [anchor]).damage is not None
        shutil.rmtree(tmp_path / "copy")
    shutil.rmtree(tmp_path / "trail")
    damage = verify(tmp_path / "trail", [anchor]).damage
    assert damage is not None
    assert (damage.line, f"{LINES} lines" in damage.what) == (1, True)


def test_a_line_of_no_end_is_read_in_pieces(tmp_path: Path) -> None:
    made(tmp_path / "trail", lines=2, file_bytes=10_000)
    (path,) = trail_files(tmp_path / "trail")
    with path.open("ab") as file:
        file.write(b"x" * 1_000_000)
    assert "too long" in str(verify(tmp_path / "trail").damage)
