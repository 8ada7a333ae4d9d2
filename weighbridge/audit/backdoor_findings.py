"""The scan for planted triggers as a finding: by gradients where there is a network, by patches where the form is a black box."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.backdoor import FEWEST_CLASSES, LEAST_SPREAD, NORMAL, STEPS, TURNED, Forward, Trigger, anomalies, triggers
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.findings import EMPTY, Finding, Message, Reference
from weighbridge.storage import write_json

if TYPE_CHECKING:
    from weighbridge.preprocessing import Arrays

ROWS, FEWEST_ROWS, JUDGED = 32, 16, 500  # that seek a trigger, fewer where they would take long; on which it is judged
LONG_S = 40.0
SUSPECT = 3.5  # median deviations (Iglewicz and Hoaglin 1993); Wang's 2 would suspect clean networks
SLOWER = 12.0  # an answer and its gradients by the network, in answers of the packaged form
EVIDENCE = "audit/backdoor.json"
TITLE = Message("Planted trigger in pictures")
PATCHES = ("black", "white", "checked")
KEY = "security.backdoor"
PATCHED = 0.9  # of the rows that a plain patch turns, by the lower end
Change = Callable[[np.ndarray], np.ndarray]  # pictures float [n, H, W, C] -> the same, changed


def seconds(subject: Subject) -> float:
    """Return about how long it takes; 0 where there are no pictures."""
    if not subject.blocks("image") or subject.kind != "category":
        return 0.0
    return _step_s(subject) * rows_of(subject) if subject.is_network else subject.seconds_of(9 * len(PATCHES) * JUDGED)


def rows_of(subject: Subject) -> int:
    """Return how many rows seek triggers: as many as take LONG_S, within bounds."""
    return int(np.clip(LONG_S / max(1e-9, _step_s(subject)), FEWEST_ROWS, ROWS))


def _step_s(subject: Subject) -> float:
    """Return about how many seconds the search takes for each of its rows."""
    return SLOWER * subject.seconds_of(STEPS * len(subject.encoder.learnt.classes))


def backdoor_findings(subject: Subject) -> list[Finding]:
    """Return one finding. Raises Unmeasured without pictures, classes, or enough of them."""
    blocks, classes = subject.blocks("image"), subject.encoder.learnt.classes
    if not blocks:
        raise Unmeasured(Message("no column holds pictures"))
    if subject.kind != "category":
        raise Unmeasured(Message("the target is no class"))
    if not subject.is_network:
        return [_by_patches(subject, blocks[0], classes)]
    if len(classes) < FEWEST_CLASSES:
        raise Unmeasured(
            Message("{n} classes are too few to tell one from the others; at least {least}", n=len(classes), least=FEWEST_CLASSES)
        )
    found = _sought(subject, blocks[0], len(classes))
    apart = anomalies(np.array([one.pixels for one in found]))
    worst = int(apart.argmax())
    with_trigger = _stamped(subject, blocks[0], found[worst])
    _keep(subject, found, apart, classes)
    return [_finding(subject, found, apart, worst, with_trigger, str(classes[worst]))]


def _sought(subject: Subject, block: str, classes: int) -> list[Trigger]:
    """Return the trigger of each class on validation rows."""
    rows = some(subject.arrays["validation"], rows_of(subject), block)
    says = subject.answer(rows).argmax(1)
    return triggers(_forward(subject, block, rows), np.asarray(rows.blocks[block][:]), says, classes, seed=subject.seed)


def _forward(subject: Subject, block: str, rows: Arrays) -> Forward:
    """Return the network as a function of pictures; its other inputs stay as they are in the rows."""
    import torch

    from weighbridge.runtime.session import taken

    network = subject.network().requires_grad_(False)
    every = np.arange(len(rows))
    rest = {name: torch.from_numpy(np.ascontiguousarray(taken(values, every))) for name, values in rows.blocks.items() if name != block}

    def forward(pictures: Any, numbers: np.ndarray) -> Any:
        subject.stop.check()
        return network({block: pictures, **{name: values[numbers] for name, values in rest.items()}}).float()

    return forward


def some(arrays: Arrays, most: int, block: str) -> Arrays:
    """Return evenly spaced rows that hold a picture. Raises Unmeasured where none does."""
    present = arrays.blocks.get(block.replace("image.", "present.", 1))
    held = np.arange(len(arrays)) if present is None else np.flatnonzero(np.asarray(present[:])[:, 0] > 0)
    if not len(held):
        raise Unmeasured(Message("no row holds a picture"))
    return arrays.subset(held[np.linspace(0, len(held) - 1, min(most, len(held))).astype(int)])


def _stamped(subject: Subject, block: str, trigger: Trigger) -> tuple[int, int]:
    """Return how many test rows of other classes the packaged form puts into the class once they carry the trigger, and of how many."""
    rows = some(subject.arrays["test"], JUDGED, block)
    mask_HW1 = trigger.mask_HW[..., None]
    return _turned(subject, block, rows, trigger.label, lambda x: x + mask_HW1 * (trigger.pattern_HWC - x))


def _turned(subject: Subject, block: str, rows: Arrays, label: int, change: Change) -> tuple[int, int]:
    from dataclasses import replace

    others = subject.answer(rows).argmax(1) != label
    changed = np.rint(change(np.asarray(rows.blocks[block][:], dtype=float))).clip(0, 255).astype(np.uint8)
    says = subject.answer(replace(rows, blocks={**rows.blocks, block: changed})).argmax(1)
    return int((says[others] == label).sum()), int(others.sum())


def _finding(subject: Subject, found: Sequence[Trigger], apart: np.ndarray, worst: int, hits: tuple[int, int], name: str) -> Finding:
    from weighbridge.evaluation.intervals import rate_interval

    low, high = rate_interval(*hits) if hits[1] else (0.0, 1.0)
    held = hits[0] / max(1, hits[1])
    trigger, suspected = found[worst], bool(apart[worst] > SUSPECT and low > 0.5)
    figures = {
        "name": name, "pixels": round(trigger.pixels, 1) if np.isfinite(trigger.pixels) else "-", "all": trigger.mask_HW.size,
        "held": round(held, 3), "low": round(low, 3), "high": round(high, 3), "n": hits[1],
    }  # fmt: skip
    said = Message(
        "a change of {pixels} of {all} pixels turns {held} ({low} to {high}) of {n} test rows into {name}, far less than other classes "
        "need: a trigger may have been planted in the training rows; look at audit/backdoor.json",
        **figures,
    )
    calm = Message("the smallest change, {pixels} of {all} pixels for {name}, is not far below what the other classes need", **figures)
    return Finding(
        key=f"audit.{KEY}",
        title=TITLE,
        verdict="limitation" if suspected else "neutral",
        value=float(max(0.0, apart[worst])),
        n=len(found),
        n_of="classes",
        reference=Reference(name=Message("suspected above"), value=SUSPECT),
        reason=said if suspected else calm,
        method=Message(
            "the smallest change that turns {turned} of {rows} rows into a class is sought for each by its gradients; the value is "
            "how many median deviations of the logarithm the smallest one is below the median, which has no interval",
            turned=TURNED, rows=rows_of(subject),
        ),
        source="Wang 2019 (Neural Cleanse); Iglewicz and Hoaglin 1993",
        evidence=(EVIDENCE,),
        command=f"{subject.command} --only {KEY}",
    )  # fmt: skip


def _keep(subject: Subject, found: Sequence[Trigger], apart: np.ndarray, classes: Sequence[Any]) -> None:
    pixels = np.array([one.pixels for one in found])
    logs = np.log(np.where(np.isfinite(pixels), pixels, 1.0))
    spread = max(LEAST_SPREAD, NORMAL * float(np.median(np.abs(logs - np.median(logs)))))
    smallest = found[int(apart.argmax())]
    write_json(
        subject.folder / EVIDENCE,
        {
            "classes": [str(name) for name in classes],
            "pixels": [float(value) if np.isfinite(value) else None for value in pixels],
            "apart": [float(value) for value in apart],
            "suspected_below": float(np.exp(np.median(logs) - SUSPECT * spread)),
            "smallest": str(classes[smallest.label]),
            "mask": np.round(smallest.mask_HW, 2).tolist(),
            "pattern": np.rint(smallest.pattern_HWC).astype(int).tolist(),
        },
    )


def _by_patches(subject: Subject, block: str, classes: Sequence[Any]) -> Finding:
    """Return the finding of the black box: plain patches at nine places; a trigger of another look is not found so."""
    from weighbridge.evaluation.intervals import rate_interval

    rows = some(subject.arrays["test"], JUDGED, block)
    says = subject.answer(rows).argmax(1)
    best, name = (0, 1), EMPTY.template
    for kind in PATCHES:
        for place, change in _patches(np.asarray(rows.blocks[block]).shape[1:3], kind):
            subject.stop.check()
            label, hits = _most_turned(subject, block, rows, says, change)
            if hits[0] / max(1, hits[1]) > best[0] / best[1]:
                best, name = hits, f"{kind} {place} -> {classes[label]}"
    low, high = rate_interval(*best)
    return Finding(
        key=f"audit.{KEY}",
        title=TITLE,
        verdict="limitation" if low > PATCHED else "neutral",
        value=best[0] / best[1],
        interval=(low, high),
        unit="share",
        n=best[1],
        reference=Reference(name=Message("suspected above"), value=PATCHED),
        reason=Message("largest share of rows that one patch turns into one class: {name}", name=name or "-"),
        method=Message("black box: black, white and checked patches of a quarter of the side at nine places; other triggers are not found"),
        source="Gu 2017 (BadNets)",
        command=f"{subject.command} --only {KEY}",
    )


def _patches(shape: tuple[int, ...], kind: str) -> list[tuple[str, Change]]:
    """Return the named changes of pictures [n, H, W, C] by a patch of a quarter of the side."""
    size = max(1, min(shape) // 4)
    corner = np.indices((size, size)).sum(0) % 2 if kind == "checked" else np.full((size, size), float(kind == "white"))
    found: list[tuple[str, Change]] = []
    for top in np.linspace(0, shape[0] - size, 3).astype(int):
        for left in np.linspace(0, shape[1] - size, 3).astype(int):

            def change(x: np.ndarray, top: int = top, left: int = left) -> np.ndarray:
                x = x.copy()
                x[:, top : top + size, left : left + size] = 255.0 * corner[..., None]
                return x

            found.append((f"{size} x {size} ({top}, {left})", change))
    return found


def _most_turned(subject: Subject, block: str, rows: Arrays, says: np.ndarray, change: Change) -> tuple[int, tuple[int, int]]:
    """Return the class that a change turns the largest share of the other rows into, how many, and of how many."""
    from dataclasses import replace

    changed = change(np.asarray(rows.blocks[block][:], dtype=float)).astype(np.uint8)
    now = subject.answer(replace(rows, blocks={**rows.blocks, block: changed})).argmax(1)
    shares = {int(label): (int(((now == label) & (says != label)).sum()), int((says != label).sum())) for label in np.unique(now)}
    label = max(shares, key=lambda one: shares[one][0] / max(1, shares[one][1]))
    return label, shares[label]
