"""Law: a row may be far longer than what is read at once, a table may be wide, and reading says how far it is."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weighbridge.data.sources import Meter, meter_of, pieces, text_csv
from weighbridge.data.spool import COLUMNS, Spool, fill
from weighbridge.errors import DataError
from weighbridge.recipe import parse_recipe

Said = list[tuple[str, int, int | None, str]]


def section(path: Path, **more: Any) -> Any:
    return parse_recipe({"data": {"source": str(path), "target": "y", **more}}).data


def read(path: Path, folder: Path, **more: Any) -> tuple[Spool, Said]:
    """Return the spool of a file, and what was said while it was read."""
    said: Said = []
    folder.mkdir(exist_ok=True)
    spool, what = Spool(folder), section(path, **more)
    meter = meter_of(what)

    def hear(label: str, done: int, total: int | None, note: str = "") -> None:
        said.append((label, done, total, note))

    fill(spool, pieces(what, meter), what.limit, hear, meter)
    return spool, said


def written(path: Path, texts: list[str]) -> None:
    quoted = [text.replace('"', '""') for text in texts]
    path.write_text("t,y\n" + "".join(f'"{text}",{row}\n' for row, text in enumerate(quoted)), encoding="utf-8")


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 9000), min_size=1, max_size=40))
def test_rows_longer_than_a_block_come_whole_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, lengths: list[int]
) -> None:
    monkeypatch.setattr(text_csv, "BLOCK", 1000)
    monkeypatch.setattr(text_csv, "MOST_BLOCK", 20_000)
    folder = tmp_path_factory.mktemp("rows")
    texts = [f'{row} "said",\nand so on {"x" * length}' for row, length in enumerate(lengths)]
    written(folder / "a.csv", texts)
    spool, _ = read(folder / "a.csv", folder / "spool")
    assert spool.column("t").to_pylist() == texts
    assert spool.column("y").to_pylist() == [str(row) for row in range(len(texts))]


def test_a_row_of_five_megabytes_is_read(tmp_path: Path) -> None:
    texts = ["short"] * 2000 + ["a word " * 714_286 + "end"] + ["short again"] * 3
    written(tmp_path / "a.csv", texts)
    spool, _ = read(tmp_path / "a.csv", tmp_path / "spool")
    assert [len(text) for text in spool.column("t").to_pylist()] == [len(text) for text in texts]


def test_a_row_beyond_the_largest_block_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_csv, "BLOCK", 1000)
    monkeypatch.setattr(text_csv, "MOST_BLOCK", 20_000)
    written(tmp_path / "a.csv", ["x"] * 3 + ["x" * 50_000])
    with pytest.raises(DataError, match=r"has a row of more than 20,000 bytes behind row \d"):
        read(tmp_path / "a.csv", tmp_path / "spool")


def _csv(path: Path) -> None:
    path.write_text("x,y\n" + "1,2\n" * 5000)


def _packed(path: Path) -> None:
    path.write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * 5000))


def _lines(path: Path) -> None:
    path.write_text('{"x": 1, "y": 2}\n' * 5000)


@pytest.mark.parametrize(("name", "write"), [("a.csv", _csv), ("a.csv.gz", _packed), ("a.jsonl", _lines)])
def test_reading_tells_how_many_bytes_of_how_many(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    _, said = read(tmp_path / name, tmp_path / "spool")
    size = -(-(tmp_path / name).stat().st_size // 1000)
    assert said[-1] == ("read kB", size, size, "5,000 rows")
    assert all(total == size and 0 <= done < size for _, done, total, _ in said[:-1])


def test_reading_tells_rows_where_their_number_is_known(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": range(3000), "y": range(3000)}), tmp_path / "a.parquet")
    _, said = read(tmp_path / "a.parquet", tmp_path / "spool")
    assert said[-1] == ("read rows", 3000, 3000, "")
    _, said = read(tmp_path / "a.parquet", tmp_path / "few", limit=100)
    assert said[-1] == ("read rows", 100, 100, "")


def test_a_meter_counts_what_was_read_of_several_files_and_none_twice(tmp_path: Path) -> None:
    meter = Meter(total_bytes=10)
    (tmp_path / "a").write_bytes(b"12345")
    with open(tmp_path / "a", "rb") as stream:
        meter.watch(stream)
        stream.read(3)
        assert meter.done_bytes == 3
        meter.watch(stream)  # read again from its start
        stream.seek(0)
        assert meter.done_bytes == 0
    meter.end(5)
    assert meter.done_bytes == 5


def test_columns_of_a_wide_spool_open_its_files_once_for_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"x{place}" for place in range(5 * COLUMNS + 3)]
    spool = Spool(tmp_path)
    for start in (0, 10):
        kind = pa.int64() if start == 0 else pa.string()  # the second batch makes texts of all
        spool.add(
            None,
            pa.RecordBatch.from_arrays([pa.array([start + place % 7], pa.int64()).cast(kind) for place in range(len(names))], names=names),
        )
    spool.close()
    opened = 0
    whole = spool._mapped

    def counted() -> Any:
        nonlocal opened
        opened += 1
        return whole()

    monkeypatch.setattr(spool, "_mapped", counted)
    found = {name: column.to_pylist() for name, column in spool.columns(names)}
    assert opened == 6
    assert found == {name: [str(place % 7), str(10 + place % 7)] for place, name in enumerate(names)}
