"""Watts and grams of carbon dioxide: CodeCarbon's constants, applied offline to seconds that were measured. Nothing is sent anywhere.

CodeCarbon's tracker is not used: its samples of a machine's load would count what else the machine does, it takes seconds to start, and a
file in a home folder can tell it to send what it saw. Its model of one process is what is done here: watts = (design power of the
processor / its threads) x processors kept busy, and the memory of the whole machine for as long as it takes.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass

from weighbridge.audit.subject import Unmeasured
from weighbridge.findings import Message

J_PER_WH = 3600.0
SOURCE = "CodeCarbon"
MISSING = Message("CodeCarbon is not installed: pip install 'weighbridge[audit]'")


@dataclass(frozen=True, kw_only=True)
class Power:
    """Watts while one thread of the processor is busy, and of the machine's memory; estimated from what the processor is called."""

    processor: str
    thread_w: float
    memory_w: float

    def wh(self, seconds: float, cpu_seconds: float) -> float:
        """Return the watt-hours of work that took so many seconds, in which processors worked so many."""
        return (cpu_seconds * self.thread_w + seconds * self.memory_w) / J_PER_WH


@functools.cache
def estimated_power() -> Power:
    """Return this machine's. Raises Unmeasured without CodeCarbon, or where it knows no power for the processor."""
    try:
        from codecarbon.core.cpu import TDP
        from codecarbon.core.util import count_cpus
        from codecarbon.external.ram import RAM
    except ImportError:
        raise Unmeasured(MISSING) from None
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # importing it sets another level
    processor = TDP()
    if not processor.tdp:
        raise Unmeasured(Message("CodeCarbon knows no power of the processor {name}", name=str(processor.model)))
    memory = RAM(tracking_mode="machine").total_power()
    return Power(processor=str(processor.model), thread_w=float(processor.tdp) / max(1, count_cpus()), memory_w=float(memory.W))


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The electricity of a country: grams of CO2-equivalent for a kilowatt-hour, in a year."""

    country: str
    g_per_kwh: float
    year: int


def mix_of(country: str) -> Mix:
    """Return the mix of a country by its ISO 3166 code of three letters. Raises Unmeasured for one that CodeCarbon does not know."""
    try:
        from codecarbon.input import DataSource
    except ImportError:
        raise Unmeasured(MISSING) from None
    known = DataSource().get_global_energy_mix_data().get(country.upper())
    if known is None:
        raise Unmeasured(Message("CodeCarbon knows no electricity of the country {code} (audit.cost.country)", code=country))
    return Mix(country=str(known["country_name"]), g_per_kwh=float(known["carbon_intensity"]), year=int(known["year"]))
