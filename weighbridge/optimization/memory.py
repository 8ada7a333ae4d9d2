"""The memory that a graph needs, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weighbridge.errors import FormError

IN_CHILD = """
import json, sys

def peak():
    try:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

import numpy as np
import onnxruntime
bare = peak()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
options.log_severity_level = 4
with open(sys.argv[1], "rb") as file:
    session = onnxruntime.InferenceSession(file.read(), options, providers=["CPUExecutionProvider"])
with np.load(sys.argv[2], allow_pickle=False) as arrays:
    blocks = {name: arrays[f"arr_{place}"] for place, name in enumerate(json.loads(sys.argv[4]))}
for _ in range(2):
    session.run(["output"], blocks)
print(json.dumps({"bytes": peak() - bare, "torch": "torch" in sys.modules}))
"""


def peak_memory(path: Path, blocks: Mapping[str, np.ndarray], *, threads: int = 1) -> int:
    """Return the bytes that a fresh process held at its peak beyond numpy and onnxruntime, once it had loaded the graph and answered twice.

    The peak is that of its own memory (VmHWM). getrusage gives the larger of it and of the peak of whoever started it, since Linux keeps
    that over exec: a graph of 15 MB had 518 MB so. Raises FormError when the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="weighbridge-") as folder:
        file = Path(folder) / "blocks.npz"
        np.savez(file, *blocks.values())
        command = [sys.executable, "-c", IN_CHILD, str(path), str(file), str(threads), json.dumps(list(blocks))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise FormError(f"the graph {path.name} does not answer in a fresh process ({last[:200]})", do="see how much memory is free")
    said = json.loads(done.stdout)
    if said["torch"]:
        raise FormError("the process that measures memory has loaded torch", do="report this as a bug")
    return int(said["bytes"])
