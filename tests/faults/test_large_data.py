"""Data far larger than the memory that a process may take are read and trained on; taking them whole under the same limit fails.

The limit is the kernel's (a control group, else RLIMIT_DATA; bench/limited.py): what a child process needs before it touches any data, and
some room. The data are ten times that room for training, five times for reading.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.unit.preprocessing_tables import SECTION, schema, table
from weighbridge.preprocessing import Encoder
from weighbridge.preprocessing.feature import objects
from weighbridge.storage import write_json

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")]
ROOT = Path(__file__).resolve().parents[2]
MB = 10**6
SIDE = 96
TRAIN = """
import sys
from pathlib import Path
sys.path[:0] = ["bench"]
from large_serve import course
from weighbridge import training
from weighbridge.storage.control import StopRequest
from weighbridge.storage.progress import silent
what = course(Path(sys.argv[1]), Path(sys.argv[2]), memory=sys.argv[3] == "memory", epochs=1, model="linear")
if sys.argv[3] != "bare":
    training.prepare(what, command="", progress=silent, stop=StopRequest())
"""
READ = """
import sys
from pathlib import Path
import pyarrow.csv, pyarrow.json, pyarrow.parquet
from weighbridge.data.sources import pieces
from weighbridge.data.spool import Spool, fill
from weighbridge.recipe import parse_recipe
spool = Spool(Path(sys.argv[2]))
section = parse_recipe({"data": {"source": sys.argv[1], "target": "y"}}).data
if sys.argv[3] == "whole":
    import pyarrow
    held = pyarrow.Table.from_batches([batch for _, batch in pieces(section)])
elif sys.argv[3] == "pieces":
    fill(spool, pieces(section), None)
    print(spool.rows)
