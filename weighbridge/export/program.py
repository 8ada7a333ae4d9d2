"""A program of ExecuTorch (.pte), ready to answer encoded rows: the twin of runtime.session for what phones and small boards run.

It lives here and not in the runtime, since ExecuTorch's Python face takes torch's tensors and needs torch to load; on a device its C++
runtime does without. A .pte holds tensors, operators by name and a part for XNNPACK, and no code; a package's manifest shows that it is
the file that was built.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from weighbridge.errors import PackageError
from weighbridge.export.executorch import Exporting
from weighbridge.runtime.session import AGAIN, Refused, answer_all

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays


@dataclass(frozen=True, kw_only=True)
class Program:
    """A loaded .pte that answers a row a call. Calls are safe from several threads: one waits for the other."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    _method: Any
    _program: Any  # a method reads from the memory of its program and does not keep it
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, program: bytes | Path, inputs: Sequence[str], *, threads: int | None = None) -> Self:
        """Return the program, whose inputs have these names, in the order in which it was made of them.

        `threads`: of XNNPACK, for all programs of this process; None leaves it as it is. Raises PackageError, DependencyError.
        """
        content = program if isinstance(program, bytes) else _read(program)
        runtime = start()
        if threads is not None and runtime._legacy_module._threadpool_get_thread_count() != threads:
            with _without_native_remarks():
                runtime._legacy_module._unsafe_reset_threadpool(threads)  # unsafe while another thread of the process is in a program
        with Refused("model.pte can not be loaded", also=(TypeError, KeyError)):
            loaded = runtime.load_program(content)
            method = loaded.load_method("forward")
        if method is None or method.metadata.num_inputs() != len(inputs) or method.metadata.num_outputs() != 1:
            raise PackageError(f"model.pte does not take the {len(inputs)} blocks of its encoder for one output", do=AGAIN)
        return cls(inputs=tuple(inputs), outputs=("output",), _method=method, _program=loaded)

    def run(self, blocks: Mapping[str, np.ndarray], *, failing: str = "the model can not be run") -> np.ndarray:
        """Return the program's output for the blocks of some rows, asked one by one: [n, ...]. Raises PackageError."""
        tensors = [torch.from_numpy(np.ascontiguousarray(blocks[name])) for name in self.inputs]
        with Refused(failing, also=(TypeError,)), self._lock:
            parts = [self._method.execute([tensor[row : row + 1] for tensor in tensors])[0] for row in range(len(tensors[0]))]
        return np.concatenate([part.numpy() for part in parts])

    def answer(self, arrays: Arrays) -> np.ndarray:
        """Return the output of all rows in stored order, float64 [n, ...]. Raises PackageError, ValueError without rows."""
        return answer_all(self.run, arrays)


def start() -> Any:
    """Return ExecuTorch's runtime of this process; what its libraries remark on the processor is not said."""
    with Exporting(), _without_native_remarks():
        from executorch.runtime import Runtime

        runtime = Runtime.get()
        runtime._legacy_module._threadpool_get_thread_count()  # looks at the processor, once, and says what it could not read
    return runtime


@contextlib.contextmanager
def _without_native_remarks() -> Iterator[None]:
    """While the block runs, nothing that native code writes to standard error is seen."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackageError(f"the program {path} can not be read ({error.strerror})", do=AGAIN) from None
