"""How the training will run on this machine: decided once by a short measured trial, written down, followed to the end.

A resumed run reads the plan instead of measuring again, so noise of the machine can not change its result.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from weighbridge.errors import RecipeError, RunError
from weighbridge.training.accountant import delta_of, noise_for
from weighbridge.training.batches import Batches
from weighbridge.training.order import WHOLE, Order
from weighbridge.training.poisson import private_batch

if TYPE_CHECKING:
    from weighbridge.recipe import TrainingSection
    from weighbridge.training.step import Updater

TRIAL_S = 0.35  # seconds a candidate
WARM_UP = 2  # updates before the clock starts
GOOD_ENOUGH = 0.9  # the smallest batch within this share of the best rows/s is taken: more updates for the same time
FASTER = 1.1  # another form must be faster by this factor to replace the plain one
THREAD_ROUNDS = 3  # in turns, and the median: a neighbour's burst must not cost a long training its other cores
COMPILE_PAYS_S = 600.0  # torch.compile is tried only where training is expected to take longer
BATCH_SIZES = (32, 64, 128, 256, 512)
LEAST_UPDATES = 40  # an epoch, where the rows allow it
MOST_DRIFT, MOST_PRIVATE_LR = 0.5, 0.2  # measured in docs/mitigation-privacy.md


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was decided, and the measurements behind it (rows/s by candidate)."""

    device: str
    threads: int
    batch_size: int
    precision: str
    memory_format: str
    compile: bool
    lr: float
    updates: int
    updates_per_epoch: int
    rows_per_second: float
    trial: dict[str, float]
    block: int = 0  # rows a block and blocks a window of the order; 0: all rows are shuffled at once
    window: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the plan of plan.json. Raises RunError when it has other keys: another version wrote it, or a hand."""
        try:
            return cls(**value)
        except TypeError as error:
            raise RunError(f"plan.json is not a plan of this Weighbridge ({error})", do="remove the training folder of this run") from None

    @property
    def identity(self) -> dict[str, Any]:
        """The part that the weights depend on."""
        return {name: value for name, value in asdict(self).items() if name not in ("trial", "rows_per_second")}


Build = Callable[[Plan], "tuple[Updater, Batches]"]


def choose_device(wish: str) -> torch.device:
    """Return the recipe's device, or for `auto` the accelerator where there is one. Raises RecipeError when it is absent."""
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wish)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(
            f"training.device: {wish} is not usable here ({str(error).splitlines()[0]})", do="set it to auto or cpu"
        ) from None
    return device


def choose_threads(wish: int | str) -> int:
    """Return the recipe's thread count, or the number of physical cores that this process may use."""
    import os

    import psutil

    if wish != "auto":
        return int(wish)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def make_plan(
    section: TrainingSection, *, rows: int, lr: float, images: bool, texts: bool, kind: str, build: Build, order: Order = WHOLE
) -> Plan:
    """Return the plan: the recipe's own choices, and measured ones where it says auto.

    Texts are compiled only where the recipe says so: their batches have many lengths, and each may be compiled anew (the trial alone of
    an LSTM over 128 tokens took six minutes on two busy cores).
    """
    device = choose_device(section.device)
    plan = Plan(
        device=str(device), threads=choose_threads(section.threads), batch_size=1, precision="fp32", memory_format="contiguous",
        compile=False, lr=lr, updates=1, updates_per_epoch=1, rows_per_second=0.0, trial={},
        block=order.block, window=order.window,
    )  # fmt: skip
    plan = _choose_batch(plan, section, rows, build)
    if section.threads == "auto" and plan.threads > 1 and device.type == "cpu":
        plan = _choose_threads(plan, build)
    plan = _choose_form(
        plan,
        section,
        images=images and not section.privacy.enabled,
        bf16_fits=kind != "number" and not section.privacy.enabled and (images or section.model.type in ("transformer", "pretrained")),
        build=build,
    )
    plan = with_length(plan, section, rows)
    if section.compile is True or (section.compile == "auto" and not texts and not section.privacy.enabled and _compile_may_pay(plan)):
        plan = _choose_compile(plan, section, build)
    return plan


def _choose_batch(plan: Plan, section: TrainingSection, rows: int, build: Build) -> Plan:
    if section.batch_size != "auto":
        return replace(plan, batch_size=min(int(section.batch_size), rows))
    if section.privacy.enabled:
        return replace(plan, batch_size=private_batch(rows))
    fitting = [size for size in BATCH_SIZES if size * LEAST_UPDATES <= rows] or [min(BATCH_SIZES[0], rows)]
    speeds = {size: _speed(replace(plan, batch_size=size), build) for size in fitting} if len(fitting) > 1 else {}
    chosen = next((size for size in fitting if speeds[size] >= GOOD_ENOUGH * max(speeds.values())), fitting[0]) if speeds else fitting[0]
    return replace(plan, batch_size=chosen, trial={f"batch {size}": round(speed, 1) for size, speed in speeds.items()})


