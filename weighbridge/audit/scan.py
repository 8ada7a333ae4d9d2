"""Whether a file could run code, or is other than its name says: every file of the package, and of the run that it came from.

Names are held against a list, contents against what the name promises, and both against the forms in which code travels. That a file is
of a safe form does not show that its numbers are right: that is for the manifest's hashes and for the other audits.
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from weighbridge.audit.subject import Subject
from weighbridge.errors import PackageError
from weighbridge.findings import Finding, Message
from weighbridge.storage import read_json, write_json

TITLE = Message("Files that could run code, or are not what they are called")
EVIDENCE = "audit/artefact.json"
TRACKERS = "tracking"  # what trackers keep there is of their own forms, and nothing of Weighbridge reads it
HEAD = 1 << 20  # bytes that are looked at where a form can not be read whole
WHOLE = 64 << 20
SHOWN = 3
CODE: tuple[tuple[str, re.Pattern[bytes]], ...] = (  # how the forms begin in which code travels
    (
        "a pickle",
        re.compile(rb"\x80[\x02-\x05]|[(]?c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n([(]|p\d+\n|q[\x00-\x1f])|[(]S'[^\n]*'\n(i|\.)", re.DOTALL),
    ),
    ("a program of this machine", re.compile(rb"\x7fELF|MZ|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe")),
    ("a script", re.compile(rb"#!")),
    ("a compressed archive", re.compile(rb"PK\x03\x04|\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|x[\x01\x5e\x9c\xda]")),
)
YAML_OBJECT = re.compile(rb"!!python/")


def artefact_findings(subject: Subject, package: Path) -> list[Finding]:
    """Return the finding about the files of the package and of the run; audit/artefact.json holds the hashes of the package's."""
    from weighbridge import runtime

    suspects: list[dict[str, str]] = []
    try:
        runtime.verify(package)
        hashes = {name: entry["sha256"] for name, entry in read_json(package / "manifest.json")["files"].items()}
    except PackageError as error:
        hashes = {}
        suspects.append({"file": "package", "why": str(error)})
    files, bad = 0, list[tuple[str, str]]()
    for place, label in ((package, "package/"), (subject.folder, "")):
        for name, why in scan_folder(place, skip=(package, subject.folder / TRACKERS)):
            files += 1
            bad += [(label + name, why)] if why else []
    suspects += [{"file": name, "why": why} for name, why in bad]
    write_json(subject.folder / EVIDENCE, {"hashes": hashes, "suspects": suspects, "files": files})
    shown = "; ".join(f"{one['file']}: {one['why']}" for one in suspects[:SHOWN])
    calm = Message(
        "the graph holds {operators} standard operators and its own weights; every file is of a form that can hold no code",
        operators=_operators(package / "model.onnx"),
    )
    return [
        Finding(
            key="audit.security.artefact",
            title=TITLE,
            verdict="limitation" if suspects else "advantage",
            value=len(suspects),
            unit="files",
            n=files,
            n_of="files",
            reason=Message("{shown}; {n} in all", shown=shown, n=len(suspects)) if suspects else calm,
            method=Message("every file of the package and of the run: its name, its form, and the forms in which code travels; no sample"),
            evidence=(EVIDENCE,),
            command=f"{subject.command} --only security.artefact",
        )
    ]


def _operators(graph: Path) -> int:
    import onnx

    return len(onnx.load_model(graph, load_external_data=False).graph.node)


