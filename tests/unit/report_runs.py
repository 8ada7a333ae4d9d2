# ruff: noqa: E501 - a finding a line reads as the table that it is
"""Run folders as a finished run leaves them, for the tests of the report: digits, Chinese reviews, diabetes, and one that measured nothing."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from weighbridge.findings import Finding, Message, Reference, write_findings

ABOUT: dict[str, Any] = {
    "name": "digits",
    "started": "2026-11-22T10:14:03+00:00",
    "seconds": 74.2,
    "task": {"kind": "category", "target": "label", "classes": [str(digit) for digit in range(10)]},
    "recipe_sha256": "3f9a1c" + "0" * 58,
    "data_sha256": "77b0e2" + "1" * 58,
    "model_sha256": "c0ffee" + "2" * 58,
    "machine": {"cores": 2, "cpu": "AMD EPYC", "memory_bytes": 8_200_000_000, "os": "Linux 6.1", "accelerator": None},
    "versions": {"python": "3.11.2", "torch": "2.13.0", "weighbridge": "0.1.0"},
    "safeguards_off": [],
    "stages": {
        "data": {"seconds": 0.4, "key": "a"},
        "training": {"seconds": 41.0, "key": "b"},
        "evaluation": {"seconds": 12.5, "key": "c"},
    },
    "language": "en",
}
EVALUATION = ("evaluation/metrics.json", "evaluation/confusion.json", "evaluation/mistakes.json")
BOOTSTRAP = Message("bootstrap over rows, {n} resamples, BCa", n=2000)


def write_run(
    folder: Path, findings: list[Finding], *, about: dict[str, Any] | None = None, evidence: dict[str, Any] | None = None
) -> Path:
    """`folder` is a run folder with these findings; `evidence` maps relative names to JSON values."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({**ABOUT, **(about or {})}), encoding="utf-8")
    for name, value in (evidence or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    write_findings(folder / "findings.jsonl", findings)
    return folder


def against(
    name: str, title: str, value: float, low: float, high: float, other: float, p_value: float, verdict: str = "advantage"
) -> Finding:
    return Finding(
        key=f"evaluation.against.{name}", title=Message("Better than {name} by", name=name), verdict=verdict,  # type: ignore[arg-type]
        value=value, interval=(low, high), unit="share", n=359,
        reference=Reference(name=Message("{name}", name=name), value=other, difference=value, difference_interval=(low, high), p_value=p_value),
        reason=Message("better than {name} by the paired test (corrected p {p})", name=name, p=p_value),
        method=Message("McNemar's exact test on the same rows, Holm over baselines"), source="Dietterich 1998", evidence=EVALUATION[:1],
        command=f"weigh evaluate runs/digits --only against.{name}",
    )  # fmt: skip


def digits_findings() -> list[Finding]:
    boosting = Reference(
        name=Message("gradient boosting"), value=0.9471, difference=0.0306, difference_interval=(0.0111, 0.0501), p_value=0.0026
    )
    return [
        Finding(key="data.rows", title=Message("Rows that were read"), value=1797, unit="rows", method=Message("counted"), command="weigh data digits.yaml --only rows"),
        Finding(key="data.duplicates", title=Message("Rows equal to an earlier one, dropped"), value=0, unit="rows", n=1797, command="weigh data digits.yaml --only duplicates"),
        Finding(key="preprocessing.image", title=Message("Images of column {column}: height, width, channels", column="image"), value="8 x 8 x 1", n=1168),
        Finding(key="training.parameters", title=Message("Trained parameters"), value=23_146, command="weigh train runs/digits --only parameters",
                method=Message("counted; {type}, size {size}: {sizes}", type="cnn", size="s", sizes="channels 16, 32, 64")),
        Finding(key="training.seconds", title=Message("Time to train"), value=250.4, unit="s", command="weigh train runs/digits --only seconds"),
        Finding(key="training.best_epoch", title=Message("Epoch whose weights are kept"), value=17, n=30, n_of="epochs", evidence=("training/history.json",)),
        Finding(key="evaluation.accuracy", title=Message("Accuracy on unseen rows"), verdict="advantage", value=0.9777, interval=(0.9564, 0.9887), unit="share",
                n=359, reference=boosting, reason=Message("better than {name} by the paired test (corrected p = {p})", name="gradient boosting", p=0.0026),
                method=Message("official test split, read once for this decision (ledger entry {entry}); Wilson interval", entry=3), source="Wilson 1927",
                evidence=EVALUATION, command="weigh evaluate runs/digits --only accuracy", headline=True),
        against("trivial", "majority class", 0.877, 0.841, 0.908, 0.1003, 1e-60),
        against("linear", "logistic regression", 0.0195, 0.0028, 0.0362, 0.9582, 0.039),
        against("boosting", "gradient boosting", 0.0306, 0.0111, 0.0501, 0.9471, 0.0026),
        Finding(key="evaluation.auroc", title=Message("Ranks rows by their score"), verdict="advantage", value=0.9994, interval=(0.9987, 0.9998), unit="share", n=359,
                reason=Message("the whole interval is at {strong} or above", strong=0.9), method=BOOTSTRAP, source="DeLong 1988", command="weigh evaluate runs/digits --only auroc"),
        Finding(key="evaluation.calibration_error", title=Message("Stated probabilities against what happens"), verdict="limitation", value=0.0712, interval=(0.0541, 0.0893),
                unit="share", n=359, reference=Reference(name=Message("threshold"), value=0.05), reason=Message("stated and observed rates differ by more than {most}", most=0.05),
                method=Message("debiased, equal-mass bins"), source="Kumar 2019", evidence=("evaluation/reliability.json",), command="weigh evaluate runs/digits --only calibration_error"),
        Finding(key="evaluation.weakest_class", title=Message("Weakest class: {name}", name="8"), verdict="limitation", value=0.8857, interval=(0.7405, 0.9546), unit="share", n=35,
                reference=Reference(name=Message("all classes"), value=0.9777), reason=Message("its whole interval lies under the overall accuracy of {accuracy}", accuracy=0.9777),
                method=Message("Wilson interval"), command="weigh evaluate runs/digits --only weakest_class"),
        Finding(key="evaluation.log_loss", title=Message("Log loss"), value=0.0921, interval=(0.0613, 0.1402), n=359, method=BOOTSTRAP, command="weigh evaluate runs/digits --only log_loss"),
        Finding(key="deployment.size", title=Message("Package on disk"), value=112_400, unit="bytes", command="weigh deploy runs/digits --only size"),
        Finding(key="deployment.latency", title=Message("Latency of one row, median"), value=43.1e-6, interval=(41.2e-6, 46.0e-6), unit="s", n=1000, n_of="repetitions",
                method=Message("after warm-up, order-statistic interval"), command="weigh deploy runs/digits --only latency"),
        Finding(key="deployment.parity", title=Message("Package against model: largest difference"), verdict="advantage", value=2.4e-7, n=359,
                reference=Reference(name=Message("tolerance"), value=1e-3), reason=Message("within the tolerance on every row"), command="weigh deploy runs/digits --only parity"),
        Finding(key="audit.fairness", title=Message("Fairness between groups"), verdict="unmeasured", reason=Message("the recipe names no protected column")),
        Finding(key="training.seeds", title=Message("Spread from seed to seed"), verdict="unmeasured", reason=Message("one seed was trained; how much another would differ is not known"),
                command="weigh run digits.yaml --set training.seeds=5"),
        Finding(key="training.energy", title=Message("Energy"), verdict="unmeasured", reason=Message("no counter on this machine")),
    ]  # fmt: skip


def thumbnail(seed: int) -> str:
    """Return an 8 by 8 grey picture as a data address."""
    from PIL import Image

    pixels = (np.random.default_rng(seed).random((8, 8)) ** 2 * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def confusion(classes: list[str], seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    counts = random.binomial(1, min(0.5, 2 / len(classes)), (len(classes), len(classes)))
    counts[np.arange(len(classes)), np.arange(len(classes))] = random.integers(28, 38, len(classes))
    return {"classes": classes, "counts": counts.tolist()}


def reliability() -> dict[str, Any]:
    at = np.linspace(0.45, 1.0, 10)
    curve = [
        {"confidence": c, "accuracy": c**1.2, "low": max(c**1.2 - 0.08, 0), "high": min(c**1.2 + 0.06, 1), "n": 36} for c in at.tolist()
    ]
    return {"curve": curve, "histogram": {"edges": np.linspace(0, 1, 11).tolist(), "counts": [0, 0, 0, 1, 3, 6, 9, 14, 30, 296]}}


def history(epochs: int = 30) -> dict[str, Any]:
    rows = [
        {"epoch": e, "step": e * 40, "lr": 1e-3, "train_loss": 2.3 * np.exp(-e / 5) + 0.02, "validation_loss": 2.3 * np.exp(-e / 4) + 0.09 + 0.003 * e,
         "validation_accuracy": 0.98 - 0.8 * np.exp(-e / 3)}
        for e in range(1, epochs + 1)
    ]  # fmt: skip
    return {"epochs": rows, "best_epoch": 17, "metric": "loss"}


def mistakes(classes: list[str], count: int = 8, *, pictures: bool = True) -> dict[str, Any]:
    rows = [
        {"row_id": f"{seed * 7919:08x}", "truth": classes[seed % len(classes)], "predicted": classes[(seed + 3) % len(classes)], "probability": 0.99 - seed / 50,
         "thumbnail": thumbnail(seed) if pictures else None, "text": None if pictures else "物流很快，但是包装破损，客服没有回复。"}
        for seed in range(count)
    ]  # fmt: skip
    return {"mistakes": rows}


def digits_evidence(classes: list[str] | None = None) -> dict[str, Any]:
    names = classes or [str(digit) for digit in range(10)]
    return {
        "evaluation/metrics.json": {}, "evaluation/confusion.json": confusion(names), "evaluation/mistakes.json": mistakes(names),
        "evaluation/reliability.json": reliability(), "training/history.json": history(),
    }  # fmt: skip


def digits_run(folder: Path) -> Path:
    return write_run(folder, digits_findings(), evidence=digits_evidence())


def chinese_run(folder: Path) -> Path:
    """A run whose labels, columns and report are Chinese."""
    classes = ["正面评价", "负面评价", "中性", "无关内容"]
    findings = [finding for finding in digits_findings() if finding.key != "evaluation.weakest_class"]
    weakest = Finding(
        key="evaluation.weakest_class", title=Message("Weakest class: {name}", name="无关内容"), verdict="limitation", value=0.8857, interval=(0.7405, 0.9546),
        unit="share", n=35, reference=Reference(name=Message("all classes"), value=0.9777), command="weigh evaluate runs/评论 --only weakest_class",
    )  # fmt: skip
    evidence = {**digits_evidence(classes), "evaluation/mistakes.json": mistakes(classes, pictures=False)}
    about = {
        "name": "评论",
        "language": "zh",
        "task": {"kind": "category", "target": "情感", "classes": classes},
        "safeguards_off": ["training.early_stopping"],
    }
    return write_run(folder, [*findings, weakest], about=about, evidence=evidence)


def diabetes_run(folder: Path) -> Path:
    """Regression in which the network is not measurably better than a linear model."""
    random = np.random.default_rng(1)
    actual = random.normal(150, 70, 89)
    linear = Reference(name=Message("linear regression"), value=53.9, difference=0.4, difference_interval=(-1.9, 2.8), p_value=0.71)
    command = "weigh evaluate runs/diabetes --only rmse"
    why = Message("not measurably different from {name} (corrected p = {p}) on these {n} rows", name="linear regression", p=0.71, n=89)
    findings = [
        Finding(key="evaluation.rmse", title=Message("Error on unseen rows (RMSE)"), verdict="limitation", value=53.5, interval=(47.8, 60.1), n=89, reference=linear,
                reason=why, evidence=("evaluation/residuals.json",), command=command, headline=True),
        Finding(key="evaluation.against.linear", title=Message("Better than {name}?", name="linear regression"), verdict="limitation", value=0.4, interval=(-1.9, 2.8),
                n=89, reference=linear, reason=why, command=command),
        Finding(key="evaluation.r2", title=Message("Share of the variance that is explained"), value=0.46, interval=(0.31, 0.58), n=89, command=command),
        Finding(key="training.seconds", title=Message("Time to train"), value=12.42, unit="s"),
    ]  # fmt: skip
    residuals = {"actual": actual.tolist(), "predicted": (75 + actual / 2 + random.normal(0, 40, 89)).tolist(), "interval": None}
    about = {"name": "diabetes", "task": {"kind": "number", "target": "progression", "classes": []}}
    return write_run(folder, findings, about=about, evidence={"evaluation/residuals.json": residuals})


def unmeasured_run(folder: Path) -> Path:
    reason = Message("the test split is empty")
    findings = [
        Finding(key=f"evaluation.{name}", title=Message("Accuracy on unseen rows"), verdict="unmeasured", reason=reason)
        for name in ("accuracy", "f1")
    ]
    return write_run(folder, findings, about={"seconds": None, "stages": {}})
