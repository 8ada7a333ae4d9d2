"""The contract of a recalibrated model: what a temperature changes is renewed, what it leaves (choices, class mix, inputs, price) stays.

The spread of the answers is that of the rows that the contract before was made of, with the temperature on them: so an alarm goes on to
mean "moved away from what evaluation saw". Where those rows are not there any more (a package without its run), it is that of the answers
that the model gave in service. Whatever needs labels (reliability curve, conformal limit, log loss, Brier score, calibration errors) comes
from the labels of service, each row through a temperature that was fitted without it: the labels that showed the old figures to be wrong
are the only ones that can tell the new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weighbridge.deployment.contract import reliability_curve
from weighbridge.evaluation.adjustment import Adjustment, Temperature
from weighbridge.evaluation.predictions import Floats, Kind, Predictions
from weighbridge.evaluation.promises import conformal_limit
from weighbridge.evaluation.results import results_of
from weighbridge.evaluation.selective import sureness_of
from weighbridge.evaluation.wording import FROM_PROBABILITIES
from weighbridge.runtime.contract import Conformal, Contract, Embedding, Histogram, Measured
from weighbridge.runtime.histograms import histogram
from weighbridge.storage import sha256_file

MOST_ANSWERS = 20_000  # the newest of them
TEST_ROWS, ANSWERS = "test rows of the run", "answers in service"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a recalibration knows.

    Attributes:
        heat: the temperature, fitted on all labelled rows. before: those that are in the champion's graph already, the oldest first.
        unseen: the labelled rows, each through a temperature that was fitted without it.
        answers: float64 [n, C], what the champion answered in service lately.
        run: the folder of its run; None where it is not known.
    """

    heat: Temperature
    before: Sequence[Temperature]
    unseen: Predictions
    answers: Floats
    run: Path | None


def renewed(old: Contract, graph: Path, evidence: Evidence) -> tuple[Contract, dict[str, Any]]:
    """Return the contract of the recalibrated model, the graph of which is given, and where its figures come from."""
    unseen = evidence.unseen
    output, source, rows = _output(old, evidence)
    fitted = None if old.conformal is None else conformal_limit(unseen)
    contract = replace(
        old,
        model_sha256=sha256_file(graph),
        embedding=_embedding(old, graph),
        metrics={**old.metrics, **_metrics(old, unseen)},
        calibration=reliability_curve(unseen) if old.calibration else (),
        output=output,
        conformal=None if fitted is None else Conformal(level=fitted[0], limit=fitted[1], rows=len(unseen)),
    )
    return contract, {"answers": source, "answers_n": rows, "probabilities": "labels in service", "probabilities_n": len(unseen)}


def _embedding(old: Contract, graph: Path) -> Embedding | None:
    """A temperature stands behind the last layer, so the embedding is the same; values of the graph have other names."""
    from weighbridge.export.hidden import last_hidden
    from weighbridge.export.rewrite import read_graph

    if old.embedding is None:
        return None
    tensor = last_hidden(read_graph(graph))
    return None if tensor is None else replace(old.embedding, tensor=tensor)


def _output(old: Contract, evidence: Evidence) -> tuple[Histogram, str, int]:
    """Return the spread of the answers, what it was counted on, and on how many rows of that."""
    found = None if evidence.run is None else _evaluated(evidence.run)
    if found is not None and _spread(*found, evidence.before) == old.output:  # they are the rows of that contract
        return _spread(*found, [*evidence.before, evidence.heat]), TEST_ROWS, len(found[0])
    stated = _stated(evidence.unseen.kind, evidence.answers, [evidence.heat])
    return histogram(stated[::2], stated[1::2]), ANSWERS, len(stated[1::2])


def _evaluated(run: Path) -> tuple[Predictions, Predictions] | None:
    """Return the predictions of test and validation rows that the run keeps."""
    from weighbridge import evaluation

    test, validation = (run / "evaluation" / f"{split}.parquet" for split in ("test", "validation"))
    return (evaluation.read_predictions(test), evaluation.read_predictions(validation)) if test.exists() and validation.exists() else None


def _spread(test: Predictions, validation: Predictions, heats: Sequence[Temperature]) -> Histogram:
    laid, counted = (_stated(one.kind, one.output, heats) for one in (validation, test))
    return histogram(laid, counted)


def _stated(kind: Kind, output: Floats, heats: Sequence[Temperature]) -> Floats:
    """Return how sure the model is of each answer under these temperatures."""
    return sureness_of(kind, Adjustment(kind="set" if kind == "set" else "category", steps=tuple(heats)).applied(output))


def _metrics(old: Contract, unseen: Predictions) -> dict[str, Measured]:
    from weighbridge import evaluation

    found = results_of(unseen, evaluation.resampling_of(1000, 0), wanted=lambda name: name in FROM_PROBABILITIES and name in old.metrics)
    return {name: Measured(value=one.value, interval=one.interval, n=one.n) for name, one in found.items()}
