"""What the run until here and a million answers use: processor time, energy, carbon, money by the recipe's rates.

Energy is measured where a counter was read while the work was done (RAPL, NVML); else it is estimated, and the finding says so. What has no
rate or no country in the recipe is not measured: none is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weighbridge.audit.cost_time import MILLION, Bulk
from weighbridge.audit.energy import J_PER_WH, SOURCE, Power, estimated_power, mix_of
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.findings import EMPTY, Finding, Message
from weighbridge.storage import read_json

STAGES = ("data", "preprocessing", "training", "optimization", "evaluation")
RUN, SERVED = "run", "million"
TITLES = {
    ("energy", RUN): Message("Energy of the run, audits aside"),
    ("energy", SERVED): Message("Energy for a million rows"),
    ("carbon", RUN): Message("Carbon of the run, CO2-equivalent"),
    ("carbon", SERVED): Message("Carbon for a million rows, CO2-equivalent"),
    ("price", RUN): Message("Price of the run"),
    ("price", SERVED): Message("Price of a million rows"),
}
HOW = {
    "measured": Message("measured: counters of the processor and of devices, which count whoever used them; memory is not in it"),
    "estimated": Message("estimated: seconds that were measured, at {thread} W a busy thread ({processor}) and {memory} W of memory"),
    "one-sided": Message("estimated: seconds that were measured, one machine kept for as long as they took"),
}


@dataclass(frozen=True, kw_only=True)
class Use:
    """What some work used. `seconds` on the clock, `cpu_seconds` of processors; `joules` where counted; ends as shares of it."""

    of: str
    seconds: float
    cpu_seconds: float
    joules: float | None = None
    low: float = 1.0
    high: float = 1.0
    n: int | None = None


def spending_findings(subject: Subject, bulk: Bulk) -> list[Finding]:
    """Return time, energy, carbon and price of the run and of a million rows."""
    served = Use(
        of=SERVED, seconds=MILLION * bulk.seconds, cpu_seconds=MILLION * bulk.seconds, low=bulk.interval[0] / max(bulk.seconds, 1e-12),
        high=bulk.interval[1] / max(bulk.seconds, 1e-12), joules=None if bulk.joules is None else MILLION * bulk.joules, n=bulk.rows,
    )  # fmt: skip
    try:
        run, uses = _run_use(subject), list[Use]()
        findings, uses = [_made(subject, run)], [run, served]
    except Unmeasured as error:
        findings, uses = [subject.unmeasured("cost.run", Message("Processor time of the run, audits aside"), error.reason)], [served]
    for use in uses:
        findings += [_energy(subject, use), _carbon(subject, use), _price(subject, use)]
    return findings


def _run_use(subject: Subject) -> Use:
    """Return what the stages before the audits used; a training that was taken up again counts as it would have in one sitting.

    Raises Unmeasured for a run that was made before processors were counted.
    """
    marks = {name: read_json(subject.folder / name / "stage.json") for name in STAGES}
    if not all("cpu_seconds" in mark for mark in marks.values()):
        raise Unmeasured(Message("the run was made before each stage wrote down what its processors worked; run the recipe again"))
    whole = {name: 1.0 for name in STAGES} | {"training": max(1.0, subject.training_s / max(1e-9, marks["training"]["seconds"]))}
    joules: list[float | None] = [mark.get("joules") for mark in marks.values()]
    return Use(
        of=RUN, seconds=sum(whole[name] * marks[name]["seconds"] for name in STAGES),
        cpu_seconds=sum(whole[name] * marks[name]["cpu_seconds"] for name in STAGES),
        joules=None if None in joules else sum(whole[name] * float(marks[name]["joules"]) for name in STAGES),
    )  # fmt: skip


def _made(subject: Subject, run: Use) -> Finding:
    return Finding(
        key="audit.cost.run",
        title=Message("Processor time of the run, audits aside"),
        value=run.cpu_seconds,
        unit="s",
        n=len(STAGES),
        n_of="stages",
        reason=Message(
            "{clock} s on the clock, {training} s of them the network's own training",
            clock=round(run.seconds, 1), training=round(subject.training_s, 1),
        ),
        method=Message("measured: what processors worked for the stages, by the operating system; processes that they started are in it"),
        command=f"{subject.command} --only cost.run",
    )  # fmt: skip


def watt_hours(subject: Subject, use: Use) -> tuple[float, Message]:
    """Return the energy and how it is known. Raises Unmeasured where it is not."""
    if use.joules is not None:
        return use.joules / J_PER_WH, HOW["measured"]
    if use.of == RUN and _on_device(subject):
        raise Unmeasured(Message("the network was trained on a device whose counter was not read"))
    power: Power = estimated_power()
    how = Message(HOW["estimated"].template, thread=round(power.thread_w, 2), processor=power.processor, memory=round(power.memory_w, 1))
    return power.wh(use.seconds, use.cpu_seconds), how


def is_estimate(how: Message) -> bool:
    """Whether energy known so was estimated from seconds."""
    return how.template == HOW["estimated"].template


def _on_device(subject: Subject) -> bool:
    return str(read_json(subject.folder / "training" / "plan.json").get("device", "cpu")) != "cpu"


def _energy(subject: Subject, use: Use) -> Finding:
    try:
        value, how = watt_hours(subject, use)
    except Unmeasured as error:
        return _unmeasured(subject, "energy", use, error.reason)
    estimated = is_estimate(how)
    reason = Message("no counter of energy can be read here; the constants of the estimate have no interval") if estimated else EMPTY
    return _finding(subject, "energy", use, value, "W h", how, reason, SOURCE if estimated else "RAPL, NVML")


def _carbon(subject: Subject, use: Use) -> Finding:
    country = subject.recipe.audit.cost.country
    if country is None:
        return _unmeasured(subject, "carbon", use, Message("the recipe names no country of the electricity (audit.cost.country: FRA)"))
    try:
        energy, how = watt_hours(subject, use)
        mix = mix_of(country)
    except Unmeasured as error:
        return _unmeasured(subject, "carbon", use, error.reason)
    about: dict[str, Any] = {"grams": round(mix.g_per_kwh, 1), "country": mix.country, "year": str(mix.year)}
    reason = Message("{grams} g for a kWh in {country} in {year}, the mean of all electricity there", **about)
    if is_estimate(how):
        reason = Message("of estimated energy; {grams} g for a kWh in {country} in {year}, the mean of all electricity there", **about)
    return _finding(subject, "carbon", use, energy / 1e3 * mix.g_per_kwh, "g", how, reason, SOURCE)


def _price(subject: Subject, use: Use) -> Finding:
    rates = subject.recipe.audit.cost
    if rates.hour_price is None and rates.kwh_price is None:
        reason = Message("the recipe names no rate (audit.cost.hour_price of a machine, audit.cost.kwh_price of its electricity)")
        return _unmeasured(subject, "price", use, reason)
    try:
        energy, how = watt_hours(subject, use) if rates.kwh_price is not None else (0.0, HOW["one-sided"])
    except Unmeasured as error:
        return _unmeasured(subject, "price", use, error.reason)
    value = use.seconds / 3600 * (rates.hour_price or 0.0) + energy / 1e3 * (rates.kwh_price or 0.0)
    reason = Message(
        "{hour} {currency} for an hour of the machine, {kwh} {currency} for a kWh",
        hour=rates.hour_price or 0.0, kwh=rates.kwh_price or 0.0, currency=rates.currency,
    )  # fmt: skip
    return _finding(subject, "price", use, value, rates.currency, how, reason, "")


def _finding(subject: Subject, what: str, use: Use, value: float, unit: str, how: Message, reason: Message, source: str) -> Finding:
    interval: Any = None if use.of == RUN else (value * use.low, value * use.high)
    return Finding(
        key=f"audit.cost.{what}.{use.of}",
        title=TITLES[what, use.of],
        value=value,
        interval=interval,
        unit=unit,
        n=use.n,
        reason=reason,
        method=how,
        source=source,
        command=f"{subject.command} --only cost.{what}.{use.of}",
    )


def _unmeasured(subject: Subject, what: str, use: Use, reason: Message) -> Finding:
    return subject.unmeasured(f"cost.{what}.{use.of}", TITLES[what, use.of], reason)
