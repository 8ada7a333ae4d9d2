"""Forms of a model: chains of steps that may make it lighter, each a graph that runs without torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.errors import FormError
from weighbridge.optimization.contest import build_graph, graph_about
from weighbridge.optimization.ladder import Entry, export_network
from weighbridge.optimization.networks import Made, hash_of, step_name, stepped
from weighbridge.recipe import Step, parse_form
from weighbridge.recipe.optimization import GRAPH_STEPS, IN_TORCH, NETWORK_STEPS
from weighbridge.storage import move, sha256_json

if TYPE_CHECKING:
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.ground import Ground
    from weighbridge.recipe import CompressionOptions

AUTO = ("half", "int8_dynamic", "int8_static")
MOST_BY_COMPANY = 0.02  # of a probability, or in deviations of a number: int8_dynamic scales each batch by what is in it
THOROUGH = (*AUTO, "structured:0.5", "structured:0.5+int8_static", "student", "student+int8_static", "magnitude:0.8+half")


def wanted_forms(options: CompressionOptions) -> list[tuple[Step, ...]]:
    """Return the chains that the recipe asks for, those that are only measured in torch left out."""
    texts: Sequence[str] = {"auto": AUTO, "thorough": THOROUGH}[options.forms] if isinstance(options.forms, str) else options.forms
    return [steps for steps in map(parse_form, texts) if steps[0].kind != IN_TORCH]


def in_torch(options: CompressionOptions) -> bool:
    """Whether the recipe asks for the comparison with integer weights in torch."""
    return not isinstance(options.forms, str) and IN_TORCH in options.forms


def form_entry(contest: Contest, base: Entry, steps: Sequence[Step]) -> Entry:
    """Return a form of an entry; what it needs is made when its graph is first asked for.

    Its graph raises RecipeError, TrainingError, FormError where a step can not be done.
    """
    name = "+".join([base.name, *map(step_name, steps)])
    in_network = [step for step in steps if step.kind in NETWORK_STEPS]
    in_graph = [step for step in steps if step.kind in GRAPH_STEPS]

    def make(ground: Ground, path: Path) -> dict[str, Any]:
        source, about = _begun(contest, base, in_network, ground, path)
        for number, step in enumerate(in_graph, 1):
            target = path if number == len(in_graph) else path.with_name(f"step-{number}.onnx")
            _apply(contest, step, source, target, ground)
            source = target
        if source != path:
            move(source, path)
        for between in path.parent.glob("step-*.onnx"):
            between.unlink()
        return about

    def network(ground: Ground) -> Path:
        return stepped(contest, _made(base, ground), in_network)

    def source(ground: Ground) -> str:
        begun = hash_of(network(ground)) if in_network else graph_about(base.graph(ground))["sha256"]
        return sha256_json([begun, [step_name(step) for step in steps], contest.recipe.optimization.compression.calibration_rows])

    return Entry(
        name=name, role="network", variant=base.variant, grounds=base.grounds, network=network if in_network else None, begun=base.origin,
        graph=lambda ground: build_graph(contest, name, ground, source(ground), partial(make, ground)),
    )  # fmt: skip


def _begun(contest: Contest, base: Entry, steps: Sequence[Step], ground: Ground, path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the graph that the graph steps begin with, written to `path` where networks were trained for it, and what is known of it."""
    if not steps:
        graph = base.graph(ground)
        known = graph_about(graph)
        return graph, {name: known[name] for name in ("parameters", "trained_s")}
    folder = stepped(contest, _made(base, ground), steps)
    plain = path.with_name("step-0.onnx")
    about = export_network(folder, ground, plain)
    if any(step.kind == "magnitude" for step in steps):
        from weighbridge.export.sparse import sparse

        dense, plain = plain, path.with_name("step-00.onnx")
        sparse(dense, plain)
    about["trained_s"] += graph_about(base.graph(ground))["trained_s"]
    return plain, about


def _made(base: Entry, ground: Ground) -> Made:
    folder = base.network(ground) if base.network is not None else None
    return Made(name=base.name, variant=base.variant, ground=ground, folder=folder, of=base.name, teacher=base.teacher)


def _apply(contest: Contest, step: Step, source: Path, target: Path, ground: Ground) -> None:
    """`target` is the graph after the step. Raises FormError."""
    from weighbridge.export.dynamic import int8_dynamic, int8_weights
    from weighbridge.export.half import half
    from weighbridge.export.int4 import int4
    from weighbridge.export.static import int8_static

    if step.kind == "int8_static":
        int8_static(source, target, contest.some_rows(ground))
        return
    {"int8_weights": int8_weights, "int8_dynamic": int8_dynamic, "int4": int4, "half": half}[step.kind](source, target)
    if step.kind == "int8_dynamic":
        _refuse_company(target, contest, ground)


def _refuse_company(graph: Path, contest: Contest, ground: Ground) -> None:
    """Raise FormError where a row is answered otherwise alone than among others: what is judged in batches would not be what is served."""
    from weighbridge.export.company import apart_alone
    from weighbridge.runtime.session import Session

    rows, scale = contest.some_rows(ground), ground.encoder.learnt.std
    largest = float(apart_alone(Session.open(graph), rows, scale=scale).max())
    if largest > MOST_BY_COMPANY:
        raise FormError(
            f"an answer moves by up to {largest:.3f} with the rows that are asked with it; at most {MOST_BY_COMPANY} is let pass",
            do="take int8_static, whose ranges are fixed",
        )
