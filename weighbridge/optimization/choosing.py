"""The choice: what everything costs, which forms are not inferior, and which of them is the cheapest; with what its drawing shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from weighbridge.findings import Finding, Message, Reference
from weighbridge.optimization.chosen import Kept, recipe_network
from weighbridge.optimization.contest import RECIPE
from weighbridge.optimization.rating import resampling
from weighbridge.storage import read_json, write_json

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.choice import Choice
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.cost import Cost
    from weighbridge.optimization.ladder import Entry

EVIDENCE = "optimization/frontier.json"
COSTS = "costs.json"


def measured_costs(contest: Contest, champion: Entry, entries: Sequence[Entry]) -> dict[str, Cost]:
    """Return what each graph costs on this machine, the champion's first; costs.json keeps them for the same graphs.

    Graphs that read other encoded rows than the champion are timed among themselves; their ratios to it are those of the medians.
    """
    from weighbridge.optimization.cost import Cost, measure_costs

    path = contest.place / COSTS
    hashes = {entry.name: entry.about()["sha256"] for entry in (champion, *entries)}
    if path.exists() and (known := read_json(path))["graphs"] == hashes:
        return {name: Cost.from_json(one) for name, one in known["costs"].items()}
    found: dict[str, Cost] = {}
    for arrays in dict.fromkeys(entry.own.arrays for entry in (champion, *entries)):
        graphs = {entry.name: entry.graph(entry.own) for entry in (champion, *entries) if entry.own.arrays == arrays}
        rows = next(entry for entry in (champion, *entries) if entry.own.arrays == arrays).own.validation
        measured = measure_costs(graphs, rows, progress=contest.progress, stop=contest.stop)
        found |= measured if champion.name in measured else {name: _beside(one, found[champion.name]) for name, one in measured.items()}
    write_json(path, {"graphs": hashes, "costs": {name: one.to_json() for name, one in found.items()}})
    return found


def _beside(cost: Cost, champion: Cost) -> Cost:
    """Return the cost with ratios to the champion's medians: the two were not timed in turns, so their intervals are combined."""

    def ratio(name: str) -> Any:
        own, other = getattr(cost, name), getattr(champion, name)
        low, high = own.interval[0] / other.interval[1], own.interval[1] / other.interval[0]
        return replace(own, ratio=own.value / other.value, ratio_interval=(low, high))

    return replace(
        cost, latency=ratio("latency"), latency_32=ratio("latency_32"), speed=ratio("speed"), load=ratio("load"),
        size_ratio=cost.size_bytes / champion.size_bytes, memory_ratio=cost.memory_bytes / max(1, champion.memory_bytes),
    )  # fmt: skip


def choose(contest: Contest, champion: str, options: Sequence[str], said: Mapping[str, Predictions], costs: Mapping[str, Cost]) -> Choice:
    """Return the choice among the options, judged on the judging rows with the recipe's margin, confidence and cost."""
    from weighbridge.evaluation.choice import Option
    from weighbridge.evaluation.choice import choose as decide

    rules = contest.recipe.optimization.choice
    offered = []
    for name in options:
        price = costs[name].price(rules.cost)
        ratio = {"cost_ratio": price.ratio, "cost_ratio_high": price.ratio_interval[1]}
        offered.append(Option(name=name, predictions=said[name], cost=price.value, **ratio))
    return decide(said[champion], offered, margin=rules.margin, confidence=rules.confidence, how=resampling(contest))


def kept_of(contest: Contest, entry: Entry) -> Kept:
    """Return an entry as a model of the run."""
    graph = entry.graph(entry.own).relative_to(contest.folder).as_posix()
    if entry.name == RECIPE:
        return recipe_network(contest.folder, graph)
    arrays = entry.own.arrays.relative_to(contest.folder).as_posix()
    network = "" if entry.origin is None else entry.origin(entry.own).relative_to(contest.folder).as_posix()
    return Kept(name=entry.name, graph=graph, arrays=arrays, sha256=entry.about()["sha256"], network=network)


