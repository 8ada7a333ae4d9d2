"""Training on encoded data ten times larger than a memory limit, beside the same training with all rows in memory.

    python bench/large.py [--case table --case images] [--limit-mb 600] [--times 10] [--repeats 8] [--seconds 3]

The two take turns (A B A B ...), a ratio is taken within each turn. The limited process lives in a control group whose limit counts all
that it holds, the Python process and the file pages that it read included; before it starts, the files leave the page cache. Each
case is made once, by the encoder that `weigh run` uses: 256 columns of numbers, or images of 96 x 96 pixels in colour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from limited import group, wrapped

from weighbridge.data.table import Batch, Column, Schema
from weighbridge.preprocessing import Encoder, write_arrays
from weighbridge.recipe.schema import PreprocessingSection
from weighbridge.storage import write_json

HERE = Path(__file__).parent
SERVE = HERE / "large_serve.py"
COLUMNS, SIDE, CLASSES = 256, 96, 10
ROW_BYTES = {"table": COLUMNS * 4 + 8, "images": SIDE * SIDE * 3 + 8}
MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Made:
    """Rows that are made batch by batch, with the face of data.table.Table: never all of them in memory."""

    case: str
    rows: int
    seed: int

    def __len__(self) -> int:
        return self.rows

    @property
    def schema(self) -> Schema:
        names = [f"x{place}" for place in range(COLUMNS)] if self.case == "table" else ["photo"]
        inputs = [Column(name=name, type="number" if self.case == "table" else "image", role="input") for name in names]
        return Schema((*inputs, Column(name="y", type="category", role="target")), classes={str(code): 1 for code in range(CLASSES)})

    @property
    def row_ids(self) -> np.ndarray:
        return np.array([f"{number:016x}" for number in range(self.rows)])

    def batches(self, size: int = 4096) -> Iterator[Batch]:
        """Yield the rows sorted by class, the worst order for blocks of neighbours."""
        size = size if self.case == "table" else 512
        generator = np.random.default_rng(self.seed)
        means = np.random.default_rng(0).normal(size=(CLASSES, COLUMNS))
        for start in range(0, self.rows, size):
            stop = min(start + size, self.rows)
            classes = np.arange(start, stop) * CLASSES // self.rows
            columns: dict[str, np.ndarray] = {"y": np.array([str(code) for code in classes], dtype=object)}
            if self.case == "table":
                values = generator.normal(size=(stop - start, COLUMNS)) + 0.2 * means[classes]
                columns |= {f"x{place}": values[:, place] for place in range(COLUMNS)}
            else:
                pixels = generator.integers(0, 200, (stop - start, SIDE, SIDE, 3), dtype=np.uint8)
                pixels += (classes * 5).astype(np.uint8)[:, None, None, None]
                columns["photo"] = np.fromiter(iter(pixels), dtype=object, count=len(pixels))
            yield Batch(row_ids=np.array([f"{number:016x}" for number in range(start, stop)]), columns=columns)


def make(case: str, folder: Path, size_bytes: int) -> None:
    """`folder` holds encoder.json and train/ arrays of at least `size_bytes`, validation/ arrays of 512 rows."""
    rows = -(-size_bytes // ROW_BYTES[case])
    mark = folder / "made.json"
    if mark.exists() and json.loads(mark.read_text()) == {"case": case, "rows": rows}:
        return
    train = Made(case=case, rows=rows, seed=1)
    encoder = Encoder.fit(Made(case=case, rows=2000, seed=3), train.schema, PreprocessingSection())
    write_json(folder / "encoder.json", encoder.to_json())
    write_arrays(folder / "train", train, encoder)
    write_arrays(folder / "validation", Made(case=case, rows=512, seed=2), encoder)
    write_json(mark, {"case": case, "rows": rows})


def forget(folder: Path) -> None:
    """The files of `folder` are on the disk and, where the system takes advice, no longer in the page cache."""
    for path in folder.rglob("*.npy"):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def encoded_bytes(folder: Path) -> int:
    """Return the bytes of the training rows' blocks and targets."""
    return sum(path.stat().st_size for path in (folder / "train").glob("*.npy") if path.name != "row_id.npy")


