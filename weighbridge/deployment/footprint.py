"""What a package needs of a machine: the memory of a process that has loaded and answered with it, and how many rows it answers.

Memory is measured here, in a fresh process; the speed is that of the package's contract where it has one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from weighbridge.errors import PackageError

MEBIBYTE = 1 << 20
STEP = 64 * MEBIBYTE  # figures are rounded up to it, so that the same package gives the same manifests
FRONT = 128 * MEBIBYTE  # of the process that speaks HTTP, its queue apart
SPARE = 1.5  # of the measured figure: batches and large bodies take more than golden rows do
LOADED = """
import json, sys
import weighbridge
model = weighbridge.load(sys.argv[1], threads=1)
for _ in range(20):
    model.check_golden()
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps(int(lines["VmHWM"].split()[0]) * 1024))
"""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """memory_bytes: the most resident in a worker, measured; rows_per_s, latency_s: as the contract says, None where there is none."""

    memory_bytes: int
    rows_per_s: float | None = None
    latency_s: float | None = None

    def pod_bytes(self, workers: int) -> int:
        """Return what a pod with so many workers is given: half as much again as was measured, rounded up to 64 MiB."""
        return -(-int(FRONT + workers * self.memory_bytes * SPARE) // STEP) * STEP


def footprint(package: Path) -> Footprint:
    """Return what the package was measured to need. Raises PackageError when it can not be loaded in a fresh process."""
    from weighbridge.runtime.contract import read_contract

    done = subprocess.run([sys.executable, "-c", LOADED, str(package)], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise PackageError(f"{package} does not answer in a fresh process ({last[0][:200]})", do="build the package again")
    contract = read_contract(package)
    if contract is None:
        return Footprint(memory_bytes=int(json.loads(done.stdout)))
    speed = contract.load.rows_per_s if contract.load else contract.price.rows_per_s
    return Footprint(memory_bytes=int(json.loads(done.stdout)), rows_per_s=speed.value, latency_s=contract.price.latency_s.value)
