"""A graph on encoded rows: what a package answers with, and by what each form of a graph is judged and timed. No torch."""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from weighbridge.errors import DependencyError, PackageError, WeighbridgeError
from weighbridge.preprocessing.ragged import Ragged
from weighbridge.runtime.graph import check_graph
from weighbridge.runtime.tokens import TEXT_ROWS

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

AGAIN = "build or download the package again"
BATCH_ROWS = 256
BYTES_AT_ONCE = 4 << 20  # of encoded rows: as float32, and normalised, 1,024 images of 96 x 96 would take 226 MB
RELEASE_BYTES = 16 << 20  # of a map that is read from end to end: so much of it is held at a time


@dataclass(frozen=True, kw_only=True)
class Session:
    """A checked graph, ready to run on the CPU. Calls are safe from several threads."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    _session: Any

    @classmethod
    def open(cls, graph: bytes | Path, *, threads: int | None = None) -> Self:
        """Return the session of an ONNX graph that holds its own weights and standard operators only.

        `threads`: CPU threads of one call; None leaves it to onnxruntime (the physical cores).
        Raises PackageError for a graph that is missing, damaged, or not of that kind.
        """
        content = graph if isinstance(graph, bytes) else _read(graph)
        check_graph(content)
        session = _session(content, threads)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        return cls(inputs=tuple(one.name for one in inputs), outputs=tuple(one.name for one in outputs), _session=session)

    def run(self, blocks: Mapping[str, np.ndarray], *, failing: str = "the model can not be run") -> np.ndarray:
        """Return the graph's output for the blocks of some rows, as the graph gives it. Raises PackageError that begins with `failing`."""
        with Refused(failing):
            return np.asarray(self._session.run(["output"], dict(blocks))[0])

    def tensors(self, blocks: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the named outputs of a graph that has several. Raises PackageError."""
        with Refused("the model can not be run"):
            return dict(zip(names, map(np.asarray, self._session.run(list(names), dict(blocks))), strict=True))

    def answer(self, arrays: Arrays) -> np.ndarray:
        """Return the output of all rows in stored order, float64 [n, ...]; memory is bounded, whatever n. Raises PackageError."""
        return answer_all(self.run, arrays)


def answer_all(run: Callable[[Mapping[str, np.ndarray]], np.ndarray], arrays: Arrays) -> np.ndarray:
    """Return what `run` says about all rows in stored order, float64 [n, ...]. Raises PackageError, ValueError without rows."""
    found: np.ndarray | None = None
    for blocks, rows in each_once(arrays):
        part = run(blocks)
        if part.shape[:1] != rows.shape:
            raise PackageError(f"the model gives {list(part.shape)} for {len(rows)} rows", do=AGAIN)
        found = np.empty((len(arrays), *part.shape[1:]), dtype=np.float64) if found is None else found
        found[rows] = part
    if found is None:
        raise ValueError("there are no rows")
    return found


def each_once(arrays: Arrays, *, rows: int = BATCH_ROWS, text_rows: int = TEXT_ROWS) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Yield (blocks, row numbers) until each row came once: as stored, or from short to long where there are texts.

    At most `rows` rows and 4 MB a batch, `text_rows` of like length where there are texts. What was read does not stay in the process.
    """
    texts = [values.lengths for values in arrays.blocks.values() if isinstance(values, Ragged)]
    order = np.argsort(np.sum(texts, axis=0), kind="stable") if texts else np.arange(len(arrays))
    size = text_rows if texts else min(rows, max(32, BYTES_AT_ONCE // max(1, arrays.row_bytes)))
    every = max(1, RELEASE_BYTES // max(1, arrays.row_bytes * size)) * size
    for place in range(0, len(arrays), size):
        part = order[place : place + size]
        yield {name: taken(values, part) for name, values in arrays.blocks.items()}, part
        if (place + size) % every == 0:
            arrays.release()
    arrays.release()


def taken(values: np.ndarray | Ragged, rows: np.ndarray) -> np.ndarray:
    """Return these rows of a block, texts padded to the longest."""
    return values[rows] if isinstance(values, Ragged) else np.take(values, rows, axis=0)


class Refused:
    """Turns what onnx and onnxruntime raise into one line of ours; the classes of onnxruntime have no common parent but Exception."""

    def __init__(
        self, what: str, kind: type[WeighbridgeError] = PackageError, *, do: str = AGAIN, also: tuple[type[Exception], ...] = ()
    ) -> None:
        self._what, self._kind, self._do = what, kind, do
        self._caught: tuple[type[Exception], ...] = (RuntimeError, ValueError, *also)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None and (type(error).__module__.startswith("onnx") or isinstance(error, self._caught)):
            raise self._kind(f"{self._what} ({str(error)[:200]})", do=self._do) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackageError(f"the graph {path} can not be read ({error.strerror})", do=AGAIN) from None


@functools.cache
def _overflows() -> bool:
    """Return whether this processor may add two products of uint8 and int8 in 16 bits, which hold less: x64 not known to have VNNI.

    onnxruntime then holds such weights as uint8, right on every processor; one with VNNI takes twice as long so (Fashion-MNIST's network
    in int8, one row: 284 us instead of 142 us), and is right without.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True


def _session(model: bytes, threads: int | None) -> Any:
    """Return an onnxruntime session on the CPU; no custom operators are registered."""
    try:
        import onnxruntime
    except ImportError:
        raise DependencyError("a package is run by onnxruntime", do="pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.inter_op_num_threads = 1
    if _overflows():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    with Refused("model.onnx can not be loaded"):
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
