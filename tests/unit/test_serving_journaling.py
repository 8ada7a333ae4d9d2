"""Law: a package that asks for sealed inputs is not logged with open ones."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.faults.serving_ground import write_numbers_package
from weighbridge.errors import PackageError
from weighbridge.runtime import Model, write_manifest
from weighbridge.serving.journaling import Journaling, open_journal


@pytest.fixture
def model(tmp_path: Path) -> Model:
    write_numbers_package(tmp_path / "package")
    about = tmp_path / "package" / "package.json"
    about.write_text(json.dumps(json.loads(about.read_text(encoding="utf-8")) | {"encrypt": True}), encoding="utf-8")
    (tmp_path / "package" / "manifest.json").unlink()
    write_manifest(tmp_path / "package")
    return Model.load(tmp_path / "package")


def test_open_inputs_of_a_package_that_asks_for_sealed_ones_are_refused(tmp_path: Path, model: Model) -> None:
    with pytest.raises(PackageError, match=r"deployment\.encrypt"):
        open_journal(Journaling(folder=tmp_path / "journal").to_json(), model, "m")


def test_sealed_inputs_and_no_inputs_are_logged(tmp_path: Path, model: Model) -> None:
    key = tmp_path / "key"
    key.write_text(base64.b64encode(bytes(range(32))).decode(), encoding="utf-8")
    key.chmod(0o600)
    for number, kept in enumerate(
        (Journaling(folder=tmp_path / "0", vault=f"file:{key}"), Journaling(folder=tmp_path / "1", inputs="fingerprint"))
    ):
        (tmp_path / str(number)).mkdir()
        assert open_journal(kept.to_json(), model, "m") is not None
