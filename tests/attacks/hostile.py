# ruff: noqa: E501 - a case a line reads as the table that it is
"""500 inputs that are damaged, lie about themselves or are merely strange, and a program that reads them and says how each one ended.

python -m tests.attacks.hostile FOLDER   prints one JSON object: how each input ended, and the most memory that was held
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import resource
import struct
import sys
import time
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROWS = 80
CSV = "x,c,y\n" + "".join(f"{index * 0.5},v{index % 9},{'ab'[index % 2]}\n" for index in range(ROWS))
LINES = "".join(json.dumps({"x": index * 0.5, "c": f"v{index % 9}", "y": "ab"[index % 2]}) + "\n" for index in range(ROWS))


@dataclass(frozen=True)
class Input:
    name: str
    file: str
    content: bytes


def changed(content: bytes, seed: int) -> bytes:
    """Return the content with a few bytes changed, a piece cut out, doubled or moved: by the seed."""
    random = np.random.default_rng(seed)
    bad = bytearray(content)
    for _ in range(int(random.integers(1, 8))):
        at = int(random.integers(len(bad)))
        how = random.integers(5)
        if how == 0:
            bad[at] = int(random.integers(256))
        elif how == 1:
            del bad[at : at + int(random.integers(1, 40))]
        elif how == 2:
            bad[at:at] = bad[at : at + 30]
        elif how == 3:
            bad[at:at] = bytes(random.integers(0, 256, 4, dtype=np.uint8))
        else:
            bad[at] ^= 0x80
        bad = bad or bytearray(b"\0")
    return bytes(bad)


def csv_files() -> Iterator[Input]:
    base = CSV.encode()
    strange = {
        "empty": b"", "one byte": b"x", "only newlines": b"\n" * 5000, "only commas": b",,,\n" * 100, "only quotes": b'"' * 999,
        "header only": b"x,c,y\n", "no newline": b"x,c,y", "NUL in a value": base.replace(b"v3", b"v\0"), "NUL first": b"\0" + base,
        "quote never closed": base.replace(b"v3", b'"v3', 1), "quote in the header": b'"' + base, "quotes everywhere": base.replace(b"v", b'"'),
        "a row too short": base + b"1,2\n", "a row too long": base + b"1,2,3,4\n", "ragged": b"x,c,y\n" + b"".join(b"1," * (n % 5) + b"a\n" for n in range(90)),
        "a million columns": b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n", "300 columns": _wide(300),
        "a value of 20 MB": base + b"1," + b"a" * (20 << 20) + b",a\n", "20 MB without a newline": b"a" * (20 << 20), "a header of 5 MB": b"a" * (5 << 20) + b",y\n1,a\n",
        "BOM": b"\xef\xbb\xbf" + base, "BOM twice": b"\xef\xbb\xbf" * 2 + base, "UTF-16": CSV.encode("utf-16"), "UTF-32": CSV.encode("utf-32"),
        "half UTF-8, half Latin-1": base + "1,ü,a\n".encode() + "1,ü,a\n".encode("latin-1"), "surrogates": base + b"1,\xed\xa0\x80,a\n", "overlong": base + b"1,\xc0\xaf,a\n",
        "CR only": base.replace(b"\n", b"\r"), "CR LF": base.replace(b"\n", b"\r\n"), "names twice": b"x,x,y\n1,2,a\n" * 2, "no names": b",,\n" + base[6:],
        "formula in a name": base.replace(b"x,c", b"=cmd|'/c calc'!A1,c", 1), "formula as a class": base.replace(b",a\n", b",=1+cmd()\n"),
        "markup as a class": base.replace(b",a\n", b",<script>alert(1)</script>\n"), "bidi in a class": base.replace(b",a\n", ",\u202eabc\u202c\n".encode()),
        "zero width": base.replace(b",a\n", ",\u200b\u200d\ufeffa\n".encode()), "control characters": base.replace(b"v3", b"\x1b[31mv\x07\x08"),
        "combining marks": base.replace(b"v3", b"v" + "\u0301".encode() * 500), "a number of 5,000 digits": base + b"9" * 5000 + b",v1,a\n",
        "1e999": base + b"1e999,v1,a\n-1e999,v1,b\n", "hexadecimal": base + b"0x1p-1074,v1,a\n", "dates out of range": _column(b"9999-99-99"),
        "dates of the year 10000": _column(b"10000-01-01"), "line separator": base.replace(b"v3", "v\u2028\u2029\u0085".encode()),
        "an image of markup": base.replace(b"v3", b"</td><img src=x onerror=alert(1)>"), "Parquet's magic": b"PAR1" + base, "zip's magic": b"PK\x03\x04" + base,
        "a path as a value": base.replace(b"v3", b"../../etc/passwd"), "a name of braces": base.replace(b"x,c", b"{0.__class__},%s%n", 1),
    }  # fmt: skip
    yield from (Input(f"CSV: {name}", "a.csv", content) for name, content in strange.items())
    yield from (Input(f"CSV: change {seed}", "a.csv", changed(base, seed)) for seed in range(60))
    zeros, row = bytes(64 << 20), b"1,v1,a\n" * 100_000
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    for ending, pack in packed.items():
        whole = pack(base)
        yield Input(f"CSV.{ending}: whole", f"a.csv.{ending}", whole)
        yield Input(f"CSV.{ending}: plain text", f"a.csv.{ending}", base)
        yield Input(f"CSV.{ending}: cut", f"a.csv.{ending}", whole[: len(whole) // 2])
        yield Input(f"CSV.{ending}: followed by something", f"a.csv.{ending}", whole + b"\xde\xad\xbe\xef" * 9)
        yield from (Input(f"CSV.{ending}: change {seed}", f"a.csv.{ending}", changed(whole, seed)) for seed in range(6))
    yield Input("CSV.gz: 64 MB of zeros", "a.csv.gz", gzip.compress(zeros))
    yield Input("CSV.gz: a line of 64 MB", "a.csv.gz", gzip.compress(b"x,y\n1," + b"a" * (64 << 20)))
    yield Input("CSV.gz: one row 100,000 times", "a.csv.gz", gzip.compress(b"x,c,y\n" + row))


def _wide(n: int) -> bytes:
    return b",".join(b"c%d" % k for k in range(n)) + b",y\n" + (b"1," * n + b"a\n" + b"2," * n + b"b\n") * 5


def _column(value: bytes) -> bytes:
    return b"x,d,y\n" + b"".join(
        b"%d,%s,%s\n" % (n, value if n % 9 == 0 else b"2024-01-0%d" % (n % 9), b"ab"[n % 2 : n % 2 + 1]) for n in range(80)
    )


def json_files() -> Iterator[Input]:
    base = LINES.encode()
    strange = {
        "empty": b"", "a list": b"[1, 2]\n", "null": b"null\n" * 9, "nested 100,000 deep": base + b'{"x":' + b"[" * 100_000 + b"\n", "nested objects": base + b'{"a":' * 900 + b"1" + b"}" * 900 + b"\n",
        "NaN": base + b'{"x": NaN, "c": "a", "y": "a"}\n', "Infinity": base + b'{"x": -Infinity, "c": "a", "y": "a"}\n', "a key twice": base + b'{"x": 1, "x": 2, "c": "a", "y": "a"}\n',
        "a number of 5,000 digits": base + b'{"x": ' + b"9" * 5000 + b', "c": "a", "y": "a"}\n', "lone surrogate": base + b'{"x": 1, "c": "\\ud800", "y": "a"}\n', "NUL escaped": base + b'{"x": 1, "c": "\\u0000", "y": "a"}\n',
        "another type": base + b'{"x": "one", "c": 5, "y": "a"}\n', "a list for a value": base + b'{"x": [1, 2], "c": {"a": 1}, "y": "a"}\n', "one object": b'{"x": 1, "y": "a"}', "pretty": json.dumps({"x": 1, "y": "a"}, indent=2).encode(),
        "a value of 20 MB": base + b'{"x": 1, "c": "' + b"a" * (20 << 20) + b'", "y": "a"}\n', "a line without an end": b'{"x": "' + b"a" * (20 << 20), "comments": b"// x\n" + base, "UTF-16": LINES.encode("utf-16"),
        "BOM": b"\xef\xbb\xbf" + base, "a name of 100,000 letters": base + b'{"' + b"k" * 100_000 + b'": 1, "y": "a"}\n', "__proto__": base.replace(b'"c"', b'"__proto__"'), "300 keys": base + json.dumps({f"k{n}": n for n in range(300)}).encode(),
    }  # fmt: skip
    yield from (Input(f"JSON lines: {name}", "a.jsonl", content) for name, content in strange.items())
    yield from (Input(f"JSON lines: change {seed}", "a.jsonl", changed(base, seed)) for seed in range(50))
    yield Input("JSON lines.gz: a line of 200 MB", "a.jsonl.gz", gzip.compress(b'{"x": "' + b"a" * (200 << 20), 1))


def columnar_files() -> Iterator[Input]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {"x": [float(n) for n in range(ROWS)], "c": [f"v{n % 9}" for n in range(ROWS)], "y": ["ab"[n % 2] for n in range(ROWS)]}
    )
    parquet, arrow, streamed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(table, parquet)
    with pa.ipc.new_file(arrow, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(streamed, table.schema) as writer:
        writer.write_table(table)
    for name, file, whole in (
        ("Parquet", "a.parquet", parquet.getvalue()),
        ("Arrow", "a.arrow", arrow.getvalue()),
        ("Arrow stream", "a.arrow", streamed.getvalue()),
    ):
        yield Input(f"{name}: whole", file, whole)
        yield from (Input(f"{name}: cut at {share}/8", file, whole[: len(whole) * share // 8]) for share in range(8))
        yield from (Input(f"{name}: change {seed}", file, changed(whole, seed)) for seed in range(35))
    yield Input("Parquet: a footer of 4 GB", "a.parquet", b"PAR1" + b"x" * 50 + struct.pack("<I", 0xFFFFFFF0) + b"PAR1")
    strange = pa.table({"x": pa.array([[1, 2]] * 50), "c": pa.array([{"a": 1}] * 50), "d": pa.array([b"\xff"] * 50), "y": ["a", "b"] * 25})
    other = io.BytesIO()
    pq.write_table(strange, other)
    yield Input("Parquet: lists, structs and bytes", "a.parquet", other.getvalue())


def idx_files() -> Iterator[Input]:
    """Images whose header lies, beside honest labels."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8).tobytes()
    whole = struct.pack(">I3I", 0x803, 60, 4, 4) + pixels
    headers = [
        (0x803, 60, 5, 4),
        (0x803, 61, 4, 4),
        (0x803, 2**32 - 1, 4, 4),
        (0x803, 60, 2**31, 2**31),
        (0x803, 60, 0, 4),
        (0x803, 60, 2**14, 2**14),
        (0x801, 60, 4, 4),
        (0xD03, 60, 4, 4),
        (0x8FF, 60, 4, 4),
        (0, 0, 0, 0),
    ]
    for magic, *sizes in headers:
        yield Input(f"idx: {magic:x} {sizes}", "train-images-idx3-ubyte", struct.pack(">I3I", magic, *sizes) + pixels)
    yield from (Input(f"idx: cut at {size}", "train-images-idx3-ubyte", whole[:size]) for size in (0, 3, 4, 15, 16, 17, 500))
    yield from (Input(f"idx: change {seed}", "train-images-idx3-ubyte", changed(whole, seed)) for seed in range(13))
    yield from (Input(f"idx.gz: change {seed}", "train-images-idx3-ubyte.gz", changed(gzip.compress(whole), seed)) for seed in range(10))


