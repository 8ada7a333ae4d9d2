"""Law: an erased row's bytes are nowhere in the run, the models that saw it are named, no reading brings it back, and a model that is
trained again is, by SHA-256, the one that never saw it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import Record
from tests.faults.small_runs import AUDIT, FIXED
from weighbridge import lifecycle
from weighbridge.cli.app import app
from weighbridge.data.erased import read_receipts
from weighbridge.data.table import Table, load_schema
from weighbridge.errors import RunError
from weighbridge.findings import by_key, read_findings
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.runtime import verify
from weighbridge.storage import read_json

pytestmark = pytest.mark.slow
WORDS = "good bad slow fast blue green warm cold calm loud big small red late soon new old wide thin dark".split()


def table_rows(count: int = 160) -> list[list[Any]]:
    rng = np.random.default_rng(5)
    rows = []
    for place in range(count):
        age, hours = rng.uniform(18, 80), rng.uniform(5, 60)
        note = " ".join(rng.choice(WORDS, 8)) + f" street {place} {rng.integers(1000, 9999)}"
        label = "yes" if age + hours + rng.normal(0, 30) > 80 else "no"
        rows.append([round(age, 4), round(hours, 4), str(rng.choice(["clerk", "baker", "smith"])), note, f"user{place}@example.org", label])
    return rows


def write_table(path: Path, rows: list[list[Any]]) -> Path:
    lines = ["age,hours,job,note,email,label", *(",".join(f'"{one}"' if " " in str(one) else str(one) for one in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table_recipe(source: Path) -> Recipe:
    return parse_recipe(
        {
            "name": "run",
            "data": {"source": source.as_posix(), "target": "label", "id": "email", "columns": {"note": "text"}},
            "training": {
                **FIXED, "model": {"type": "mlp", "size": "xs"}, "memory_format": "contiguous", "epochs": 2,
                "early_stopping": {"patience": 2},
            },
            "optimization": False,
            "audit": {**AUDIT, "quality": True, "explanation": True},
            "evaluation": {"resamples": 200, "baselines": ["trivial", "linear"]},
        }
    )  # fmt: skip


def image_recipe(source: Path) -> Recipe:
    return parse_recipe(
        {
            "name": "run",
            "data": {"source": source.as_posix(), "target": "label"},
            "training": {
                **FIXED, "model": {"type": "cnn", "size": "xs", "convolutions": 1}, "memory_format": "contiguous", "epochs": 1,
            },
            "optimization": False,
            "audit": AUDIT,
            "evaluation": {"resamples": 200, "baselines": ["trivial"]},
        }
    )  # fmt: skip


def everything(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes by name; of packed tables their values in words, too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
            if path.suffix == ".arrow":
                content += json.dumps(pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pylist(), default=str).encode()
            found[path.relative_to(folder).as_posix()] = content
    return found


def holding(folder: Path, needles: dict[str, bytes]) -> dict[str, list[str]]:
    """Return which needle stands in which files; those that stand in none are left out."""
    files = everything(folder)
    found = {name: [place for place, content in files.items() if needle in content] for name, needle in needles.items()}
    return {name: places for name, places in found.items() if places}


def needles_of(row: list[Any], encoded: bytes) -> dict[str, bytes]:
    age = float(row[0])
    return {
        "id": str(row[4]).encode(), "note": str(row[3]).encode(), "age in words": repr(age).encode(),
        "age as float64": np.float64(age).tobytes(), "encoded": encoded,
    }  # fmt: skip


def encoded_row(run: Path, row_id: str) -> bytes:
    """Return the row's encoded numbers (float32), from whichever split holds it."""
    for folder in (run / "preprocessing" / "train", run / "preprocessing" / "validation", run / "evaluation" / "test"):
        if (folder / "row_id.npy").exists() and row_id.encode() in (ids := np.load(folder / "row_id.npy")).tolist():
            return bytes(np.load(folder / "number.npy")[ids.tolist().index(row_id.encode())].tobytes())
    raise AssertionError(f"{row_id} is in no split")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, few_audits: None) -> tuple[Path, list[list[Any]]]:
    """A finished run of a table with a text, and its rows."""
    place = tmp_path_factory.mktemp("table")
    rows = table_rows()
    lifecycle.run(table_recipe(write_table(place / "rows.csv", rows)), place / "run")
    return place, rows


