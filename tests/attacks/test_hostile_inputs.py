"""Law: an input is read, or refused in one line of a kind that the caller knows; memory stays bounded, whatever it declares of itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.hostile import inputs

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 1_500_000_000  # torch-free: pyarrow, Pillow, the largest honest block (64 MB of one line) and its copies
BOMB = """
import gzip, sys
from tests.attacks.hostile import peak_bytes
content = gzip.decompress(open(sys.argv[1], "rb").read())
text = content.decode()
print(peak_bytes())
"""


@pytest.mark.slow
def test_there_are_500_different_inputs() -> None:
    names, contents = zip(*((one.name, (one.file, one.content)) for one in inputs()), strict=True)
    assert len(set(names)) == len(names)
    assert len(set(contents)) >= 500


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_input_is_read_or_refused_in_one_line_and_memory_stays_bounded(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.attacks.hostile", str(tmp_path / "work")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    wrong = {name: how for name, how in report["ended"].items() if how != "read" and not how.startswith("refused: ")}
    assert wrong == {}
    assert len(report["ended"]) >= 500
    assert 50 <= sum(how == "read" for how in report["ended"].values()) <= 450  # not everything is refused, and not nothing
    assert report["peak_bytes"] < MOST_BYTES


@pytest.mark.slow
def test_reading_a_bomb_whole_would_not_stay_bounded(tmp_path: Path) -> None:
    """The control: the one line of 200 MB that is refused above costs its size twice when it is read at once."""
    bomb = next(one for one in inputs() if one.name == "JSON lines.gz: a line of 200 MB")
    (tmp_path / "bomb").write_bytes(bomb.content)
    done = subprocess.run([sys.executable, "-c", BOMB, str(tmp_path / "bomb")], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert int(done.stdout) > 400_000_000
