"""What the packaged form costs: weights, operations, memory, time, energy, carbon, money. Every figure says whether it was measured.

What the optimization has measured is not measured again. Shapes: n rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.audit.cost_time import BULK_S, bulk_findings, latency_finding, measured_cost
from weighbridge.audit.flops_graph import Work, graph_work
from weighbridge.audit.packaged import fill_s, package_of
from weighbridge.audit.registry import audit
from weighbridge.audit.spending import spending_findings
from weighbridge.audit.subject import Subject
from weighbridge.findings import EMPTY, Finding, Message, Reference

ROWS = 64  # whose operations are counted where texts make them differ
CHAMPION = Message("the most capable model")


def seconds(subject: Subject) -> float:
    """Return about how long it takes: the package, rows in bulk, and costs where none are known."""
    return fill_s(subject) + BULK_S + 6.0


@audit("cost", Message("What it costs"), seconds=seconds)
def cost(subject: Subject) -> list[Finding]:
    """Return the findings `audit.cost.*`. Raises Unmeasured where there is no graph to measure."""
    graph = package_of(subject) / "model.onnx"
    subject.heard("audit cost", 0, 3, "operations")
    findings = work_findings(subject, graph)
    subject.heard("audit cost", 1, 3, "time and memory")
    known = measured_cost(subject, graph)
    findings += [_memory(subject, known), latency_finding(subject, known)]
    bulk, found = bulk_findings(subject, graph, known)
    subject.heard("audit cost", 2, 3, "energy")
    return [*findings, *found, *spending_findings(subject, bulk)]


def work_findings(subject: Subject, graph: Path) -> list[Finding]:
    """Return the weights and the operations of a row of the form, beside those of the most capable model."""
    works = _works(subject, graph)
    beside: list[Work] = []
    if subject.champion is not None and subject.champion.kept.graph:
        beside = _works(subject.champion, subject.folder / subject.champion.kept.graph)
    return [_parameters(subject, works[0], beside), _flops(subject, works, beside)]


def _works(subject: Subject, graph: Path) -> list[Work]:
    """Return the work of answering test rows: of one for all where each takes the same, else of ROWS of them one by one."""
    rows, content = subject.arrays["test"], graph.read_bytes()
    chosen = np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int) if subject.blocks("text") else np.zeros(1, dtype=int)
    return [graph_work(content, _blocks(rows, int(place))) for place in np.unique(chosen)]


def _blocks(rows: Any, place: int) -> dict[str, np.ndarray]:
    from weighbridge.runtime.session import taken

    return {name: taken(values, np.array([place])) for name, values in rows.blocks.items()}


def _parameters(subject: Subject, work: Work, beside: list[Work]) -> Finding:
    return Finding(
        key="audit.cost.parameters",
        title=Message("Weights of the packaged form"),
        value=work.parameters,
        unit="parameters",
        reference=Reference(name=CHAMPION, value=beside[0].parameters) if beside else None,
        method=Message("counted in the graph: its weights and constants of normalisation; what was folded into them is not there any more"),
        command=f"{subject.command} --only cost.parameters",
    )


def _flops(subject: Subject, works: list[Work], beside: list[Work]) -> Finding:
    totals = np.array([work.total for work in works], dtype=float)
    title, command = Message("Operations for one row"), f"{subject.command} --only cost.flops"
    if works[0].uncounted:
        reason = Message("the graph computes by {names}, which the counter does not know", names=", ".join(works[0].uncounted))
        return Finding(key="audit.cost.flops", title=title, verdict="unmeasured", reason=reason, command=command)
    reason = EMPTY
    if works[0].comparisons:
        reason = Message("beside at most {comparisons} comparisons in trees, which are not in it", comparisons=works[0].comparisons)
    several = len(totals) > 1
    apart = 1.96 * totals.std(ddof=1) / np.sqrt(len(totals)) if several else 0.0
    return Finding(
        key="audit.cost.flops",
        title=title,
        value=float(totals.mean()) if several else int(totals[0]),
        interval=(float(totals.mean() - apart), float(totals.mean() + apart)) if several else None,
        unit="FLOP",
        n=len(totals) if several else None,
        reference=Reference(name=CHAMPION, value=float(np.mean([work.total for work in beside]))) if beside else None,
        reason=reason,
        method=Message(
            "measured: shapes of the graph's tensors while it answered; matrix products, convolutions and recurrences, two operations for "
            "each multiply-add; of texts the mean over rows, each at its own length, with the normal interval of a mean"
        ),
        source="torch.utils.flop_counter",
        command=command,
    )


def _memory(subject: Subject, known: Any) -> Finding:
    return Finding(
        key="audit.cost.memory",
        title=Message("Peak memory of answering"),
        value=int(known.memory_bytes),
        unit="bytes",
        method=Message("measured: a fresh process that loads the graph and answers 32 rows twice, beyond numpy and onnxruntime"),
        command=f"{subject.command} --only cost.memory",
    )
