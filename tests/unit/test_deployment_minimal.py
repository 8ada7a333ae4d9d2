"""Law: what a device is told to install is enough to answer the package, and nothing of it is left to other libraries."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from tests.unit.runtime_packages import make_package
from weighbridge.deployment import minimal
from weighbridge.errors import DependencyError, RefusedArtefact


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minimal") / "package"
    make_package(folder)
    return folder


def test_the_list_is_proven_written_with_exact_pins_and_weighed(package: Path) -> None:
    found = minimal.minimal_finding(package, "weigh deploy runs/x")
    lines = (package.parent / minimal.FILE).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins == [f"{name}=={metadata.version(name)}" for name in ("numpy", "onnxruntime", "pillow")]
    assert found.verdict == "neutral"
    assert found.n == 4
    assert isinstance(found.value, int)
    assert 50e6 < found.value < 400e6
    assert found.command == "weigh deploy runs/x --only minimal"


@pytest.mark.parametrize("left_out", ["pillow", "onnxruntime", "numpy"])
def test_a_list_that_lacks_a_library_does_not_pass(package: Path, left_out: str) -> None:
    parts = [minimal.part_of(name) for name in minimal.needed(package) if name != left_out]
    module = {"pillow": "PIL"}.get(left_out, left_out)
    with pytest.raises(RefusedArtefact, match=rf"does not answer with .*{module}"):
        minimal.prove(package, [*parts, minimal.own_part()])


def test_a_list_that_is_not_enough_is_a_limitation_and_leaves_no_file(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minimal, "by_types", lambda types: ())
    found = minimal.minimal_finding(package, "weigh deploy runs/x")
    assert found.verdict == "limitation"
    assert not (package.parent / minimal.FILE).exists()


def test_a_library_of_another_name_is_not_measured_and_says_so(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minimal, "ANSWERS", ("numpy", "onnxruntime-of-nobody"))
    found = minimal.minimal_finding(package, "weigh deploy runs/x")
    assert found.verdict == "unmeasured"
    assert "onnxruntime-of-nobody is not installed" in str(found.reason)
    with pytest.raises(DependencyError):
        minimal.part_of("onnxruntime-of-nobody")


def test_the_size_is_that_of_the_files(tmp_path: Path) -> None:
    part = minimal.part_of("numpy")
    own = minimal.own_part()
    assert {"numpy"} <= part.modules
    assert part.size_bytes > 10e6
    assert own.size_bytes == sum(path.stat().st_size for path in (Path(own.place) / "weighbridge").rglob("*") if _counted(path))
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", part.version)


def _counted(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
