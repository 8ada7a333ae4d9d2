"""Take rows out of everything that a run folder holds of them, file by file; each file is the old one or the new one.

Tables and predictions lose the rows; encoded rows are written anew without them; evidence loses the entries that name or show them;
findings stay and say `(erased)`. What is only kept to save time is removed. At last every file is searched for the rows' bytes: a file in
which they still stand is removed, unless it is a part of a model, which is named instead: it goes when the model is trained again.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.data.erased import KEY, PENDING, RECEIPTS
from weighbridge.deployment.erase_arrays import INDEX, erase_arrays
from weighbridge.deployment.erase_json import GONE, Cleaner
from weighbridge.deployment.erase_marks import Marks, holds
from weighbridge.errors import RunError
from weighbridge.runtime.package import MANIFEST
from weighbridge.storage import atomic_path, read_json, remove, sweep, write_json, write_text

OWN = (PENDING, RECEIPTS, KEY, ".lock", ".lock-holder.json")
ID_COLUMNS = ("__row_id__", "row_id", "weighbridge_id")
STATEMENTS = ("findings.jsonl", "rows.jsonl", "refused.jsonl", "run.json", "stage.json", "under_way.json", "test_ledger.jsonl")
PICTURES = "pictures.json"
CACHES = ("features", ".reading", "building", "before")  # what is made again where it is needed
MODEL_FILES = (
    "encoder.json", "schema.json", "columns.json", "classes.json", "model.json", "plan.json", "package.json", "contract.json",
    "tokenizer.json", "choice.json", "graph.json", "anonymize.json", "model.onnx",
)  # fmt: skip
ARCHIVES = (".zip", ".whl", ".npz")
MODEL_ENDINGS = (".safetensors", ".onnx", ".pt2", ".pte")


@dataclass(kw_only=True)
class Done:
    """What was done, as paths in the folder: rewritten, removed; `remains`: files of models in which bytes of the rows still stand."""

    rewritten: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    remains: list[str] = field(default_factory=list)

    def __iadd__(self, other: Done) -> Done:
        for name in ("rewritten", "removed", "remains"):
            mine = getattr(self, name)
            mine += [one for one in getattr(other, name) if one not in mine]
        return self


def erase_files(folder: Path, marks: Marks, places: Sequence[int] = ()) -> Done:
    """No file of the run folder holds the rows, but for what `remains` names. Repeated safely after a kill. Raises StorageError.

    Args: places, where the rows stood in the source: evidence of the leak gate names rows so.
    """
    sweep(folder)
    done = Done()
    for path in _caches(folder):
        remove(path)
        done.removed.append(_name(folder, path))
    for path in sorted(folder.rglob(INDEX)):
        if erase_arrays(path.parent, marks.ids):
            done.rewritten.append(_name(folder, path.parent))
    for path in files_of(folder):
        if cleaned(path, marks, places):
            done.rewritten.append(_name(folder, path))
    return done


def search(folder: Path, marks: Marks) -> Done:
    """A file in which bytes of the rows still stand is removed; of a model it is named in `remains`."""
    done, needles = Done(), marks.needles
    for path in files_of(folder):
        if holds(path, needles) or _packed(path, needles):
            if is_model(path) or _in_package(path):
                done.remains.append(_name(folder, path))
            else:
                remove(path)
                done.removed.append(_name(folder, path))
    return done


def _packed(path: Path, needles: Sequence[bytes]) -> bool:
    """Whether one of these stands in a file that is packed into this one: a .zip of a package, a wheel."""
    if path.suffix not in ARCHIVES or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(needle in content for entry in archive.infolist() for content in [archive.read(entry)] for needle in needles)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise RunError(f"{path} can not be looked into ({error})", do="remove it, then run the erasure again") from None


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder, but for the erasure's own."""
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink() and path.name not in OWN)


def is_model(path: Path) -> bool:
    """Whether the file is part of a model: what it learnt, or what it needs to answer."""
    return path.name in MODEL_FILES or path.suffix in MODEL_ENDINGS


def mend_marks(folder: Path) -> None:
    """Each stage's mark lists its files as they are now, so that a change by the erasure is not taken for damage."""
    from weighbridge.stages.manifest import listed

    for mark in sorted(folder.rglob("stage.json")):
        known = read_json(mark)
        if isinstance(known, dict) and isinstance(known.get("files"), dict):
            now = {name: told for name, told in listed(mark.parent).items() if name in known["files"]}
            if now != known["files"]:
                write_json(mark, {**known, "files": now})