"""


@pytest.fixture(scope="module")
def limited() -> ModuleType:
    spec = importlib.util.spec_from_file_location("limited", ROOT / "bench" / "limited.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["limited"] = module
    spec.loader.exec_module(module)
    return module


def encoded(folder: Path, size_bytes: int) -> Path:
    """`folder` holds the encoded rows of colour images, `size_bytes` of them, as the preprocessing writes them."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (512, SIDE, SIDE, 3), dtype=np.uint8)
    classes = np.array([str(code % 2) for code in range(512)], dtype=object)
    encoder = Encoder.fit(table({"photo": objects(pictures), "y": classes}), schema({"photo": "image", "y": "category"}, "y"), SECTION)
    write_json(folder / "encoder.json", encoder.to_json())
    for split, rows in (("train", size_bytes // pictures[0].nbytes // 512 * 512), ("validation", 512)):
        (folder / split).mkdir(parents=True)
        with open(folder / split / "image.photo.npy", "wb") as file:
            head = {"descr": "|u1", "fortran_order": False, "shape": (rows, SIDE, SIDE, 3)}
            np.lib.format.write_array_header_1_0(file, head)
            for _ in range(rows // 512):
                file.write(pictures.data)
        np.save(folder / split / "target.npy", np.arange(rows, dtype=np.int64) % 2)
        np.save(folder / split / "row_id.npy", np.arange(rows).astype("S8"))
        write_json(folder / split / "arrays.json", {"format": 1, "rows": rows, "blocks": ["image.photo"], "target": True})
    return folder


def test_a_training_on_ten_times_its_memory_ends_and_the_same_in_memory_does_not(
    limited: ModuleType, tmp_path: Path, record: Callable[..., None]
) -> None:
    room = 120 * MB
    folder = encoded(tmp_path / "encoded", 10 * room)
    held = sum(path.stat().st_size for path in (folder / "train").glob("*.npy"))
    assert held >= 9.9 * room

    def child(how: str, limit: int | None) -> Any:
        return limited.run([sys.executable, "-c", TRAIN, str(folder), str(tmp_path / how), how], limit)

    started = child("bare", None)
    assert started.code == 0, started.err
    bare = started.resident_bytes
    ended = child("mapped", bare + room)
    assert ended.code == 0, ended.err
    assert ended.charged_bytes is None or ended.charged_bytes <= bare + room
    # shared libraries count as resident here, but are charged to whoever loaded them first: the kernel's own count is the limit's
    assert ended.resident_bytes < held / 2
    plan = json.loads((tmp_path / "mapped" / "plan.json").read_text())
    assert plan["block"] > 0
    assert (tmp_path / "mapped" / "model.safetensors").exists()
    naive = child("memory", bare + room)
    assert naive.ran_out, (naive.code, naive.err)
    assert not (tmp_path / "memory" / "model.safetensors").exists()
    record("large.training", held / room, n=1, limit_mb=room / MB, resident_mb=ended.resident_bytes / MB)


FIT = """
import sys
from pathlib import Path
import sklearn.ensemble, sklearn.linear_model
from weighbridge import preprocessing
from weighbridge.models.baselines import fit_baseline
from weighbridge.storage import read_json
from weighbridge.training.memory import free_bytes
folder = Path(sys.argv[1])
encoder = preprocessing.Encoder.from_json(read_json(folder / "encoder.json"))
train, validation = (preprocessing.open_arrays(folder / name) for name in ("train", "validation"))
if sys.argv[2] != "bare":
    room = free_bytes() // 2 if sys.argv[2] == "sampled" else None
    for name in ("trivial", "linear", "boosting"):
        fitted = fit_baseline(name, encoder, train, validation, seed=0, room_bytes=room)
        print(name, fitted.rows, (fitted.predict(validation).argmax(1) == validation.target).mean())
"""


def encoded_numbers(folder: Path, size_bytes: int, columns: int = 40) -> int:
    """`folder` holds encoded rows of numbers, the first of which tells the class in nine of ten; returns how many train."""
    generator = np.random.default_rng(2)
    classes = np.array([str(code % 2) for code in range(4000)], dtype=object)
    values = {f"x{place}": generator.normal(size=4000) for place in range(columns)}
    encoder = Encoder.fit(table(values | {"y": classes}), schema(dict.fromkeys(values, "number") | {"y": "category"}, "y"), SECTION)
    write_json(folder / "encoder.json", encoder.to_json())
    block = encoder.blocks[0]
    part = generator.normal(size=(20_000, *block.shape)).astype(np.float32)
    part[:, 0] += np.where(np.arange(20_000) % 2, 1.3, -1.3)
    rows = size_bytes // part.nbytes * 20_000
    for split, count in (("train", rows), ("validation", 20_000)):
        (folder / split).mkdir(parents=True)
        with open(folder / split / f"{block.name}.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count, *block.shape)})
            for _ in range(count // 20_000):
                file.write(part.data)
        np.save(folder / split / "target.npy", np.arange(count, dtype=np.int64) % 2)
        np.save(folder / split / "row_id.npy", np.zeros(count, dtype="S8"))
        write_json(folder / split / "arrays.json", {"format": 1, "rows": count, "blocks": [block.name], "target": True})
    return rows


def test_baselines_learn_from_as_many_rows_as_fit_and_all_rows_do_not(
    limited: ModuleType, tmp_path: Path, record: Callable[..., None]
) -> None:
    room = 80 * MB
    rows = encoded_numbers(tmp_path / "encoded", 10 * room)

    def child(how: str, limit: int | None) -> Any:
        return limited.run([sys.executable, "-c", FIT, str(tmp_path / "encoded"), how], limit)

    bare = child("bare", None).resident_bytes
    ended = child("sampled", bare + room)
    assert ended.code == 0, ended.err[-500:]
    found = {line.split()[0]: line.split()[1:] for line in ended.out.splitlines()}
    assert int(found["trivial"][0]) == rows
    for name in ("linear", "boosting"):
        assert 1000 <= int(found[name][0]) < rows / 10
        assert float(found[name][1]) > 0.85
    assert child("whole", bare + room).ran_out
    record("large.baselines", int(found["boosting"][0]), n=1, rows=rows, linear=int(found["linear"][0]))


def write_files(folder: Path, size_bytes: int) -> dict[str, tuple[Path, int]]:
    """`folder` holds the same numbers as CSV, CSV.gz, Parquet in one row group and in many, JSON lines; returns path and size when read."""
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    generator, columns = np.random.default_rng(1), 40
    part = pa.table({f"x{place}": generator.integers(10**11, 10**12, 2000) for place in range(columns)} | {"y": ["a", "b"] * 1000})
    text = pa.BufferOutputStream()
    pc.write_csv(part, text)
    head, _, body = text.getvalue().to_pybytes().partition(b"\n")
    repeats = -(-size_bytes // len(body))
    with open(folder / "a.csv", "wb") as plain, gzip.open(folder / "b.csv.gz", "wb", compresslevel=1) as packed:
        for file in (plain, packed):
            file.write(head + b"\n")
            for _ in range(repeats):
                file.write(body)
    line = "".join(json.dumps(row) + "\n" for row in part.to_pylist()).encode()
    with open(folder / "c.jsonl", "wb") as lines:
        for _ in range(-(-size_bytes // len(line))):
            lines.write(line)
    whole = pa.concat_tables([part] * -(-size_bytes // part.nbytes))
    for name, rows in (("one", len(whole)), ("many", 20_000)):
        pq.write_table(whole, folder / f"{name}.parquet", row_group_size=rows, use_dictionary=False, compression="none")
    texts = len(body) * repeats
    sizes = {"a.csv": texts, "b.csv.gz": texts, "c.jsonl": size_bytes, "one.parquet": whole.nbytes, "many.parquet": whole.nbytes}
    return {name: (folder / name, size) for name, size in sizes.items()}


def test_files_five_times_larger_than_the_memory_are_read_in_pieces(
    limited: ModuleType, tmp_path: Path, record: Callable[..., None]
) -> None:
    room, read = 120 * MB, 0
    files = write_files(tmp_path, 5 * room)

    def child(path: Path, how: str, limit: int | None) -> Any:
        place = tmp_path / f"spool-{path.name}-{how}"
        place.mkdir()
        return limited.run([sys.executable, "-c", READ, str(path), str(place), how], limit)

    bare = child(files["a.csv"][0], "bare", None).resident_bytes
    for path, size in files.values():
        ended = child(path, "pieces", bare + room)
        assert ended.code == 0, (path.name, ended.err[-500:])
        assert int(ended.out) > 10_000
        assert size >= 5 * room
        assert ended.charged_bytes is None or ended.charged_bytes <= bare + room
        assert ended.resident_bytes < size / 2, path.name
        read += 1
    assert child(files["many.parquet"][0], "whole", bare + room).ran_out
    record("large.files", read, n=len(files), times=min(size for _, size in files.values()) / room)
