"""What stands how high: each contender's score on the judging rows, who is the most capable, and whether an ensemble is worth its price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weighbridge.errors import WeighbridgeError
from weighbridge.findings import Finding, Message, Reference

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.comparison import Comparison
    from weighbridge.evaluation.resampling import Resampling
    from weighbridge.optimization.contest import Contest
    from weighbridge.optimization.cost import Cost

SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Tested:
    """An ensemble against the best single model, on rows that did not choose its members; p corrected over the ensembles tried."""

    name: str
    comparison: Comparison
    corrected: float

    @property
    def kept(self) -> bool:
        """Whether it is measurably better: by the test, and with 0 outside the interval."""
        return self.corrected < SIGNIFICANCE and self.comparison.difference > 0 and self.comparison.interval[0] > 0


def resampling(contest: Contest) -> Resampling:
    """Return how the intervals of the stage are made."""
    from weighbridge import evaluation

    return evaluation.resampling_of(contest.recipe.evaluation.resamples, contest.recipe.seed)


def not_made(name: str, error: WeighbridgeError, command: str) -> Finding:
    """Return the finding that says why a contender or form does not stand."""
    return Finding(
        key=f"optimization.made.{name}",
        title=Message("Form that could not be made: {name}", name=name),
        verdict="unmeasured",
        reason=Message("{why}", why=str(error)),
        command=command,
    )


def tests_of(ensembles: Sequence[tuple[Predictions, Predictions]], how: Resampling) -> list[Tested]:
    """Return the paired test of each (ensemble, best single model) pair, corrected by Holm over all of them."""
    from weighbridge.evaluation.comparison import compare, holm

    found = [compare(ours, best, how) for ours, best in ensembles]
    corrected = holm([one.p_value for one in found])
    return [Tested(name=ours.model, comparison=one, corrected=p) for (ours, _), one, p in zip(ensembles, found, corrected, strict=True)]


def ensemble_finding(tested: Tested, best: str, costs: Mapping[str, Cost], unit: str, command: str) -> Finding:
    """Return what an ensemble gains over the best single model and what it costs beside it."""
    own, single = costs[tested.name], costs[best]
    price = {"times": round(own.latency.value / single.latency.value, 2), "size": round(own.size_bytes / single.size_bytes, 2)}
    reason = Message("not measurably better than {best}, so it is not kept; it takes {times} times as long, and {size} times the bytes")
    if tested.kept:
        reason = Message("measurably better than {best}; it takes {times} times as long, and {size} times the bytes")
    reason = Message(reason.template, best=best, **price)
    one = tested.comparison
    return Finding(
        key=f"optimization.ensemble.{tested.name}",
        title=Message("Ensemble {name} against the best single model", name=tested.name),
        verdict="advantage" if tested.kept else "neutral",
        value=one.difference,
        interval=one.interval,
        unit=unit,
        n=one.n,
        reference=Reference(
            name=Message("{name}", name=best), difference=one.difference, difference_interval=one.interval, p_value=tested.corrected
        ),
        reason=reason,
        method=Message("members chosen on one half of the judging rows, judged on the other; paired test, corrected by Holm"),
        source="Caruana 2004; Wortsman 2022; Dietterich 1998; Holm 1979",
        evidence=("optimization/frontier.json",),
        command=f"{command} --only ensemble.{tested.name}",
    )


def ladder_findings(
    names: Sequence[str], said: Mapping[str, Predictions], about: Mapping[str, Mapping[str, Any]], costs: Mapping[str, Cost],
    best: str, how: Resampling, command: str,
) -> list[Finding]:  # fmt: skip
    """Return the score of each contender on the judging rows beside the best one's, with what it took and takes."""
    return [_rung(name, said, about[name], costs.get(name), best, how, command) for name in names]


def _rung(
    name: str, said: Mapping[str, Predictions], about: Mapping[str, Any], cost: Cost | None, best: str, how: Resampling, command: str
) -> Finding:
    from weighbridge.evaluation.comparison import compare
    from weighbridge.evaluation.metrics import HEADLINES
    from weighbridge.evaluation.results import headline_of
    from weighbridge.evaluation.wording import WORDS

    result, headline = headline_of(said[name], how), HEADLINES[said[name].kind]
    reference = None
    if name != best:
        apart = compare(said[name], said[best], how)
        value = headline.value(said[best])
        reference = Reference(
            name=Message("{name}", name=best), value=value, difference=apart.difference, difference_interval=apart.interval,
            p_value=apart.p_value,
        )  # fmt: skip
    size, latency = (round(cost.size_bytes / 1e3, 1), float(f"{1e3 * cost.latency.value:.3g}")) if cost else (0.0, 0.0)
    return Finding(
        key=f"optimization.ladder.{name}",
        title=Message("Contender {name}, on the judging rows", name=name),
        value=result.value,
        interval=result.interval,
        unit=WORDS[headline.name].unit,
        n=result.n,
        reference=reference,
        reason=Message(
            "{parameters} parameters, {seconds} s to train, {size} KB, one row in {latency} ms",
            parameters=int(about["parameters"]), seconds=round(float(about["trained_s"]), 1), size=size, latency=latency,
        ),
        method=result.method,
        evidence=("optimization/frontier.json",),
        command=f"{command} --only ladder.{name}",
    )  # fmt: skip