def cleaned(path: Path, marks: Marks, places: Sequence[int] = ()) -> bool:
    """The file does not name or show the rows, where it is of a kind that can be rewritten; return whether it was."""
    if is_model(path) or _in_package(path):
        return False
    if path.suffix in (".parquet", ".arrow"):
        return _table(path, marks.ids)
    if path.suffix == ".jsonl":
        return _lines(path, marks)
    if path.suffix == ".json":
        return _json(path, marks, places)
    return path.suffix in (".md", ".html", ".txt", ".csv", ".yaml") and _text(path, marks)


def _table(path: Path, ids: frozenset[str]) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with _readable(path):
        table = pq.read_table(path) if path.suffix == ".parquet" else pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    named = next((name for name in ID_COLUMNS if name in table.schema.names), None)
    if named is None:
        return False
    known = table.column(named).cast(pa.string())
    hit = pc.is_in(known, value_set=pa.array(sorted(ids), pa.string()))
    if not pc.any(hit).as_py():
        return False
    kept = _whole(table.filter(pc.invert(hit)))
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            pq.write_table(kept, temporary, compression="zstd")
        else:
            with pa.ipc.new_file(str(temporary), kept.schema) as writer:
                writer.write_table(kept)
    return True


def _whole(table: Any) -> Any:
    """Return the table with dictionaries that hold what its rows have, and no value more."""
    import pyarrow.types as pt

    for place, one in enumerate(table.schema):
        if pt.is_dictionary(one.type):
            values = table.column(place).cast(one.type.value_type)
            table = table.set_column(place, one, values.dictionary_encode().cast(one.type))
    return table


def _json(path: Path, marks: Marks, places: Sequence[int]) -> bool:
    told, cleaner = _read(path), Cleaner(marks)
    if told is None:
        return False
    if path.name == PICTURES and _pixels(told) in marks.raw:
        remove(path)
        return True
    if path.name in STATEMENTS:
        made, about = cleaner.replaced(told), False
    else:
        made, about = cleaner.clean(told)
    if path.name == "leaks.json" and places:
        cleaner.hits += _positions(made, {place + 1 for place in places})
    if about:
        remove(path)
    elif made != told:
        write_json(path, made)
    return about or made != told


def _pixels(told: Any) -> bytes:
    """Return the pixels of the row that the audit of damage shows, as they are stored."""
    return np.asarray(told.get("clean", []), dtype=np.uint8).tobytes() if isinstance(told, dict) else b""


def _positions(evidence: Any, rows: set[int]) -> int:
    """Take the pairs out that name one of these rows by its number; return how many."""
    gone = 0
    for check in evidence.values() if isinstance(evidence, dict) else ():
        if isinstance(check, dict) and isinstance(check.get("rows"), list):
            kept = [pair for pair in check["rows"] if not rows & set(pair if isinstance(pair, list) else [pair])]
            gone += len(check["rows"]) - len(kept)
            check["rows"] = kept
    return gone


def _lines(path: Path, marks: Marks) -> bool:
    cleaner, made = Cleaner(marks), list[str]()
    text = path.read_text(encoding="utf-8")
    if path.name == "test_ledger.jsonl" or not any(word in text for word in marks.words):
        return False
    for line in text.split("\n"):
        try:
            told = json.loads(line)
        except ValueError:
            made.append(cleaner.text(line))
            continue
        if path.name in STATEMENTS:
            made.append(json.dumps(cleaner.replaced(told), ensure_ascii=False, sort_keys=True))
            continue
        told, about = cleaner.clean(told)
        if not about:
            made.append(json.dumps(told, ensure_ascii=False))
    write_text(path, "\n".join(made))
    return cleaner.hits > 0


def _text(path: Path, marks: Marks) -> bool:
    text, cleaner = path.read_text(encoding="utf-8", errors="surrogateescape"), Cleaner(marks)
    made = cleaner.text(text)
    for needle in marks.needles:
        with contextlib.suppress(UnicodeDecodeError):
            word = needle.decode("utf-8")
            made = made.replace(word, GONE if not word.startswith("data:") else "data:,")
    if made != text:
        write_text(path, made)
    return made != text


def _caches(folder: Path) -> list[Path]:
    found = [path for name in CACHES for path in folder.rglob(name) if path.is_dir()]
    return sorted(path for path in found if not any(other in path.parents for other in found))


def _in_package(path: Path) -> bool:
    return (path.parent / MANIFEST).exists()


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except RunError:
        return None  # not JSON: the search at the end decides


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(f"{path} is damaged ({error})", do="remove it, then run the erasure again") from None


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
