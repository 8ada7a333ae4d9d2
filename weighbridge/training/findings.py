"""What training was and what it cost, as findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.findings import Finding, Message
from weighbridge.training.loop import best_epoch

if TYPE_CHECKING:
    from weighbridge.models import NetworkSpec
    from weighbridge.training.checkpoint import Progressed
    from weighbridge.training.plan import Plan
    from weighbridge.training.stage import Course


def training_findings(course: Course, plan: Plan, progressed: Progressed, command: str, *, parameters: int) -> list[Finding]:
    """Return parameters, time, speed and the kept epoch."""
    return [
        _parameters(course, parameters, f"{command} --only parameters"),
        _seconds(plan, progressed, f"{command} --only seconds"),
        _speed(course, plan, progressed, f"{command} --only speed"),
        _kept_epoch(course, progressed, f"{command} --only kept_epoch"),
    ]


def sizes_in_words(spec: NetworkSpec) -> str:
    """Return what the size dial became for this network."""
    if spec.type == "cnn":
        return f"channels {'-'.join(map(str, spec.sizes.channels))}"
    if spec.type == "rnn":
        depth = min(spec.sizes.depth, 2) if spec.depth_given is None else spec.depth_given
        return f"{spec.cell} {2 * spec.sizes.width}, depth {depth}"
    if spec.type == "transformer":
        return f"width {spec.sizes.width}, depth {spec.sizes.depth}"
    if spec.pretrained is not None:
        return str(spec.pretrained["source"])
    return f"hidden {'-'.join(map(str, spec.sizes.hidden))}" if spec.type == "mlp" else "one layer"


def _parameters(course: Course, parameters: int, command: str) -> Finding:
    spec = course.spec
    return Finding(
        key="training.parameters",
        title=Message("Trained parameters"),
        value=parameters,
        method=Message("counted; {type}, size {size}: {sizes}", type=spec.type, size=course.section.model.size, sizes=sizes_in_words(spec)),
        evidence=("training/model.json",),
        command=command,
    )


def _seconds(plan: Plan, progressed: Progressed, command: str) -> Finding:
    method = Message(
        "wall clock of {updates} updates, validation included; {threads} threads on {device}",
        updates=progressed.step,
        threads=plan.threads,
        device=plan.device,
    )
    value = round(progressed.elapsed_s, 3)
    title = Message("Time to train")
    return Finding(key="training.seconds", title=title, value=value, unit="s", n=1, n_of="runs", method=method, command=command)


def _speed(course: Course, plan: Plan, progressed: Progressed, command: str) -> Finding:
    rows = progressed.step * plan.batch_size * course.section.accumulate
    return Finding(
        key="training.speed",
        title=Message("Speed of training"),
        value=round(rows / max(progressed.elapsed_s, 1e-9), 1),
        unit="rows/s",
        n=rows,
        method=Message(
            "rows over wall clock, validation included; batch {batch}, {precision}, {form}, compiled: {compiled}",
            batch=plan.batch_size,
            precision=plan.precision,
            form=plan.memory_format.replace("_", " "),
            compiled=plan.compile,
        ),
        evidence=("training/plan.json",),
        command=command,
    )


def _kept_epoch(course: Course, progressed: Progressed, command: str) -> Finding:
    stopping, epochs = course.section.early_stopping, len(progressed.epochs)
    if not stopping.enabled:
        method = Message("the last of {epochs} epochs; early stopping is off", epochs=epochs)
    elif stopping.metric in ("auto", "loss"):
        method = Message("lowest validation loss of {epochs} epochs", epochs=epochs)
    else:
        method = Message("best validation score of {epochs} epochs", epochs=epochs)
    return Finding(
        key="training.kept_epoch",
        title=Message("Epoch whose weights are kept"),
        value=round(progressed.epochs[best_epoch(progressed.epochs, course.section)]["epoch"], 2),
        n=len(course.validation),
        method=method,
        source="Prechelt 1998",
        evidence=("training/history.json",),
        command=command,
    )
