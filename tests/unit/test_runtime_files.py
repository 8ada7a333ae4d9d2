"""A file of rows becomes a file with one prediction a row, in order; a row that does not fit is named and nothing is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.preprocessing_tables import picture
from tests.unit.runtime_packages import make_package
from weighbridge.errors import InputError
from weighbridge.runtime import Model, predict_file

HEAD = "age,city,seen,tags\n"
LINES = ["41,Rom,2026-05-01,a;b", "NA,?,,", "-3.5e1, Oslo ,2026-05-01T10:00:00,b"]
ROWS = [
    {"age": 41, "city": "Rom", "seen": "2026-05-01", "tags": ["a", "b"]},
    {"age": None, "city": None, "seen": None, "tags": None},
    {"age": -35, "city": "Oslo", "seen": "2026-05-01T10:00:00", "tags": ["b"]},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("packages") / "tiny"
    make_package(folder, photos=False)
    return Model.load(folder, threads=1)


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_gives_what_the_same_rows_give(model: Model, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(HEAD + "\n".join(LINES) + "\n")
    assert predict_file(model, tmp_path / "rows.csv", tmp_path / "out.csv") == 3
    expected = model.predict(ROWS)
    out = _read(tmp_path / "out.csv")
    assert [row["row"] for row in out] == ["1", "2", "3"]
    assert [row["prediction"] for row in out] == expected.labels
    assert expected.probabilities is not None
    np.testing.assert_array_equal([[float(row["p_no"]), float(row["p_yes"])] for row in out], expected.probabilities)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".jsonl", ".tsv"])
def test_every_kind_of_file_gives_the_same(model: Model, tmp_path: Path, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        path.write_text("\n\n".join(map(json.dumps, ROWS)))
    elif suffix == ".tsv":
        path.write_text((HEAD + "\n".join(LINES)).replace(",", "\t"))
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        with pa.ipc.new_file(path, pa.Table.from_pylist(ROWS).schema) as sink:
            sink.write(pa.Table.from_pylist(ROWS))
    assert predict_file(model, path, tmp_path / "out.jsonl") == 3
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{key: row[key] for key in ("prediction", "probabilities")} for row in out] == model.predict(ROWS).to_json()


def test_long_files_are_read_in_parts_and_rows_counted_through(model: Model, tmp_path: Path) -> None:
    seen: list[int] = []
    (tmp_path / "rows.csv").write_text(HEAD + (LINES[0] + "\n") * 2500)
    assert (
        predict_file(model, tmp_path / "rows.csv", tmp_path / "out.csv", progress=lambda label, done, total, note="": seen.append(done))
        == 2500
    )
    assert seen == [1000, 2000, 2500]
    assert [row["row"] for row in _read(tmp_path / "out.csv")] == [str(row) for row in range(1, 2501)]


def test_the_first_row_that_does_not_fit_is_named_and_the_old_output_stays(model: Model, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    (tmp_path / "rows.csv").write_text(HEAD + (LINES[0] + "\n") * 1500 + "old,Rom,2026-05-01,a\n")
    with pytest.raises(InputError, match="row 1501: column 'age' is 'old', not a number"):
        predict_file(model, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "rows.csv"]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("rows.csv", HEAD.encode() + b"1,R\xff,,\n", "not UTF-8 text \\(0xff\\)"),
        ("rows.csv", HEAD.encode() + b"1,Rom\n", "row 1 has 2 fields"),
        ("rows.csv", b"age,age\n1,2\n", "different names"),
        ("rows.csv", b"", "no header"),
        ("rows.csv", b"age,citty,seen,tags\n1,a,,\n", "column 'city' is missing \\(did you mean 'citty'"),
        ("rows.csv", HEAD.encode() + b'1,"' + b"x" * (17 << 20) + b'",,\n', "a line of more than"),
        ("rows.jsonl", b"{", "line 1 is not JSON"),
        ("rows.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("rows.jsonl", b"5", "line 1 is not an object"),
        ("rows.parquet", b"PAR1 no", "damaged"),
        ("rows.arrow", b"ARROW1 no", "damaged"),
        ("rows.xlsx", b"", "rows are read from"),
    ],
)
def test_a_file_that_can_not_be_read_is_one_line(model: Model, tmp_path: Path, name: str, content: bytes, line: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=line):
        predict_file(model, tmp_path / name, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_missing_file_and_an_unknown_output_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        predict_file(model, tmp_path / "no.csv", tmp_path / "out.csv")
    with pytest.raises(InputError, match=r"name the output \.csv or \.jsonl"):
        predict_file(model, tmp_path / "no.csv", tmp_path / "out.xlsx")


def test_a_file_without_a_header_is_read_by_names_and_a_remark_is_passed_over(model: Model, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("|1x3 Cross validator\n" + "\n".join(LINES))
    assert predict_file(model, tmp_path / "rows.txt", tmp_path / "out.csv", names=["age", "city", "seen", "tags"]) == 3


def test_images_are_looked_up_beside_the_file(tmp_path: Path) -> None:
    make_package(tmp_path / "p")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.png").write_bytes(picture(np.zeros((4, 5, 3), np.uint8)))
    for name, content in (("r.csv", "age,city,seen,tags,photo\n1,Rom,,,a.png\n"), ("r.jsonl", json.dumps({**ROWS[0], "photo": "a.png"}))):
        (tmp_path / "rows" / name).write_text(content)
        assert predict_file(tmp_path / "p", tmp_path / "rows" / name, tmp_path / "out.csv") == 1


def test_a_first_line_with_a_bar_is_a_remark_only_where_the_bar_cuts_no_fields(model: Model, tmp_path: Path) -> None:
    (tmp_path / "remark.csv").write_text("|1x3 Cross validator\n" + HEAD + LINES[0] + "\n")
    (tmp_path / "bars.csv").write_text("|" + HEAD.replace(",", "|") + "1|" + LINES[0].replace(",", "|") + "\n")
    for name in ("remark", "bars"):
        assert predict_file(model, tmp_path / f"{name}.csv", tmp_path / f"{name}.out.csv") == 1
    assert (tmp_path / "remark.out.csv").read_text() == (tmp_path / "bars.out.csv").read_text()