def images() -> Iterator[Input]:
    from PIL import Image

    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (24, 20, 3), dtype=np.uint8))
    forms = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "ppm": "PPM"}
    for ending, form in forms.items():
        stream = io.BytesIO()
        picture.save(stream, form)
        whole = stream.getvalue()
        yield from (Input(f"{form}: change {seed}", f"h.{ending}", changed(whole, seed)) for seed in range(12))
        yield Input(f"{form}: cut", f"h.{ending}", whole[: len(whole) // 2])
        yield Input(f"{form} named .png", "h.png", whole)
    yield from (Input(f"image: {name}", file, content) for name, file, content in _strange_images(picture))


def _strange_images(picture: object) -> Iterator[tuple[str, str, bytes]]:
    from PIL import Image

    assert isinstance(picture, Image.Image)

    def saved(image: Image.Image, form: str, **more: object) -> bytes:
        stream = io.BytesIO()
        image.save(stream, form, **more)
        return stream.getvalue()

    yield "empty", "h.png", b""
    yield "text", "h.png", b"hello"
    yield "SVG with a script", "h.png", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    yield "PostScript", "h.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(touch x) system\n"
    yield "animated", "h.gif", saved(picture, "GIF", save_all=True, append_images=[picture.rotate(n) for n in range(1, 30)])
    yield "CMYK", "h.jpg", saved(picture.convert("CMYK"), "JPEG")
    yield "16 bits", "h.png", saved(Image.fromarray(np.arange(480, dtype=np.uint16).reshape(24, 20)), "PNG")
    yield "one bit", "h.png", saved(picture.convert("1"), "PNG")
    yield "one pixel", "h.png", saved(picture.crop((0, 0, 1, 1)), "PNG")
    yield "turned by EXIF", "h.jpg", saved(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    yield "EXIF that is noise", "h.jpg", saved(picture, "JPEG", exif=b"Exif\0\0" + bytes(range(256)) * 200)
    for side in (8_001, 50_000, 2**31 - 1):
        yield f"a PNG header of {side} x {side}", "h.png", _png(side, side, zlib.compress(bytes(1000)))
    yield "a PNG of 7,000 x 7,000 zeros", "h.png", _png(7000, 7000, zlib.compress(bytes(7000 * 7001), 1))
    yield "a PNG whose text is a bomb", "h.png", _png(4, 4, zlib.compress(bytes(20)), text=zlib.compress(bytes(64 << 20)))
    yield (
        "a BMP header of 2^31",
        "h.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    )
    yield "a PPM header of 10^9", "h.ppm", b"P6 1000000000 1000000000 255\n" + bytes(100)


def _png(width: int, height: int, data: bytes, text: bytes | None = None) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    note = b"" if text is None else chunk(b"zTXt", b"Comment\0\0" + text)
    return b"\x89PNG\r\n\x1a\n" + head + note + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def inputs() -> Iterator[Input]:
    for kind in (csv_files, json_files, columnar_files, idx_files, images):
        yield from kind()


def read(folder: Path, hostile: Input) -> str:
    """Return how reading ended: "read", the one line of a typed refusal, or what is wrong about it."""
    from weighbridge.data import prepare
    from weighbridge.errors import WeighbridgeError
    from weighbridge.recipe import parse_recipe

    source = folder / "source"
    path = source / "b" / hostile.file if hostile.file.startswith("h.") else source / hostile.file
    path.write_bytes(hostile.content)
    data = {"source": str(source if hostile.file.startswith("h.") else path), "target": "label" if hostile.file[0] in "ht" else "y"}
    try:
        prepare(
            parse_recipe({"data": {**data, "clean": {"duplicates": "keep"}}}).data,
            seed=0,
            folder=folder / "data",
            command="weigh data runs/x",
        )
    except WeighbridgeError as error:
        line = str(error)
        return (
            f"refused: {line}" if error.exit_code == 2 and "\n" not in line and len(line) < 1000 and error.do else f"WRONG: {line[:300]!r}"
        )
    except Exception as error:
        return f"WRONG: {type(error).__name__}: {str(error)[:200]} at {traceback.extract_tb(error.__traceback__)[-1]}"
    finally:
        path.unlink()
    return "read"


def main(folder: Path) -> None:
    from PIL import Image

    for place in ("source/a", "source/b"):
        (folder / place).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number + len(place) * (place[-1] == "b")).integers(0, 256, (24, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / place / f"{number}.png")
    (folder / "source" / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 60) + bytes(n % 2 for n in range(60)))
    ended, slowest = {}, ("", 0.0)
    for hostile in inputs():
        started = time.monotonic()
        ended[hostile.name] = read(folder, hostile)
        print(f"{time.monotonic() - started:.2f} s  {hostile.name}  {ended[hostile.name]}", file=sys.stderr, flush=True)
        slowest = max(slowest, (hostile.name, time.monotonic() - started), key=lambda pair: pair[1])
    print(json.dumps({"ended": ended, "peak_bytes": peak_bytes(), "slowest": slowest}))


def peak_bytes() -> int:
    """Return the most that this process held. On Linux by VmHWM: getrusage keeps the peak of the process that started it over exec."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
