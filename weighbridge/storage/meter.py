"""What work took: seconds on the wall and of processors, and joules where this machine has a counter that may be read.

Intel's and AMD's RAPL counters stand under /sys/class/powercap (root only on many systems, absent in virtual machines); NVIDIA's are
read through pynvml where it is installed. A counter counts the whole processor or device, whoever used it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
MICRO, MILLI = 1e-6, 1e-3


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Seconds by the clock, seconds of processors (children that have ended are in it), joules by counters; None where none was read."""

    seconds: float
    cpu_seconds: float
    joules: float | None = None


class Meter:
    """Counts from the moment it is made. `devices` False: the processor's counters only."""

    def __init__(self, *, devices: bool = True, place: Path = POWERCAP) -> None:
        self._place, self._devices = place, devices
        self._began, self._worked = time.monotonic(), cpu_seconds()
        self._packages, self._nvidia = _rapl(place), _nvidia() if devices else {}

    def spent(self) -> Spent:
        """Return what was spent since."""
        now = _rapl(self._place)
        parts = [_since(self._packages[name], now[name]) for name in self._packages if name in now]
        if parts:  # without the processor's a sum would be of devices only
            later = _nvidia() if self._devices and self._nvidia else {}
            parts += [later[name] - joules for name, joules in self._nvidia.items() if name in later]
        return Spent(
            seconds=time.monotonic() - self._began, cpu_seconds=cpu_seconds() - self._worked, joules=float(sum(parts)) if parts else None
        )


def cpu_seconds() -> float:
    """Return the seconds that processors worked for this process and for its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])  # os.times counts this process, too, but by ticks of 0.01 s


def _since(before: tuple[float, float], now: tuple[float, float]) -> float:
    """Return the joules between two readings (value, where the counter begins again)."""
    apart = now[0] - before[0]
    return apart if apart >= 0 else apart + now[1]


def _rapl(place: Path) -> dict[str, tuple[float, float]]:
    """Return joules and the joules at which it begins again, of each processor package whose counter may be read."""
    found = {}
    try:
        folders = sorted(place.glob("intel-rapl:*"))
    except OSError:
        return {}
    for folder in folders:
        try:
            if folder.name.count(":") == 1 and (folder / "name").read_text(encoding="ascii").startswith("package"):
                value, range_ = (float((folder / name).read_text(encoding="ascii")) for name in ("energy_uj", "max_energy_range_uj"))
                found[folder.name] = (value * MICRO, range_ * MICRO)
        except (OSError, ValueError):
            continue
    return found


def _nvidia() -> dict[str, float]:
    """Return the joules that each NVIDIA device says it has used since its driver was loaded; {} where none says so."""
    if not Path("/proc/driver/nvidia").exists():
        return {}
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        return {str(number): pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) * MILLI for number, handle in enumerate(handles)}
    except pynvml.NVMLError:
        return {}