def chosen(place: Path, rows: list[list[Any]]) -> list[list[Any]]:
    """Return a training row, a row that the package shows, and one that the report shows as a mistake."""
    run = place / "run"
    schema = load_schema(run / "data" / "schema.json")
    golden = read_json(run / "deployment" / "package" / "golden.json")["columns"]["note"][0]
    train = str(Table(run / "data" / "train.arrow", schema).row_ids[3])
    mistake = read_json(run / "evaluation" / "mistakes.json")["mistakes"][0]["row_id"]
    picked = [row for row in rows if row[4] in (train, mistake) or row[3] == golden]
    assert len(picked) == 3
    return picked


def test_rows_of_a_table_are_nowhere_and_the_model_trained_again_never_saw_them(
    made: tuple[Path, list[list[Any]]], tmp_path: Path, record: Record
) -> None:
    place, rows = made
    gone = chosen(place, rows)
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    needles = {f"{row[4]} {name}": one for row in gone for name, one in needles_of(row, encoded_row(run, row[4])).items()}
    before = holding(run, needles)
    for row in gone:  # the control: the search finds each of them by its id, its text, its numbers, its encoded bytes
        assert {f"{row[4]} {name}" for name in ("id", "note", "age as float64", "encoded")} <= set(before)
    assert any("golden.json" in place for places in before.values() for place in places)

    asked = ["--row", gone[0][4], "--row", gone[1][4], "--where", f"email={gone[2][4]}"]
    done = CliRunner().invoke(app, ["data", "erase", str(run), *asked])
    assert done.exit_code == 0, done.output
    assert not holding(run, needles)
    for word in ("saw it: network training", "saw it: package", "trained on it", "receipt 1"):
        assert word in done.output
    receipt = read_receipts(run / "data")[0]
    assert len(receipt["rows"]) == 3
    assert not any(row[4] in json.dumps(receipt) for row in gone)
    verify(run / "deployment" / "package")
    finding = by_key(read_findings(run / "findings.jsonl"), "data.erased")
    assert finding is not None
    assert finding.value == 3

    lifecycle.run_anew(table_recipe(place / "rows.csv"), run)  # its source still holds them
    assert not holding(run, needles)
    never = [row for row in rows if row not in gone]
    (tmp_path / "never").mkdir()
    lifecycle.run(table_recipe(write_table(tmp_path / "never" / "rows.csv", never)), tmp_path / "never" / "run")
    for name in ("training/model.safetensors", "deployment/package/model.onnx", "preprocessing/encoder.json", "data/train.arrow"):
        assert (run / name).read_bytes() == (tmp_path / "never" / "run" / name).read_bytes(), name
    known = (read_json(place / "run" / "training" / "model.json")["sha256"], read_json(run / "training" / "model.json")["sha256"])
    assert known[0] != known[1]
    again = by_key(read_findings(run / "findings.jsonl"), "data.erased")
    assert again is not None
    assert "still held 3" in str(again.reason)
    record("erase.rows", len(holding(run, needles)), n=len(gone))