def scan_folder(folder: Path, *, skip: tuple[Path, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield each file's name within the folder and why it is suspected, "" where it is not. Links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if Path(parent, name) not in skip)
        for name in [*sorted(names), *(name for name in folders if Path(parent, name).is_symlink())]:
            path = Path(parent, name)
            yield path.relative_to(folder).as_posix(), suspicion(path)


def suspicion(path: Path) -> str:
    """Return why a file is suspected, "" where it is what it is called and can run nothing."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return "a link"
        if not stat.S_ISREG(mode):
            return "no plain file"
        if mode & 0o111:
            return "marked as a program"
        check = FORMS.get(path.suffix)
        if check is None:
            return "" if path.name in PLAIN_NAMES and not path.stat().st_size else f"a form that is not known ({path.suffix or path.name})"
        size = path.stat().st_size
        with path.open("rb") as file:
            content = file.read(size if size <= WHOLE or path.suffix == ".onnx" else HEAD)
    except OSError as error:
        return f"it can not be read ({error.strerror})"
    begins = [what for what, pattern in CODE if path.suffix not in BINARY and pattern.match(content)]
    said = next(iter(begins), "") or check(content, size)
    return said or (_columns(path) if path.suffix in (".arrow", ".parquet") else "")


def _json(content: bytes, size: int) -> str:
    if size > WHOLE:
        return "" if content[:1] in b"[{" and b"\0" not in content else "no JSON"
    return _parses(content)


def _parses(content: bytes) -> str:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return "no JSON"
    return ""


def _lines(content: bytes, size: int) -> str:
    lines = content.split(b"\n")[: None if size <= WHOLE else -1]
    return next((why for line in lines if line.strip() and (why := _parses(line))), "")


def _text(content: bytes, size: int) -> str:
    if b"\0" in content:
        return "no text"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return "" if size > WHOLE and error.start > len(content) - 4 else "no text"
    return ""


def _yaml(content: bytes, size: int) -> str:
    import yaml

    if _text(content, size):
        return "no text"
    if YAML_OBJECT.search(content):
        return "a Python object in YAML"
    if re.search(rb"(^|[\s\[,:-])[&*][A-Za-z0-9_]", content):
        return "YAML that repeats itself by reference"
    try:
        return "" if isinstance(yaml.safe_load(content), dict) else "no mapping in YAML"
    except (yaml.YAMLError, RecursionError):
        return "no YAML"


def _safetensors(content: bytes, size: int) -> str:
    """Return why the header is not one: names with a known type, a shape, and bytes that follow each other without a hole."""
    if size < 8 or (length := struct.unpack("<Q", content[:8])[0]) > min(size - 8, len(content) - 8):
        return "no safetensors"
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_once)
        tensors = [one for name, one in header.items() if name != "__metadata__"]
        spans = sorted((int(one["data_offsets"][0]), int(one["data_offsets"][1])) for one in tensors)
        if any(_bytes(one) != one["data_offsets"][1] - one["data_offsets"][0] for one in tensors):
            return "no safetensors"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "no safetensors"
    ends = [0, *(end for _, end in spans)]
    whole = all(start == end for (start, _), end in zip(spans, ends, strict=False)) and ends[-1] == size - 8 - length
    return "" if whole else "no safetensors"


def _bytes(one: Any) -> int:
    """Return the bytes that a tensor of the header takes. Raises KeyError, TypeError, ValueError."""
    count = DTYPES[one["dtype"]]
    for side in one["shape"]:
        if not isinstance(side, int) or side < 0:
            raise ValueError("shape")
        count *= side
    return count


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def _onnx(content: bytes, size: int) -> str:
    import onnx
    from google.protobuf.message import DecodeError

    from weighbridge.runtime.graph import check_graph

    try:
        check_graph(content)
        outputs = len(onnx.load_model_from_string(content).graph.output)
    except PackageError as error:
        return error.what
    except (DecodeError, ValueError):
        return "no ONNX graph"
    return "" if outputs else "no ONNX graph"


def _npy(content: bytes, size: int) -> str:
    if content[:6] != b"\x93NUMPY":
        return "no array of numpy"
    header = content[8 : 12 + int.from_bytes(content[8:12] if content[6] > 1 else content[8:10], "little")]
    return "objects in an array of numpy, which are a pickle" if re.search(rb"'descr': *(\[|'[|<>=]?O)", header) else ""


def _columns(path: Path) -> str:
    """Return why the columns of an Arrow or Parquet file are suspected; only its schema is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            schema = pq.read_schema(path)
        else:
            with pa.memory_map(str(path)) as source:
                schema = pa.ipc.open_file(source).schema
    except (pa.ArrowException, OSError, ValueError):
        return "not what its name says"
    names = [(field.metadata or {}).get(b"ARROW:extension:name", b"") for field in schema]
    foreign = [name for name, field in zip(names, schema, strict=True) if name or isinstance(field.type, pa.BaseExtensionType)]
    return f"an extension type of Arrow ({foreign[0].decode('utf-8', 'replace')[:40]})" if foreign else ""


def _starts(*magic: bytes) -> Callable[[bytes, int], str]:
    return lambda content, size: "" if content.startswith(magic) else "not what its name says"


DTYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
FORMS: dict[str, Callable[[bytes, int], str]] = {
    ".json": _json, ".jsonl": _lines, ".yaml": _yaml, ".html": _text, ".md": _text, ".csv": _text, ".safetensors": _safetensors,
    ".onnx": _onnx, ".npy": _npy, ".arrow": _starts(b"ARROW1"), ".parquet": _starts(b"PAR1"), ".png": _starts(b"\x89PNG\r\n\x1a\n"),
    ".db": _starts(b"SQLite format 3\0"),
}  # fmt: skip
BINARY = (".safetensors", ".onnx", ".npy", ".arrow", ".parquet", ".png", ".db")  # how these begin is checked by their own form
PLAIN_NAMES = (".lock",)
