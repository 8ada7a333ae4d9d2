"""What an attack costs, by epsilon, and whether the gradients that it followed can be trusted, as findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weighbridge.audit.attack_cascade import Hunt
from weighbridge.audit.damage_findings import Words
from weighbridge.audit.damage_losses import Loss, Losses
from weighbridge.evaluation.intervals import rate_interval
from weighbridge.findings import Finding, Message, Reference

SOURCE = "Goodfellow 2015; Madry 2018; Croce and Hein 2020; Andriushchenko 2020; Bonett and Price 2012"
MASKED = 0.02  # share of the rows, beyond doubt, from which what the gradients missed counts as masking: under it, luck of a start
METHOD = Message(
    "FGSM, PGD and APGD by the gradients of the network in fp32, then a random search; every row was put to the form {name} itself"
)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where an attack is made: its epsilons, the one that is judged, and their words."""

    of: str
    epsilons: tuple[float, ...]
    judged: float
    title: Message
    unit: Message

    def named(self, epsilon: float, metric: str) -> Message:
        return Message(self.title.template, epsilon=epsilon, metric=metric)


PICTURES = Ground(
    of="image", epsilons=(1.0, 2.0, 4.0, 8.0), judged=4.0,
    title=Message("Under attack, each pixel moved by up to {epsilon} of 255: {metric}"),
    unit=Message("largest change of a pixel, of 255"),
)  # fmt: skip
NUMBERS = Ground(
    of="table", epsilons=(0.05, 0.1, 0.25, 0.5), judged=0.1,
    title=Message("Under attack, each number moved by up to {epsilon} deviations: {metric}"),
    unit=Message("largest change of a number, in deviations of its column"),
)  # fmt: skip
GROUNDS = {"image": PICTURES, "table": NUMBERS}


def attack_findings(words: Words, ground: Ground, hunt: Hunt, found: Losses, n: int) -> list[Finding]:
    """Return the loss at the epsilon that is judged, then at the others, then the check of the gradients (for classes)."""
    checks = [] if hunt.by_steps is None else [_gradients(words, ground, hunt, n)]
    masked = any(check.verdict == "limitation" for check in checks)
    made: list[Finding] = []
    for epsilon, loss in sorted(zip(ground.epsilons, found.each, strict=True), key=lambda pair: pair[0] != ground.judged):
        verdict, reason = words.judged(loss, loss.interval)
        if masked:
            said = {name: value for name, value in words.said(loss).items() if name != "most"}
            reason = Message("{metric} goes from {clean} to {damaged} or worse: the gradients are masked", **said)
        name = f"attack.{ground.of}" if epsilon == ground.judged else f"attack.{ground.of}.{_plain(epsilon)}"
        made.append(
            Finding(
                key=f"audit.robustness.{name}", title=ground.named(epsilon, words.metric),
                verdict=verdict if epsilon == ground.judged else "neutral", value=loss.damaged, interval=loss.scored, unit=words.unit, n=n,
                reference=_undamaged(words, loss), reason=reason, method=Message(METHOD.template, name=words.subject.kept.name),
                source=SOURCE, evidence=words.evidence, command=f"{words.subject.command} --only robustness",
            )
        )  # fmt: skip
    return made + checks


def _undamaged(words: Words, loss: Loss) -> Reference:
    """Return the same rows as they were, with the paired difference."""
    sign = 1 if words.subject.kind == "number" else -1
    low, high = sorted(sign * end for end in loss.interval)
    return Reference(
        name=Message("the same rows undamaged"), value=loss.clean, difference=sign * loss.value, difference_interval=(low, high)
    )


def _plain(epsilon: float) -> str:
    return f"{epsilon:g}".replace(".", "_")