def test_a_row_of_pictures_goes_from_the_run_and_with_source_its_file(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(3)
    for number in range(90):
        folder = tmp_path / "pictures" / f"c{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 120, (12, 12, 3)).astype(np.uint8)
        pixels[3:9, 2 if number % 2 else 6 : 6 if number % 2 else 10] += 100
        Image.fromarray(pixels).save(folder / f"p{number:03}.png")
    run, recipe = tmp_path / "run", image_recipe(tmp_path / "pictures")
    lifecycle.run(recipe, run)
    golden = read_json(run / "deployment" / "package" / "golden.json")["columns"]["image"][0]["bytes"]
    files = sorted((tmp_path / "pictures").rglob("*.png"))
    from base64 import b64decode, b64encode

    shown = next(path for path in files if path.read_bytes() == b64decode(golden))
    schema = load_schema(run / "data" / "schema.json")
    damaged = Path(str(Table(run / "data" / "test.arrow", schema).column("image")[0]))
    needles = {
        f"{path.name} {name}": one
        for path in (shown, damaged)
        for name, one in (
            ("pixels", np.asarray(Image.open(path)).tobytes()), ("file", b64encode(path.read_bytes())), ("path", str(path).encode()),
        )
    }  # fmt: skip
    assert {f"{shown.name} pixels", f"{shown.name} file", f"{shown.name} path", f"{damaged.name} pixels"} <= set(holding(run, needles))
    asked = [part for path in (shown,) for part in ("--where", f"image={path}")]
    assert CliRunner().invoke(app, ["data", "erase", str(run), *asked]).exit_code == 0
    assert shown.exists()
    done = CliRunner().invoke(app, ["data", "erase", str(run), "--where", f"image={damaged}", "--source"])
    assert done.exit_code == 0, done.output
    assert not holding(run, needles)
    assert not damaged.exists()
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 89
    assert (run / "report.html").exists()


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet", "arrow"])
def test_the_source_keeps_every_other_row_as_it_was(kind: str, tmp_path: Path) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = table_rows(60)
    rows[7][3] = 'quoted, "with" a\nline end'
    names = ["age", "hours", "job", "note", "email", "label"]
    table = pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})
    path = tmp_path / f"rows.{kind}"
    if kind.startswith("csv"):
        doubled = [[f'"{str(one).replace(chr(34), chr(34) * 2)}"' for one in row] for row in rows]
        text = ("\r\n".join([",".join(names), *map(",".join, doubled)]) + "\r\n").encode()
        path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(table, path, row_group_size=16, compression="zstd")
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    run = tmp_path / "run"
    lifecycle.run(table_recipe(path), run, until="data")
    done = CliRunner().invoke(app, ["data", "erase", str(run), "--row", rows[7][4], "--row", rows[30][4], "--source"])
    assert done.exit_code == 0, done.output
    content = path.read_bytes()
    content = gzip.decompress(content) if kind.endswith("gz") else content
    if kind.startswith("csv"):
        lines = text.split(b"\r\n")
        assert content == b"\r\n".join(line for line in lines if rows[7][4].encode() not in line and rows[30][4].encode() not in line)
    left = {row[4] for place, row in enumerate(rows) if place not in (7, 30)}
    lifecycle.run(table_recipe(path), tmp_path / "other", until="data")
    schema = load_schema(tmp_path / "other" / "data" / "schema.json")
    tables = [Table(tmp_path / "other" / "data" / f"{side}.arrow", schema) for side in ("train", "validation", "test")]
    assert {str(one) for table in tables for one in table.row_ids} == left


