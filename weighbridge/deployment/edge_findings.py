"""What was found about a device target in words: the decision, its parity, and what it costs beside the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from weighbridge.deployment.edge_build import IN_INT8
from weighbridge.deployment.edge_cost import PACKAGE, EdgeCost
from weighbridge.deployment.edge_judge import ORIGINAL, Judged
from weighbridge.evaluation.choice_verdict import ON_JUDGING, SOURCE, confirmed_finding, in_points, losses, measured, method_of
from weighbridge.evaluation.verdicts import p_words, round_up
from weighbridge.findings import Finding, Message, Reference

KEY = "deployment.edge"


def failed_finding(target: str, error: Exception, command: str) -> Finding:
    """Return that a target could not be built, and why."""
    return Finding(
        key=f"{KEY}.{target}",
        title=Message("{target}, a target for devices", target=target),
        verdict="unmeasured",
        reason=Message("{why}", why=str(error)),
        command=command,
    )


def target_findings(judged: Judged, costs: Mapping[str, EdgeCost], command: str) -> list[Finding]:
    """Return the decision about a target, then its parity, the statement on test rows, and its costs."""
    target = judged.built.target
    found = [_decision(judged, command)]
    if judged.built.parity is not None:
        found.append(_parity(judged))
    if judged.confirmation is not None:
        stated = confirmed_finding(judged.confirmation, command=command)
        found.append(replace(stated, key=f"{KEY}.{target}.test", evidence=()))
    return found + _costs(target, costs[target], costs[PACKAGE])


def _decision(judged: Judged, command: str) -> Finding:
    test = judged.test
    p_value = judged.p_worse if judged.decision == "inferior" else judged.p_value
    return Finding(
        key=f"{KEY}.{judged.built.target}",
        title=Message(ON_JUDGING[judged.metric].template, name=judged.built.target, original=ORIGINAL),
        verdict="neutral" if judged.is_kept else "limitation",
        reason=_by_answers(judged) if judged.by_parity else _by_test(judged),
        method=method_of(test.test, judged.confidence, forms=1 if judged.by_parity else judged.targets),
        source=SOURCE[test.test],
        command=command,
        **measured(test, judged.metric, ORIGINAL, judged.original_value, p_value),
    )


def _by_answers(judged: Judged) -> Message:
    """Return the reason for a target that computes as the network does."""
    if judged.decision == "outside":
        return _outside(judged)
    if judged.is_kept:
        return Message("kept: its answers are the network's, within {tolerance}", tolerance=judged.tolerance)
    largest = judged.built.parity.largest if judged.built.parity is not None else 1e308
    template = "not kept: an answer differs from the network's by {largest}, and the tolerance is {tolerance}"
    return Message(template, largest=float(f"{largest:.3g}"), tolerance=judged.tolerance)


def _by_test(judged: Judged) -> Message:
    """Return the reason for a target in integers."""
    words = _words(judged)
    if judged.decision == "outside":
        return _outside(judged)
    if judged.decision == "undecided":
        return _undecided(judged)
    if judged.decision == "inferior":
        return in_points(
            judged.metric,
            Message("not kept: worse than the package by more than {margin} points (corrected p {p})", **words),
            Message("not kept: worse than the package by more than {margin} (corrected p {p})", **words),
        )
    return in_points(
        judged.metric,
        Message("kept: not worse than the package by more than {margin} points (corrected p {p})", **words),
        Message("kept: not worse than the package by more than {margin} (corrected p {p})", **words),
    )


def _outside(judged: Judged) -> Message:
    words = _words(judged)
    return in_points(
        judged.metric,
        Message("not kept: on the test rows it falls by more than {margin} points", margin=words["margin"]),
        Message("not kept: on the test rows its error grows by more than {margin}", margin=words["margin"]),
    )


def _undecided(judged: Judged) -> Message:
    words = _words(judged)
    if judged.rows is None or judged.rows <= judged.test.n:
        return in_points(
            judged.metric,
            Message("not kept: the data can not decide whether it is worse by more than {margin} points (p {p})", **words),
            Message("not kept: the data can not decide whether it is worse by more than {margin} (p {p})", **words),
        )
    words["more"] = round_up(judged.rows - judged.test.n)
    return in_points(
        judged.metric,
        Message(
            "not kept: the data can not decide whether it is worse by more than {margin} points (p {p}); about {more} more rows would",
            **words,
        ),
        Message(
            "not kept: the data can not decide whether it is worse by more than {margin} (p {p}); about {more} more rows would", **words
        ),
    )


def _words(judged: Judged) -> dict[str, Any]:
    p_value = judged.p_worse if judged.decision == "inferior" else judged.p_value
    return {"p": p_words(p_value), "margin": losses(judged.test, judged.metric)["margin"]}


def _parity(judged: Judged) -> Finding:
    parity = judged.built.parity
    assert parity is not None
    in_int8 = judged.built.target in IN_INT8
    return Finding(
        key=f"{KEY}.{judged.built.target}.parity",
        title=Message("Largest difference between {target} and the network", target=judged.built.target),
        value=parity.largest,
        n=parity.rows,
        verdict="neutral" if in_int8 or parity.holds else "limitation",
        reference=None if in_int8 else Reference(name=Message("tolerance"), value=parity.tolerance),
        reason=Message("integers round; what that does to the metric decides") if in_int8 else Message(""),
        method=Message("largest absolute difference of an output on validation rows, in deviations of the target for numbers"),
    )


def _costs(target: str, cost: EdgeCost, package: EdgeCost) -> list[Finding]:
    name, beside = {"target": target}, Message("{name}", name=ORIGINAL)
    low, high = cost.latency.ratio_interval
    size = Finding(
        key=f"{KEY}.{target}.size",
        title=Message("Size of {target}", **name),
        value=cost.size_bytes,
        unit="bytes",
        verdict="advantage" if cost.size_bytes < package.size_bytes else "neutral",
        reference=Reference(name=beside, value=package.size_bytes),
        reason=Message("its graph {own} KB, that of the package {other} KB", own=_kb(cost.graph_bytes), other=_kb(package.graph_bytes)),
        method=Message("sum of all its files"),
    )
    latency = Finding(
        key=f"{KEY}.{target}.latency",
        title=Message("Latency of {name}, one row, median", name=target),
        value=cost.latency.value,
        interval=cost.latency.interval,
        unit="s",
        n=cost.rounds,
        n_of="rounds",
        verdict="advantage" if high < 1 else "limitation" if low > 1 else "neutral",
        reference=Reference(name=beside, value=package.latency.value),
        reason=Message(
            "{times} of the time of the package ({low} to {high})", times=_three(cost.latency.ratio), low=_three(low), high=_three(high)
        ),
        method=Message(
            "one encoded row to its answer, one thread, {calls} calls in {rounds} rounds; all take turns, loaded anew in each",
            calls=cost.calls, rounds=cost.rounds,
        ),
        source="order statistics",
    )  # fmt: skip
    p99 = Finding(
        key=f"{KEY}.{target}.p99",
        title=Message("Latency of {target}, one row, 99 % within", **name),
        value=cost.p99.value,
        interval=cost.p99.interval,
        unit="s",
        n=cost.calls,
        n_of="calls",
        reference=Reference(name=beside, value=package.p99.value),
        method=Message("quantile of all calls, taken as independent"),
        source="order statistics",
    )
    return [size, latency, p99, _memory(target, cost, package)]


def _memory(target: str, cost: EdgeCost, package: EdgeCost) -> Finding:
    return Finding(
        key=f"{KEY}.{target}.memory",
        title=Message("Memory of {target}", target=target),
        value=cost.memory.extra_bytes,
        unit="bytes",
        reference=Reference(name=Message("{name}", name=ORIGINAL), value=package.memory.extra_bytes),
        reason=Message(
            "the whole process {whole} MB, that of the package {other} MB: Python and the libraries that answer it here are in that",
            whole=_mb(cost.memory.whole_bytes), other=_mb(package.memory.whole_bytes),
        ),
        method=Message("peak of a fresh process that loads it and answers its golden rows, beyond Python with its libraries; one thread"),
    )  # fmt: skip


def _kb(size: int) -> float:
    return round(size / 1e3, 1)


def _mb(size: int) -> float:
    return round(size / 1e6, 1)


def _three(value: float) -> float:
    return float(f"{value:.3g}")