def _gradients(words: Words, ground: Ground, hunt: Hunt, n: int) -> Finding:
    """Return the share of rows that a blind search broke and the gradients did not, with what the other two checks say."""
    interval = rate_interval(hunt.by_search, n)
    masked = masking(hunt, n)
    said: dict[str, int | str] = {
        "search": hunt.by_search,
        "steps": hunt.by_steps or 0,
        "unbounded": "-" if hunt.unbounded is None else hunt.unbounded,
    }
    if any(masked):
        reason = Message(
            "masked: what is lost to an attack is more than was found; rows broken by a random search alone: {search}, "
            "by twice the steps: {steps}; left whole by an attack without bounds: {unbounded}",
            **said,
        )
    else:
        reason = Message(
            "no sign of masked gradients; rows broken by a random search alone: {search}, by twice the steps: {steps}; "
            "left whole by an attack without bounds: {unbounded}",
            **said,
        )
    return Finding(
        key=f"audit.robustness.gradients.{ground.of}", title=Message("Rows that a random search breaks and the gradients do not"),
        verdict="limitation" if any(masked) else "neutral", value=hunt.by_search / n, interval=interval, unit="share", n=n, reason=reason,
        method=Message("mid-P interval of a rate"), source="Carlini 2019; Zimmermann 2022; Andriushchenko 2020", evidence=words.evidence,
        command=f"{words.subject.command} --only robustness",
    )  # fmt: skip


def masking(hunt: Hunt, n: int) -> list[bool]:
    """Return for each check that was made whether the gradients missed more rows than MASKED, beyond doubt."""
    counts = [hunt.by_search, hunt.by_steps or 0, *([] if hunt.unbounded is None else [hunt.unbounded])]
    return [rate_interval(count, n)[0] > MASKED for count in counts]


def attack_evidence(ground: Ground, hunt: Hunt, found: Losses, n: int) -> dict[str, Any]:
    """Return the curve of one ground: the headline by epsilon with the interval of what was lost, and the rows left after each stage."""
    points: Sequence[dict[str, Any]] = [
        {"epsilon": level.epsilon, "value": loss.damaged, "lost": loss.value, "low": loss.interval[0], "high": loss.interval[1],
         "left": {name: count / n for name, count in level.left.items()}}
        for level, loss in zip(hunt.levels, found.each, strict=True)
    ]  # fmt: skip
    return {
        "of": ground.of, "unit": ground.unit.template, "clean": found.mean.clean, "n": n, "points": list(points),
        "by_search": hunt.by_search, "by_steps": hunt.by_steps, "unbounded": hunt.unbounded,
    }  # fmt: skip


SWAPS = (1, 2, 4, 8)  # tokens of a row
JUDGED_SWAPS = 4


def swap_findings(words: Words, found: Losses, n: int) -> list[Finding]:
    """Return the headline after swaps of tokens; without a verdict, since nothing says whether the truth has changed with the words."""
    made: list[Finding] = []
    form = Message(
        "swaps by the gradients of the network in fp32; every row was put to the form {name} itself", name=words.subject.kept.name
    )
    for swaps, loss in sorted(zip(SWAPS, found.each, strict=True), key=lambda pair: pair[0] != JUDGED_SWAPS):
        said = {name: value for name, value in words.said(loss).items() if name != "most"}
        reason = Message("{metric} goes from {clean} to {damaged}; a swapped word may change the truth too, so this is no verdict", **said)
        made.append(
            Finding(
                key="audit.robustness.attack.text" + ("" if swaps == JUDGED_SWAPS else f".{swaps}"), verdict="neutral", reason=reason,
                title=Message("Under attack, up to {swaps} words or pieces of words swapped: {metric}", swaps=swaps, metric=words.metric),
                value=loss.damaged, interval=loss.scored, unit=words.unit, n=n, reference=_undamaged(words, loss), method=form,
                source="Ebrahimi 2018; Bonett and Price 2012", evidence=words.evidence,
                command=f"{words.subject.command} --only robustness",
            )
        )  # fmt: skip
    return made


def swap_evidence(found: Losses, n: int) -> dict[str, Any]:
    """Return the curve of the headline by the number of swaps."""
    points = [
        {"epsilon": swaps, "value": loss.damaged, "lost": loss.value, "low": loss.interval[0], "high": loss.interval[1], "left": {}}
        for swaps, loss in zip(SWAPS, found.each, strict=True)
    ]
    return {"of": "text", "unit": Message("swapped words or pieces of words").template, "clean": found.mean.clean, "n": n, "points": points}
