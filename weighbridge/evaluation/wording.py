"""What each metric is called, what it measures, and where its definition stands."""

from __future__ import annotations

from dataclasses import dataclass

from weighbridge.findings import Message


@dataclass(frozen=True)
class Words:
    title: Message
    source: str = ""
    unit: str = "share"


WORDS: dict[str, Words] = {
    "accuracy": Words(Message("Accuracy on unseen rows"), "Lancaster 1961; Clopper and Pearson 1934"),
    "balanced_accuracy": Words(Message("Balanced accuracy: mean recall of the classes"), "Brodersen 2010; Korn and Graubard 1998"),
    "precision": Words(Message("Precision, mean of the classes"), "Korn and Graubard 1998"),
    "recall": Words(Message("Recall, mean of the classes"), "Korn and Graubard 1998"),
    "f1": Words(Message("F1, mean of the classes"), "Opitz and Burst 2019; Korn and Graubard 1998"),
    "auroc": Words(Message("Area under the ROC curve"), "Hanley and McNeil 1982; Efron 1987; DeLong 1988; Newcombe 2006"),
    "auprc": Words(Message("Average precision (area under the precision-recall curve)"), "Davis and Goadrich 2006; Efron 1987"),
    "log_loss": Words(Message("Log loss"), "Gneiting and Raftery 2007; Efron 1987", ""),
    "brier": Words(Message("Brier score"), "Brier 1950; Efron 1987", ""),
    "calibration_error": Words(Message("Calibration error of the stated probability"), "Kumar 2019; Roelofs 2022; Satterthwaite 1946"),
    "calibration_error_classwise": Words(Message("Calibration error over all classes"), "Kumar 2019; Kull 2019; Satterthwaite 1946"),
    "mae": Words(Message("Mean absolute error"), "Efron 1987", ""),
    "rmse": Words(Message("Root mean squared error on unseen rows"), "Efron 1979; Hall 1988", ""),
    "r2": Words(Message("Share of the variance explained (R2)"), "Efron 1987", ""),
    "f1_micro": Words(Message("F1 over all labels together"), "Korn and Graubard 1998"),
    "f1_macro": Words(Message("F1, mean of the labels"), "Korn and Graubard 1998"),
    "subset_accuracy": Words(Message("Rows whose whole set is right"), "Lancaster 1961; Clopper and Pearson 1934"),
}
METRICS_OF = {
    "category": (
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
        "auroc",
        "auprc",
        "log_loss",
        "brier",
        "calibration_error",
        "calibration_error_classwise",
    ),
    "number": ("rmse", "mae", "r2"),
    "set": ("f1_micro", "f1_macro", "subset_accuracy", "auroc", "auprc", "log_loss"),
}
FROM_PROBABILITIES = ("auroc", "auprc", "log_loss", "brier", "calibration_error", "calibration_error_classwise")

MID_P = Message("mid-P interval of a rate")
EXACT = Message("Clopper and Pearson's exact interval of a rate")


def bootstrap_method(resamples: int, *, grouped: bool) -> Message:
    if grouped:
        return Message("BCa bootstrap over groups, {resamples} resamples", resamples=resamples)
    return Message("BCa bootstrap over rows, {resamples} resamples", resamples=resamples)


def score_method(resamples: int, *, grouped: bool) -> Message:
    if grouped:
        return Message(
            "Wilson's interval with the effective number of rows by bootstrap over groups, {resamples} resamples", resamples=resamples
        )
    return Message("Wilson's interval with the effective number of rows by bootstrap over rows, {resamples} resamples", resamples=resamples)


def studentized_method(resamples: int, *, grouped: bool) -> Message:
    if grouped:
        return Message("studentised bootstrap of the logarithm over groups, {resamples} resamples", resamples=resamples)
    return Message("studentised bootstrap of the logarithm over rows, {resamples} resamples", resamples=resamples)


def few_errors_method(resamples: int, *, grouped: bool) -> Message:
    """The method's words where the rows are too few, or the largest errors too large, to vouch for the level."""
    if grouped:
        return Message(
            "studentised bootstrap of the logarithm over groups, {resamples} resamples; "
            "a few large errors carry it: should larger ones be yet unseen, it is too short",
            resamples=resamples,
        )
    return Message(
        "studentised bootstrap of the logarithm over rows, {resamples} resamples; "
        "a few large errors carry it: should larger ones be yet unseen, it is too short",
        resamples=resamples,
    )


BINNED = Message("debiased over bins of equal mass; interval by inverting the noncentral chi-square test of the sum of squares")

BASELINE_WORDS = {"trivial": "a constant answer", "linear": "a linear model", "boosting": "gradient boosting"}


def said(name: str) -> str:
    """Return what a sentence calls a model: words for a baseline of the house, else its own name."""
    return BASELINE_WORDS.get(name, name)