def cost_findings(names: Sequence[str], costs: Mapping[str, Cost], champion: str, command: str) -> list[Finding]:
    """Return what each form costs: its median latency with all else beside it."""
    return [_cost_finding(name, costs[name], champion, costs[champion], command) for name in names]


def _cost_finding(name: str, cost: Cost, champion: str, other: Cost, command: str) -> Finding:
    reference = None if name == champion else Reference(name=Message("{name}", name=champion), value=other.latency.value)
    return Finding(
        key=f"optimization.cost.{name}",
        title=Message("Latency of {name}, one row, median", name=name),
        value=cost.latency.value,
        interval=cost.latency.interval,
        unit="s",
        n=cost.rounds,
        n_of="rounds",
        reference=reference,
        reason=Message(
            "{times} of the time of {champion} ({low} to {high}); 99 % within {p99} ms; 32 rows {many} ms, 99 % within {p99_many} ms; "
            "{speed} rows/s; {size} KB, memory {memory} MB, loaded in {load} ms",
            times=round(cost.latency.ratio, 3), champion=champion, low=round(cost.latency.ratio_interval[0], 3),
            high=round(cost.latency.ratio_interval[1], 3), p99=_ms(cost.p99.value), many=_ms(cost.latency_32.value),
            p99_many=_ms(cost.p99_32.value), speed=round(cost.speed.value), size=round(cost.size_bytes / 1e3, 1),
            memory=round(cost.memory_bytes / 1e6, 1), load=_ms(cost.load.value),
        ),
        method=Message(
            "encoded rows to answers, {threads} thread, {calls} calls in {rounds} rounds; all graphs take turns, loaded anew in each",
            threads=cost.threads, calls=cost.calls, rounds=cost.rounds,
        ),
        source="order statistics",
        evidence=(EVIDENCE,),
        command=f"{command} --only cost.{name}",
    )  # fmt: skip


def _ms(seconds: float) -> float:
    return float(f"{1e3 * seconds:.3g}")


def frontier_json(
    contest: Contest, champion: str, choice: Choice, entries: Mapping[str, Entry], said: Mapping[str, Predictions],
    costs: Mapping[str, Cost], ladder: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Return quality with interval and cost of all that stands, who is the most capable and what was chosen."""
    from weighbridge.evaluation.metrics import HEADLINES
    from weighbridge.evaluation.results import headline_of

    how = resampling(contest)
    headline = HEADLINES[said[champion].kind]
    decisions = {one.name: one.decision for one in choice.options}
    models = []
    for name, one in said.items():
        if name not in costs:
            continue
        result = headline_of(one, how)
        low, high = result.interval or (None, None)
        price = costs[name]
        about = entries[name].about()
        models.append(
            {
                "name": name, "role": _role(name, champion, entries[name]), "decision": decisions.get(name, ""), "value": result.value,
                "low": low, "high": high, "parameters": about["parameters"], "trained_s": about["trained_s"],
                "costs": {
                    "latency": price.latency.value, "latency_32": price.latency_32.value, "size": price.size_bytes,
                    "memory": price.memory_bytes, "speed": price.speed.value,
                },
                "p99": price.p99.value, "p99_32": price.p99_32.value, "ratio": price.latency.ratio,
                "ratio_interval": list(price.latency.ratio_interval),
            }
        )  # fmt: skip
    by_name = {one["name"]: one for one in models}
    return {
        "metric": headline.name, "sign": headline.sign, "cost": contest.recipe.optimization.choice.cost, "margin": choice.margin,
        "champion": champion, "chosen": choice.chosen, "rows": len(said[champion]), "models": models,
        "ladder": [by_name[name] for name in ladder if name in by_name],
    }  # fmt: skip


def _role(name: str, champion: str, entry: Entry) -> str:
    if name == champion:
        return "champion"
    if name.startswith(f"{champion}+"):
        return "form"
    return entry.role if entry.role in ("baseline", "ensemble") else "rival"
