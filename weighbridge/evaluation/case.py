"""What is measured, with what, and where it is written; and how a result becomes a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.results import Result
from weighbridge.evaluation.verdicts import NEUTRAL, Judged
from weighbridge.evaluation.wording import METRICS_OF, WORDS
from weighbridge.findings import Finding, Message, Reference

STAGE = "evaluation"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model's predictions and what they are held against.

    `only` is the one finding asked for, or None for all; `command` measures all of it again; `folder` takes the evidence.
    """

    model: Predictions
    baselines: tuple[Predictions, ...]
    train: Predictions | None
    validation: Predictions | None
    how: Resampling
    folder: Path
    command: str
    only: str | None

    @property
    def headline(self) -> str:
        return HEADLINES[self.model.kind].name

    @property
    def unit(self) -> str:
        """The unit of the headline, and of differences in it."""
        return WORDS[self.headline].unit

    @property
    def keys(self) -> list[str]:
        """What `only` may name."""
        extra = {"category": ["weakest_class"], "number": ["interval_coverage"], "set": []}[self.model.kind]
        against = [f"{kind}.{baseline.model}" for baseline in self.baselines for kind in ("baseline", "against")] or ["against"]
        return [*METRICS_OF[self.model.kind], *extra, *against, "gap"]

    def wants(self, key: str) -> bool:
        return self.only in (None, key)

    def finding(
        self,
        key: str,
        title: Message,
        result: Result,
        judged: Judged = NEUTRAL,
        *,
        files: Sequence[str] = ("metrics.json",),
        unit: str = "share",
        source: str = "",
        reference: Reference | None = None,
    ) -> Finding:
        """Return the finding `evaluation.<key>`; of its evidence files, those that exist are named."""
        return Finding(
            key=f"{STAGE}.{key}",
            title=title,
            verdict=judged[0],
            value=result.value,
            interval=result.interval,
            unit=unit,
            n=result.n,
            reference=reference,
            reason=judged[1],
            method=result.method,
            source=source,
            evidence=tuple(f"{self.folder.name}/{name}" for name in files if (self.folder / name).exists()),
            command=f"{self.command} --only {key}",
            headline=key == self.headline,
        )

    def unmeasured(self, key: str, title: Message, reason: Message) -> Finding:
        """Return the finding that says why there is no number."""
        return Finding(key=f"{STAGE}.{key}", title=title, verdict="unmeasured", reason=reason, command=f"{self.command} --only {key}")
