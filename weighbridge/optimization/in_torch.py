"""Integer weights on the torch side beside the network they were made of: a comparison, since what needs torch is no package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.errors import DependencyError, FormError, RecipeError
from weighbridge.findings import Finding, Message, Reference
from weighbridge.optimization.rating import resampling

if TYPE_CHECKING:
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.ladder import Entry

KEY, TITLE = "optimization.int8_torch", Message("Integer weights in torch (torchao) against the network itself")


def torch_findings(contest: Contest, champion: Entry, command: str) -> list[Finding]:
    """Return how much better the most capable network is with integer weights in torch, and how fast; unmeasured where it is no network."""
    try:
        return [_measured(contest, champion, command)]
    except (FormError, DependencyError, RecipeError) as error:
        why = Message("{why}", why=str(error))
        return [Finding(key=KEY, title=TITLE, verdict="unmeasured", reason=why, command=f"{command} --only int8_torch")]


def _measured(contest: Contest, champion: Entry, command: str) -> Finding:
    from weighbridge import evaluation, training
    from weighbridge.evaluation.comparison import compare
    from weighbridge.evaluation.metrics import HEADLINES
    from weighbridge.evaluation.wording import WORDS
    from weighbridge.optimization.torchao import int8_in_torch, measure_in_torch

    if champion.network is None:
        raise RecipeError(f"{champion.name} is no single network", do="int8_torch compares networks only")
    ground = champion.own
    network = training.Deployable(training.load_network(champion.network(ground)), ground.encoder.learnt)
    found = measure_in_torch({"float32": network, "int8": int8_in_torch(network)}, ground.validation)
    said = {
        name: evaluation.predictions_of(one.answers, ground.validation, ground.encoder, model=name, split="validation", groups=ground.group)
        for name, one in found.items()
    }
    apart = compare(said["int8"], said["float32"], resampling(contest))
    headline = HEADLINES[said["int8"].kind]
    own, other = found["int8"].latency, found["float32"].latency
    return Finding(
        key=KEY,
        title=TITLE,
        value=apart.difference,
        interval=apart.interval,
        unit=WORDS[headline.name].unit,
        n=apart.n,
        reference=Reference(
            name=Message("{name}", name=champion.name),
            difference=apart.difference,
            difference_interval=apart.interval,
            p_value=apart.p_value,
        ),
        reason=Message(
            "one row in torch {ours} ms for {theirs} ms, {times} of the time ({low} to {high}); it needs torch, so it can not be packaged",
            ours=float(f"{1e3 * own.value:.3g}"), theirs=float(f"{1e3 * other.value:.3g}"), times=round(own.ratio, 2),
            low=round(own.ratio_interval[0], 2), high=round(own.ratio_interval[1], 2),
        ),
        method=Message("linear layers in int8, inputs scaled at each call; not compiled; one thread, in turns"),
        source="torchao",
        command=f"{command} --only int8_torch",
    )  # fmt: skip
