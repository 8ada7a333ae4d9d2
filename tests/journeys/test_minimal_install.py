"""Law: an environment made of exactly what requirements.txt beside a package lists answers that package. From a registry's wheels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.runtime_packages import make_package
from weighbridge.deployment.minimal import FILE, minimal_finding

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ANSWER = """
import io, json, sys
import PIL.Image
import weighbridge
model = weighbridge.load(sys.argv[1])
apart = model.check_golden()
png = io.BytesIO()
PIL.Image.new("RGB", (9, 7)).save(png, "PNG")
assert len(model.predict([{name: png.getvalue() if kind == "image" else None for name, kind in model.signature.items()}])) == 1
outside = sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__"})
print(json.dumps({"apart": apart, "outside": outside, "from": weighbridge.__file__}))
"""


def test_an_environment_of_that_list_alone_answers_the_package_and_weighs_what_was_said(tmp_path: Path) -> None:
    package = tmp_path / "package"
    make_package(package)
    said = minimal_finding(package, "weigh deploy runs/x")
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path / "wheel"), str(ROOT)]
    subprocess.run(wheel, check=True, capture_output=True, text=True)
    python = environment(tmp_path / "venv")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-compile"]
    subprocess.run([*install, "-r", str(tmp_path / FILE)], check=True, capture_output=True, text=True)
    subprocess.run([*install, *map(str, (tmp_path / "wheel").glob("*.whl"))], check=True, capture_output=True, text=True)

    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-B", "-c", ANSWER, str(package)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, env=clean)
    answered = json.loads(done.stdout)
    assert answered["apart"] < 1e-4
    assert answered["outside"] == ["PIL", "numpy", "onnxruntime", "weighbridge"]
    assert str(tmp_path / "venv") in answered["from"]
    site = next((tmp_path / "venv").glob("lib*/python*/site-packages"), tmp_path / "venv" / "Lib" / "site-packages")
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    assert isinstance(said.value, int)
    assert abs(size / said.value - 1) < 0.02


def environment(folder: Path) -> Path:
    """Return the Python of a new and empty environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, capture_output=True)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
