"""What a private training promises, as a finding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from weighbridge.findings import Finding, Message
from weighbridge.training.private import Private

if TYPE_CHECKING:
    from weighbridge.findings import Verdict
    from weighbridge.training.checkpoint import Trained
    from weighbridge.training.stage import Course

STRONG, WEAK = 1.0, 10.0  # up to the first a strong promise, beyond the second hardly one (Ponomareva 2023)
SPENT = (
    "delta {delta}; {steps} steps, each of {rows} rows in each with chance {rate}, cut to norm {clip}, noise of {noise} times that. "
    "The promise is of the weights of this training: it does not cover what preprocessing reads of the rows (means, vocabularies), early "
    "stopping and choices by validation rows, other trainings of a search, nor figures of training rows in the report; "
)
KNOWN = Message(
    SPENT + "and it holds against who does not know the seed: for a model that is given away draw the noise from training.privacy.secret"
)
SECRET = Message(SPENT + "the noise is drawn from a secret that is not stored")


def private_findings(course: Course, trained: Trained, command: str) -> list[Finding]:
    """Return the epsilon that was spent; nothing where the recipe asks for no promise."""
    found = [one for one in trained.companions if isinstance(one, Private)]
    return [_spent(one, secret=course.section.privacy.secret is not None, command=f"{command} --only privacy") for one in found]


def _spent(private: Private, *, secret: bool, command: str) -> Finding:
    epsilon = math.ceil(private.spent() * 1000) / 1000  # a bound: never rounded down
    words = SECRET if secret else KNOWN
    verdict: Verdict = "advantage" if epsilon <= STRONG else "limitation" if epsilon > WEAK else "neutral"
    return Finding(
        key="training.privacy",
        title=Message("Epsilon: what the weights tell of any one training row, at most"),
        value=epsilon,
        verdict=verdict,
        n=private.rows,
        reason=Message(
            words.template, delta=f"{private.delta:.3g}", steps=int(private.steps), rows=private.rows, rate=f"{private.rate:.4g}",
            clip=f"{private.clip:g}", noise=f"{private.noise:.4g}",
        ),
        method=Message("an upper bound: Renyi divergences of the sampled Gaussian mechanism, added up over all steps (Opacus)"),
        source="Abadi 2016; Mironov 2017",
        evidence=("training/plan.json",),
        command=command,
    )  # fmt: skip
