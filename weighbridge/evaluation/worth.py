"""What each kind of input is worth: the model's score minus its score when that input is hidden in every row."""

from __future__ import annotations

from collections.abc import Sequence

from weighbridge.evaluation.comparison import compare, holm
from weighbridge.evaluation.contrasts import TESTS
from weighbridge.evaluation.metrics import HEADLINES
from weighbridge.evaluation.predictions import Predictions
from weighbridge.evaluation.resampling import Resampling
from weighbridge.evaluation.verdicts import SIGNIFICANCE, p_words
from weighbridge.evaluation.wording import WORDS
from weighbridge.findings import Finding, Message, Reference, Verdict

HIDDEN = "hidden-"  # begins the model name of predictions with an input hidden: `hidden-text.review`


def worth(model: Predictions, hidden: Sequence[Predictions], how: Resampling, command: str) -> list[Finding]:
    """Return a finding `evaluation.worth.<input>` for each variant, on the same rows, corrected by Holm.

    The model was not trained without the input: a model that was might make up for a part of it, so this is what the model as it
    stands would lose, not what the column could give.
    """
    pairs = [compare(model, variant, how) for variant in hidden]
    corrected = holm([pair.p_value for pair in pairs])
    found = []
    for variant, pair, p_value in zip(hidden, pairs, corrected, strict=True):
        name = variant.model.removeprefix(HIDDEN)
        verdict, reason = _judged(pair.difference, p_value)
        method, source = TESTS[pair.test]
        headline = HEADLINES[model.kind]
        reference = Reference(
            name=Message("the same model without it"), value=headline.value(variant), difference=pair.difference,
            difference_interval=pair.interval, p_value=p_value,
        )  # fmt: skip
        found.append(
            Finding(
                key=f"evaluation.worth.{name}", title=_title(name), verdict=verdict, value=pair.difference, interval=pair.interval,
                unit=WORDS[headline.name].unit, n=pair.n, reference=reference, reason=reason, method=method, source=source,
                evidence=(f"evaluation/{variant.model}.parquet",), command=f"{command} --only worth.{name}",
            )
        )  # fmt: skip
    return found


def _title(name: str) -> Message:
    kind, _, column = name.partition(".")
    if kind == "table":
        return Message("What numbers and categories are worth to the model")
    return Message("What column {column} is worth to the model", column=column)


def _judged(difference: float, p_value: float) -> tuple[Verdict, Message]:
    if p_value >= SIGNIFICANCE:
        return "neutral", Message("hidden, it changes nothing that these rows can show (corrected p {p})", p=p_words(p_value))
    if difference > 0:
        return "advantage", Message("without it the model is worse by the paired test (corrected p {p})", p=p_words(p_value))
    return "limitation", Message("without it the model is better by the paired test (corrected p {p}): it misleads", p=p_words(p_value))