class Contestant:
    """A process that trains only while it has the turn."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def turn(self) -> float:
        """Return rows/s of one turn. Raises RuntimeError with what it said when it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            _, said = self.process.communicate()
            raise RuntimeError(f"ended with {self.process.returncode}: {said.strip()[-500:]}")
        return float(line.split()[0])

    def resident_bytes(self) -> dict[str, int]:
        """Return what stands in the process now (anonymous, file pages) and at most (VmHWM); {} where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/status")
        lines = [line.split() for line in status.read_text().splitlines()] if status.exists() else []
        return {line[0][:-1]: int(line[1]) * 1024 for line in lines if line[0] in ("RssAnon:", "RssFile:", "VmHWM:")}


def measure(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one case."""
    folder, limit = options.folder / case, options.limit_mb * MB
    make(case, folder, options.times * limit)
    command = [sys.executable, str(SERVE), str(folder)]
    shared = ["--seconds", str(options.seconds), "--threads", str(options.threads)]
    rates: dict[str, list[float]] = {"limited": [], "memory": []}
    with group(limit) as made:
        if made is None:
            raise RuntimeError("no control group can be made here: run as root, or on a system that hands memory groups down")
        contestants = {"memory": Contestant([*command, str(folder / "memory"), "--memory", *shared])}
        contestants["memory"].turn()  # not counted: it reads all rows
        forget(folder)  # so that the limited one finds nothing that the other has read
        contestants["limited"] = Contestant(wrapped([*command, str(folder / "limited"), *shared], limit, made))
        contestants["limited"].turn()
        for number in range(options.repeats):
            for name, contestant in contestants.items():
                rates[name].append(contestant.turn())
            print(f"  {case} turn {number}  {shown(rates)}", file=sys.stderr, flush=True)
        held = contestants["limited"].resident_bytes()
        peak = int(made.peak_file.read_text())
        said = {name: contestant.process.communicate()[1] for name, contestant in contestants.items()}
        block, window = map(int, said["limited"].strip().splitlines()[-1].split())
    ratios = [a / b for a, b in zip(rates["limited"], rates["memory"], strict=True)]
    return {
        "case": case, "encoded_bytes": encoded_bytes(folder), "limit_bytes": limit, "charged_bytes": peak, "held": held,
        "ratios": ratios, "rates": rates, "block": block, "window": window,
    }  # fmt: skip


def shown(rates: dict[str, list[float]]) -> str:
    """Return the last rate of each contestant."""
    return "  ".join(f"{name} {values[-1]:,.0f}" for name, values in rates.items())


def line(found: dict[str, Any]) -> str:
    """Return a row of the table."""
    ratios, rates, held = found["ratios"], found["rates"], found["held"]
    return (
        f"| {found['case']} | {found['encoded_bytes'] / 1e9:.2f} GB | {found['limit_bytes'] / 1e6:.0f} MB "
        f"| {found['charged_bytes'] / 1e6:.0f} MB | {held.get('VmHWM', 0) / 1e6:.0f} MB | {held.get('RssAnon', 0) / 1e6:.0f} MB "
        f"| {statistics.median(rates['limited']):,.0f} "
        f"| {statistics.median(rates['memory']):,.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |"
    )


def main() -> int:
    """Print one row a case. Exit code 1 when one could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=list(ROW_BYTES))
    parser.add_argument("--limit-mb", type=int, default=600)
    parser.add_argument("--times", type=int, default=10, help="encoded bytes as a multiple of the limit")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("bench/results/large"))
    parser.add_argument("--proof-folder", type=Path, help="where large.json is written for scripts/proof.py")
    options = parser.parse_args()
    started, found = time.monotonic(), []
    for case in options.case or list(ROW_BYTES):
        try:
            found.append(measure(case, options))
        except RuntimeError as error:
            print(f"{case}: {error}", file=sys.stderr)
            return 1
    print(
        "| case | encoded | limit | most charged | most resident | private | rows/s limited | rows/s in memory | ratio: median (min-max) |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for one in found:
        print(line(one))
    print(f"{options.repeats} turns of {options.seconds:g} s, {options.threads} thread(s), {time.monotonic() - started:.0f} s in all")
    if options.proof_folder is not None:
        write_json(options.proof_folder / "large.json", {"cases": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
