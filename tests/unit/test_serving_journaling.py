"""Law: a package that asks for sealed inputs and labels is not logged without a key: labels are taken wherever answers are kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Literal

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


@pytest.mark.parametrize("inputs", ["keep", "fingerprint", "none"])
def test_whatever_is_kept_without_a_key_is_refused_where_the_package_asks_for_one(
    tmp_path: Path, model: Model, inputs: Literal["keep", "fingerprint", "none"]
) -> None:
    with pytest.raises(PackageError, match=r"inputs and labels are kept sealed \(deployment\.encrypt\)"):
        open_journal(Journaling(folder=tmp_path / "journal", inputs=inputs).to_json(), model, "m")


def test_with_a_key_inputs_and_fingerprints_are_logged(tmp_path: Path, model: Model) -> None:
    key = tmp_path / "key"
    key.write_text(base64.b64encode(bytes(range(32))).decode(), encoding="utf-8")
    key.chmod(0o600)
    for number, kept in enumerate(
        (
            Journaling(folder=tmp_path / "0", vault=f"file:{key}"),
            Journaling(folder=tmp_path / "1", inputs="fingerprint", vault=f"file:{key}"),
        )
    ):
        (tmp_path / str(number)).mkdir()
        assert open_journal(kept.to_json(), model, "m") is not None
