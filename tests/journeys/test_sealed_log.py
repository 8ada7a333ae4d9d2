"""Law: what a server with a key is asked and told lies nowhere in its state folder; without the key it does not start again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.unit.runtime_packages import make_package
from tests.unit.serving_servers import running, start
from weighbridge.cli.circle import app
from weighbridge.storage.vault_keys import add_key

INPUT, LABEL, STRAY = "planted-city-that-nobody-knows", 271828.1828, "planted-label-of-no-answer"


def found_in(folder: Path) -> list[str]:
    words = [INPUT.encode(), str(LABEL).encode(), STRAY.encode()]
    return [path.name for path in folder.rglob("*") if path.is_file() and any(word in path.read_bytes() for word in words)]


@pytest.mark.timeout(300)
def test_inputs_and_labels_of_a_server_with_a_key_are_sealed_from_the_request_to_the_export(tmp_path: Path) -> None:
    package, state, key, out = tmp_path / "numbers", tmp_path / "state", tmp_path / "vault.key", tmp_path / "out.parquet"
    make_package(package, "number", photos=False)
    add_key(key)
    log = ("--log", "inputs", "--vault", f"file:{key}")
    with running([str(package)], state, *log) as server:
        answered = server.ask("/predict", [{"city": INPUT, "seen": None, "tags": []}]).json()
        labels = [{"id": f"{answered['id']}/0", "label": LABEL}, {"id": "stray/0", "label": STRAY}]
        assert server.ask("/feedback", {"labels": labels}).status == 200
        assert found_in(state) == [], "while it runs, its write-ahead log included"
    assert found_in(state) == []
    with pytest.raises(RuntimeError, match=r"the labels in .* are sealed: start the server with the key"):
        start([str(package)], state, "--log", "inputs")
    told = CliRunner().invoke(app, ["export", str(out), "--state", str(state), "--vault", str(key), "--labelled"])
    assert told.exit_code == 0, told.output
    assert [json.loads(one) for one in pq.read_table(out)["label"].to_pylist()] == [LABEL]
