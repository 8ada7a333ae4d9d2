"""Law: a name in an archive leads to a file of the package or to a refusal; nothing is unpacked, and a bomb is not inflated."""

from __future__ import annotations

import io
import shutil
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import weighbridge
from tests.attacks.test_package_integrity import _names
from tests.unit.runtime_packages import make_package
from weighbridge.errors import PackageError
from weighbridge.storage import read_json

FILES = ("model.onnx", "package.json", "golden.json", "card.md", "manifest.json")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives") / "tiny"
    make_package(folder, photos=False)
    return folder


def zipped(package: Path, path: Path, add: Callable[[zipfile.ZipFile], None] | None = None, *, prefix: str = "", leave: str = "") -> Path:
    """A .zip of the package, with what an attacker adds."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES:
            if name != leave:
                archive.writestr(prefix + name, (package / name).read_bytes())
        if add is not None:
            add(archive)
    return path


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    info.create_system = 3
    return info


@pytest.mark.parametrize("prefix", ["", "package/", "模型 1/"])
def test_a_zip_of_a_package_answers_as_its_folder_does(package: Path, tmp_path: Path, prefix: str) -> None:
    rows = read_json(package / "golden.json")["columns"]
    whole, packed = weighbridge.load(package), weighbridge.load(zipped(package, tmp_path / "p.zip", prefix=prefix))
    assert packed.info.package_sha256 == whole.info.package_sha256
    assert np.array_equal(packed.predict(rows).probabilities, whole.predict(rows).probabilities)
    assert {path.name for path in tmp_path.iterdir()} == {"p.zip"}


def test_an_archive_made_by_the_ordinary_tool_is_read(package: Path, tmp_path: Path) -> None:
    made = shutil.make_archive(str(tmp_path / "p"), "zip", package.parent, package.name)
    assert weighbridge.load(made).classes == ("no", "yes")


ADDED: dict[str, Callable[[zipfile.ZipFile], None]] = {
    "zip slip": lambda to: to.writestr(entry("../evil"), b"x"),
    "zip slip, deep": lambda to: to.writestr(entry("../../../../etc/cron.d/evil"), b"x"),
    "zip slip, backslashes": lambda to: to.writestr(entry("..\\..\\evil.bat"), b"x"),
    "absolute": lambda to: to.writestr(entry("/etc/evil"), b"x"),
    "drive": lambda to: to.writestr(entry("C:\\evil"), b"x"),
    "UNC": lambda to: to.writestr(entry("\\\\host\\share\\evil"), b"x"),
    "NUL": lambda to: to.writestr(entry("card.md\0.exe"), b"x"),
    "symbolic link": lambda to: to.writestr(entry("card.md", stat.S_IFLNK | 0o777), b"/etc/passwd"),
    "device": lambda to: to.writestr(entry("card.md", stat.S_IFCHR | 0o666), b""),
    "pipe": lambda to: to.writestr(entry("card.md", stat.S_IFIFO | 0o666), b""),
    "a name twice": lambda to: to.writestr(entry("manifest.json"), b"{}"),
    "another case": lambda to: to.writestr(entry("Model.onnx"), b"x"),
    "a name in another folder": lambda to: to.writestr(entry("b/model.onnx"), b"x"),
    "a folder": lambda to: to.writestr(entry("weights/", stat.S_IFDIR | 0o755), b""),
    "external weights": lambda to: to.writestr(entry("model.onnx.data"), b"x"),
    "a program": lambda to: to.writestr(entry("__main__.py"), b"x"),
    "nested archive": lambda to: to.writestr(entry("inner.zip"), b"PK"),
    "10,000 entries": lambda to: [to.writestr(entry(f"f{number}"), b"") for number in range(10_000)] and None,
    "look-alike dots": lambda to: to.writestr(entry("\uff0e\uff0e/evil"), b"x"),
    "bzip2": lambda to: to.writestr(entry("card.md"), b"x" * 100, zipfile.ZIP_BZIP2),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_entry_is_named_and_nothing_is_written(package: Path, tmp_path: Path, name: str) -> None:
    cards = ("symbolic link", "device", "pipe", "bzip2")
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    path = zipped(package, inside / "p.zip", ADDED[name], leave="card.md" if name in cards else "")
    with pytest.raises(PackageError) as caught:
        weighbridge.load(path)
    assert str(path) in caught.value.what
    assert "is not a whole archive" not in caught.value.what
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_is_inflated(package: Path, tmp_path: Path) -> None:
    """64 MB of zeros in 64 KB, declared honestly, then declared as 10 bytes; the control shows what inflating them costs."""
    bomb = bytes(64 << 20)
    for number, lie in enumerate((None, 10)):
        path = zipped(package, tmp_path / f"{number}.zip", lambda to: to.writestr("card.md", bomb), leave="card.md")
        if lie is not None:
            content = path.read_bytes()
            path.write_bytes(content.replace(struct.pack("<I", len(bomb)), struct.pack("<I", lie)))
        tracemalloc.start()
        with pytest.raises(PackageError, match=r"card\.md|archive"):
            weighbridge.load(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()
    tracemalloc.start()
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        archive.read("card.md")
    assert tracemalloc.get_traced_memory()[1] > 60 << 20
    tracemalloc.stop()


NO_ARCHIVES = ("empty", "cut", "tar", "text", "folder named .zip")


@pytest.mark.parametrize("kind", NO_ARCHIVES)
def test_what_is_no_archive_is_one_line(package: Path, tmp_path: Path, kind: str) -> None:
    with pytest.raises(PackageError) as caught:
        weighbridge.load(no_archive(package, tmp_path, kind))
    assert "\n" not in str(caught.value)


def no_archive(package: Path, tmp_path: Path, kind: str) -> Path:
    path = zipped(package, tmp_path / "p.zip")
    content = path.read_bytes()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, what in (
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("device", tarfile.CHRTYPE),
            ("sparse", tarfile.GNUTYPE_SPARSE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = what, "/etc/passwd"
            archive.addfile(info)
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "tar": stream.getvalue(), "text": b"hello"}.get(kind, b""))
    if kind.startswith("folder"):
        path.unlink()
        path.mkdir()
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_25_hostile_archives_are_refused_and_nothing_is_written(package: Path, tmp_path: Path, record: Callable[..., None]) -> None:
    cards, refused = ("symbolic link", "device", "pipe", "bzip2"), 0
    for number, name in enumerate([*ADDED, *NO_ARCHIVES]):
        place = tmp_path / str(number)
        place.mkdir()
        if name in ADDED:
            path = zipped(package, place / "p.zip", ADDED[name], leave="card.md" if name in cards else "")
        else:
            path = no_archive(package, place, name)
        with pytest.raises(PackageError):
            weighbridge.load(path)
        assert list(place.iterdir()) == [path]
        refused += 1
    assert refused == 25
    record("archives", refused, n=25)


def test_every_changed_byte_of_an_archive_is_found_or_changes_nothing(package: Path, tmp_path: Path) -> None:
    path = zipped(package, tmp_path / "p.zip")
    content, good = path.read_bytes(), weighbridge.load(path).info.package_sha256
    random = np.random.default_rng(0)
    refused = 0
    for place in random.choice(len(content), 200, replace=False).tolist():
        bad = bytearray(content)
        bad[place] ^= int(random.integers(1, 256))
        path.write_bytes(bytes(bad))
        try:
            assert weighbridge.load(path, threads=1).info.package_sha256 == good
        except PackageError:
            refused += 1
    assert refused > 100


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_2000_names_in_archives_are_refused_or_are_the_package(package: Path, tmp_path: Path, record: Callable[..., None]) -> None:
    """The same names that `resolve` refuses, as entries: all in one archive, then in 40 archives of a few, then 200 alone."""
    names = _names()
    assert len(names) == 2000
    groups = [names, *[names[start : start + 5] for start in range(0, 200, 5)], *[[name] for name in names[:200]]]
    refused = 0
    for group in groups:
        path = tmp_path / "p.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in FILES:
                archive.writestr(name, (package / name).read_bytes())
            for name in group:
                archive.writestr(entry(name), b"x")
        with pytest.raises(PackageError):
            weighbridge.load(path)
        refused += 1
    assert refused == len(groups)
    record("paths", len(names), n=len(names))
    assert {found.name for found in tmp_path.rglob("*")} == {"p.zip"}
