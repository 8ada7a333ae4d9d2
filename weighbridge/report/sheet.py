"""The balance sheet: findings weighed against each other, in the order in which a reader needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from weighbridge.findings import Finding
from weighbridge.report.evidence import STAGES, Run
from weighbridge.report.verdict import AGAINST, verdict, warning
from weighbridge.report.words import Language

# What a model costs, in the order of the price table; a key stands for itself and for all keys below it (deployment.latency.p99).
PRICE_KEYS = (
    "training.parameters",
    "deployment.parameters",
    "deployment.size",
    "deployment.latency",
    "deployment.speed",
    "deployment.first_answer",
    "deployment.load",
    "deployment.memory",
    "deployment.energy",
    "training.seconds",
    "training.speed",
    "training.memory",
    "training.energy",
    "training.cost",
    "audit.cost",
)
MENDED = "mitigation."
WEIGHT = ("evaluation", "audit", "optimization", "deployment", "feedback", "training", "preprocessing", "data")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A run's findings, each in one place, save that a price which is an advantage or a limitation also stands in its column."""

    verdict: tuple[str, ...]
    warning: str
    advantages: tuple[Finding, ...]
    limitations: tuple[Finding, ...]
    price: tuple[Finding, ...]
    mended: tuple[Finding, ...]
    unmeasured: tuple[Finding, ...]
    neutral: Mapping[str, tuple[Finding, ...]]

    @property
    def n_neutral(self) -> int:
        return sum(len(findings) for findings in self.neutral.values())


def balance(run: Run, language: Language) -> Sheet:
    """Return the balance sheet of a run; every finding of the run is somewhere on it."""
    findings = list(run.findings)
    mended = [finding for finding in findings if finding.key.startswith(MENDED) and finding.verdict != "unmeasured"]
    rest = [finding for finding in findings if not finding.key.startswith(MENDED)]
    price = [finding for finding in rest if is_price(finding.key) and finding.verdict != "unmeasured"]
    neutral = [finding for finding in rest if finding.verdict == "neutral" and not is_price(finding.key)]
    advantages, limitations = _weighed(rest, "advantage"), _weighed(rest, "limitation")
    return Sheet(
        verdict=verdict(findings, language),
        warning=warning([*advantages, *limitations, *(f for f in findings if f.verdict == "unmeasured")], language),
        advantages=advantages,
        limitations=limitations,
        price=tuple(sorted(price, key=lambda finding: _price_rank(finding.key))),
        mended=tuple(mended),
        unmeasured=tuple(finding for finding in findings if finding.verdict == "unmeasured"),
        neutral=by_stage(neutral),
    )


def is_price(key: str) -> bool:
    """Is the finding one of the price table?"""
    return any(_under(key, prefix) for prefix in PRICE_KEYS)


def by_stage(findings: Iterable[Finding]) -> dict[str, tuple[Finding, ...]]:
    """Return the findings by stage, stages in the order of a run."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.stage, []).append(finding)
    order = [*(stage for stage in STAGES if stage in groups), *sorted(set(groups) - set(STAGES))]
    return {stage: tuple(groups[stage]) for stage in order}


def _weighed(findings: Sequence[Finding], side: str) -> tuple[Finding, ...]:
    """Return one column: headlines first, then comparisons with baselines, then by how much a stage weighs for a user."""
    return tuple(sorted((finding for finding in findings if finding.verdict == side), key=_weight))


def _weight(finding: Finding) -> tuple[bool, bool, int]:
    stage = WEIGHT.index(finding.stage) if finding.stage in WEIGHT else len(WEIGHT)
    return (not finding.headline, not finding.key.startswith(AGAINST), stage)


def _price_rank(key: str) -> int:
    return next(index for index, prefix in enumerate(PRICE_KEYS) if _under(key, prefix))


def _under(key: str, prefix: str) -> bool:
    return key == prefix or key.startswith((f"{prefix}.", f"{prefix}_"))