def test_answers_labels_and_journals_of_the_server_lose_the_row_and_the_trail_has_the_receipt(
    made: tuple[Path, list[list[Any]]], tmp_path: Path
) -> None:
    from weighbridge.feedback.log import Log
    from weighbridge.serving.trail import Trail
    from weighbridge.serving.trail_verify import verify as verify_trail

    place, rows = made
    run, state = tmp_path / "run", tmp_path / "state"
    shutil.copytree(place / "run", run)
    gone = chosen(place, rows)[0]
    Trail(state / "trail").add("key.made", "terminal", {})
    package = state / "models" / "run" / "0123456789ab"
    shutil.copytree(run / "deployment" / "package", package)
    log = Log.open(state)
    journal = log.journal()
    model = verify(package).model_sha256
    for number, row in enumerate(rows[:40]):
        columns = dict(zip(["age", "hours", "job", "note"], row[:4], strict=True))
        journal.append([{"id": f"answer{number:04}", "time": "2026-11-01T10:00:00+00:00", "model": model, "package": "run", "key": "k",
                         "output": [0.2, 0.8], "latency_s": 0.01, "inputs": columns}])  # fmt: skip
    if gone not in rows[:40]:
        columns = dict(zip(["age", "hours", "job", "note"], gone[:4], strict=True))
        journal.append([{"id": "answer9999", "time": "2026-11-01T10:00:00+00:00", "model": model, "package": "run", "key": "k",
                         "output": [0.2, 0.8], "latency_s": 0.01, "inputs": columns}])  # fmt: skip
    journal.close()
    log.ingest()
    log.accept([{"id": "answer0003", "label": "yes"}], "k")
    log.close()
    needles = {"note": gone[3].encode(), "answer": b"answer0003", "other": rows[3][3].encode()}
    assert set(holding(state, needles)) == set(needles)
    done = CliRunner().invoke(app, ["data", "erase", str(run), "--row", gone[4], "--row", "answer0003", "--state", str(state)])
    assert done.exit_code == 0, done.output
    assert not holding(state, {name: needles[name] for name in ("note", "answer")})
    assert "served package" in done.output
    receipt = read_receipts(run / "data")[0]
    assert any(receipt["sha256"].encode() in content for name, content in everything(state).items() if name.startswith("trail/"))
    assert verify_trail(state / "trail", []).damage is None
    verify(package)


def test_a_row_that_is_not_there_changes_nothing(made: tuple[Path, list[list[Any]]], tmp_path: Path) -> None:
    place, _ = made
    before = everything(place / "run")
    for asked, word in (
        (["--row", "nobody@example.org"], "no row has the id"),
        (["--where", "emial=x"], "did you mean"),
        (["--where", "email=x"], "no row of the source"),
        (["--where", "email"], "COLUMN=VALUE"),
        ([], "nothing says which row"),
    ):
        done = CliRunner().invoke(app, ["data", "erase", str(place / "run"), *asked])
        assert done.exit_code == 2, done.output
        assert word in done.output
    after = everything(place / "run")
    assert {name for name in before if not name.startswith(".lock") and before[name] != after.get(name)} == set()
    assert set(after) == set(before)


def test_a_list_of_erased_rows_that_was_changed_or_lost_its_key_stops_the_run(made: tuple[Path, list[list[Any]]], tmp_path: Path) -> None:
    place, rows = made
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    assert CliRunner().invoke(app, ["data", "erase", str(run), "--row", rows[0][4]]).exit_code == 0
    kept = (run / "data" / "erased.jsonl").read_text()
    (run / "data" / "erased.jsonl").write_text(kept.replace('"rows": ["', '"rows": ["0'))
    with pytest.raises(RunError, match="was changed"):
        lifecycle.run(table_recipe(place / "rows.csv"), run)
    (run / "data" / "erased.jsonl").write_text(kept)
    (run / "data" / "erased.key").unlink()
    with pytest.raises(RunError, match="is gone"):
        lifecycle.run(table_recipe(place / "rows.csv"), run)


def test_a_source_that_can_not_be_rewritten_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    recipe = parse_recipe({"name": "run", "data": {"source": "sklearn://iris", "target": "target"}})
    lifecycle.run(recipe, tmp_path / "run", until="data")
    schema = load_schema(tmp_path / "run" / "data" / "schema.json")
    row = str(Table(tmp_path / "run" / "data" / "train.arrow", schema).row_ids[0])
    before = everything(tmp_path / "run")
    done = CliRunner().invoke(app, ["data", "erase", str(tmp_path / "run"), "--row", row, "--source"])
    assert done.exit_code == 2
    assert "not a local file" in done.output
    assert {name: one for name, one in everything(tmp_path / "run").items() if ".lock" not in name} == {
        name: one for name, one in before.items() if ".lock" not in name
    }
