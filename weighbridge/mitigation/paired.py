"""What a remedy changed in a figure that is a mean over rows, by the same rows before and after: two separate intervals can not see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weighbridge.errors import DataError

if TYPE_CHECKING:
    from weighbridge.evaluation import Predictions
    from weighbridge.evaluation.intervals import Interval
    from weighbridge.evaluation.predictions import Floats
    from weighbridge.evaluation.resampling import Resampling

Change = tuple[float, "Interval"]


def changes_of(before: Predictions, now: Predictions, how: Resampling) -> dict[str, Change]:
    """Return what was added to log loss and Brier score, with the paired BCa interval, by the keys of their findings.

    Nothing for numbers, for chosen classes without probabilities, or where the rows are not the same.
    """
    from weighbridge.evaluation.intervals import bca
    from weighbridge.evaluation.metrics import brier_scores, mean_of
    from weighbridge.evaluation.recalibration import losses
    from weighbridge.evaluation.resampling import Sampler, Statistic, replicate
    from weighbridge.evaluation.results import LEAST_UNITS

    if now.kind == "number" or now.hard or before.hard or len(now) != len(before):
        return {}
    try:
        now = now.on_rows_of(before)
    except DataError:
        return {}
    added: dict[str, Floats] = {"evaluation.log_loss": losses(now) - losses(before)}
    if now.kind == "category":
        added["evaluation.brier"] = brier_scores(now) - brier_scores(before)
    sampler = Sampler(n=len(before), resamples=how.resamples, seed=how.seed, group=before.group)
    drawn = replicate([Statistic(names=(key,), of=mean_of(values[:, None])) for key, values in added.items()], sampler)
    return {key: (one.value, bca(one, how.level)) for key, one in drawn.items() if one.units >= LEAST_UNITS}