def _choose_threads(plan: Plan, build: Build) -> Plan:
    """Choose one thread where more are not clearly faster: small networks, and machines whose cores others use."""
    one = replace(plan, threads=1)
    rounds = [{candidate.threads: _speed(candidate, build) for candidate in (one, plan)} for _ in range(THREAD_ROUNDS)]
    speeds = {threads: statistics.median(speed[threads] for speed in rounds) for threads in (1, plan.threads)}
    trial = plan.trial | {f"{threads} threads": round(speed, 1) for threads, speed in speeds.items()}
    return replace(plan if speeds[plan.threads] >= FASTER * speeds[1] else one, trial=trial)


def _choose_form(plan: Plan, section: TrainingSection, *, images: bool, bf16_fits: bool, build: Build) -> Plan:
    """Choose precision and memory format. Auto offers bf16 for classes only: 8 bits of mantissa are too few for regression."""
    precisions = [section.precision] if section.precision != "auto" else ["fp32", "bf16"] if bf16_fits else ["fp32"]
    formats = [section.memory_format] if section.memory_format != "auto" else ["contiguous", "channels_last"] if images else ["contiguous"]
    candidates = [replace(plan, precision=precision, memory_format=form) for precision in precisions for form in formats]
    speeds = [_speed(candidate, build) for candidate in candidates]
    best = max(range(len(candidates)), key=lambda place: speeds[place])
    if speeds[best] < FASTER * speeds[0]:
        best = 0
    trial = {f"{one.precision} {one.memory_format}": round(speed, 1) for one, speed in zip(candidates, speeds, strict=True)}
    return replace(candidates[best], rows_per_second=speeds[best], trial=plan.trial | trial)


def _choose_compile(plan: Plan, section: TrainingSection, build: Build) -> Plan:
    compiled = replace(plan, compile=True)
    speed = _speed(compiled, build)
    trial = plan.trial | {"compiled": round(speed, 1)}
    if section.compile is True or speed >= FASTER * plan.rows_per_second:
        return replace(compiled, rows_per_second=speed, trial=trial)
    return replace(plan, trial=trial)


def _compile_may_pay(plan: Plan) -> bool:
    import shutil

    seconds = plan.updates * plan.batch_size / max(plan.rows_per_second, 1e-9)
    return seconds > COMPILE_PAYS_S and (plan.device.startswith("cuda") or shutil.which("g++") is not None)


def with_length(plan: Plan, section: TrainingSection, rows: int) -> Plan:
    """Fix the number of updates: epochs, or what the budget allows at the measured speed."""
    per_epoch = max(1, rows // plan.batch_size // section.accumulate)
    updates = per_epoch * section.epochs
    if section.budget is not None:
        affordable = section.budget * 60 * plan.rows_per_second / (plan.batch_size * section.accumulate)
        updates = max(1, min(updates, int(affordable)))
    return with_private_rate(replace(plan, updates=updates, updates_per_epoch=per_epoch), section, rows)


def with_private_rate(plan: Plan, section: TrainingSection, rows: int) -> Plan:
    """Return the plan; of a private training whose rate is open, with one at which the noise moves a weight by at most about MOST_DRIFT.

    Over T steps of rate r and momentum m, noise of s a step is a random walk of r s sqrt(T) / (1 - m).
    """
    options, rule = section.privacy, section.optimizer
    if options.epsilon is None or rule.lr != "auto" or rule.type not in ("sgd", "momentum"):
        return plan
    noise = noise_for(options.epsilon, delta_of(options.delta, rows), min(1.0, plan.batch_size / rows), plan.updates)
    step = noise * options.clip / plan.batch_size * math.sqrt(plan.updates) / (1 - (rule.momentum if rule.type == "momentum" else 0.0))
    return replace(plan, lr=min(MOST_PRIVATE_LR / options.clip, MOST_DRIFT / step))


def _speed(plan: Plan, build: Build) -> float:
    """Return rows/s of real updates on real rows under a plan, after a warm-up; the weights are thrown away.

    Batches of texts differ in length, and a candidate may have time for one only: it is the one of median length, for each of them.
    """
    torch.set_num_threads(plan.threads)
    updater, batches = build(plan)
    rounds = batches.epoch(0)
    pieces = [piece for piece, _ in zip(rounds, range(8), strict=False)]
    sizes = [sum(values.numel() for values in batch.values()) for batch, _, _ in pieces]
    if min(sizes) < max(sizes):
        pieces = [pieces[sorted(range(len(sizes)), key=sizes.__getitem__)[len(sizes) // 2]]]
    for number in range(WARM_UP):
        updater.update(number, [pieces[number % len(pieces)]])
    _wait_for(plan)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < TRIAL_S:
        updater.update(done, [pieces[done % len(pieces)]])
        done += 1
    _wait_for(plan)
    return done * len(pieces[0][1]) / (time.perf_counter() - start)


def _wait_for(plan: Plan) -> None:
    """Return when the accelerator has done what it was given: its kernels run behind the program."""
    if plan.device.startswith("cuda"):
        torch.cuda.synchronize()


def place(network: nn.Module, plan: Plan) -> nn.Module:
    """Return the network on the plan's device in its memory format."""
    form = torch.channels_last if plan.memory_format == "channels_last" else torch.contiguous_format
    moved: nn.Module = network.to(plan.device).to(memory_format=form)  # type: ignore[call-overload]  # missing in torch's stubs
    return moved


def average_of(network: nn.Module) -> nn.Module:
    """Return a copy that no gradient reaches, for the moving average of weights."""
    return copy.deepcopy(network).requires_grad_(False)
