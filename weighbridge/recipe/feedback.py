"""The section `feedback`: what may happen by itself to a model in service, and what waits for a person."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from weighbridge.recipe.section import Key, Section

May = Literal["auto", "ask", "never"]


class PolicyOptions(Section):
    quarantine: May = Key(
        "auto",
        "leave labels unused of a key that disagrees with others more than honest keys do: they are kept, and count again when somebody lets them in",
    )
    recalibrate: May = Key(
        "ask",
        "fit the probabilities to recent labels: no choice changes, but every stated probability does",
    )
    retrain: May = Key("auto", "train a challenger on old and new rows; it costs time and changes no answer")
    promote: May = Key(
        "ask",
        "let a challenger that passed the gate answer: asked once, before it answers the first request, since labels are only as good as who gives them and nobody has seen this model yet",
    )
    rollback: May = Key(
        "auto",
        "withdraw a challenger, or go back to the model before, where quality, errors or time are measurably worse: what comes back was accepted before",
    )


class RetrainOptions(Section):
    every_h: float = Key(24.0, "hours from the beginning of one retraining to that of the next, at least", ge=0)
    least_labels: int = Key(200, "labelled rows since the last training, at least", ge=1)
    starts: list[Literal["warm", "scratch"]] = Key(
        ["warm", "scratch"],
        "where training begins: at the champion's weights, at new ones; of both, the one that is better on validation rows",
        min_length=1,
    )


class GateOptions(Section):
    rule: Literal["better", "not_worse"] = Key("better", "what a challenger must be on recent labelled rows that it did not learn from")
    margin: float = Key(
        0.02,
        "largest loss on the old test rows, and under not_worse on recent rows: in points of a share, or as a share of the error",
        gt=0,
        lt=1,
    )
    level: float = Key(
        0.05, "chance that a model that is only equal is promoted, of one retraining; corrected for both questions by Holm", gt=0, lt=0.5
    )
    least_recent: int = Key(40, "recent labelled rows that it did not learn from, at least", ge=8)


class CanaryOptions(Section):
    share: float = Key(0.1, "share of the requests that a challenger answers first", gt=0, lt=1)
    least_labels: int = Key(100, "labelled answers of the challenger before it may take over, at least", ge=1)
    level: float = Key(0.05, "chance that a challenger that is not worse is ever withdrawn", gt=0, lt=0.5)


class SelectOptions(Section):
    random: float = Key(0.2, "share of the rows asked about that is drawn at random, so that estimates stay free of bias", gt=0, le=1)
    rows: int = Key(100, "rows in the queue for labels", ge=1)


class FeedbackSection(Section):
    policy: PolicyOptions = Key(PolicyOptions(), "auto: done by itself; ask: a person is asked; never")
    retrain: RetrainOptions = Key(RetrainOptions(), "when a challenger is trained, and from where")
    gate: GateOptions = Key(GateOptions(), "what a challenger must show before it answers anything")
    canary: CanaryOptions = Key(CanaryOptions(), "how a challenger is tried on a share of the requests")
    select: SelectOptions = Key(SelectOptions(), "which rows a label is asked for")

    @model_validator(mode="after")
    def _can_begin(self) -> Self:
        if len(set(self.retrain.starts)) != len(self.retrain.starts):
            raise ValueError("feedback.retrain.starts names a start twice")
        return self
