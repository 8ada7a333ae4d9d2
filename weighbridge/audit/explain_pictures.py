"""A few explained rows as evidence for pictures: small images with a weight for each square, words with theirs, columns with theirs.

Weights are relative to the largest of their row and method, between -1 and 1, two digits.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.audit.explain_checks import Status
from weighbridge.audit.explain_measure import NAMES, UNSIGNED, Checked, Told, attributions_of, explained, parts_of
from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.preprocessing.text import TextFeature
from weighbridge.storage.seeds import rng, seed31

if TYPE_CHECKING:
    from weighbridge.runtime.explained import Explained
    from weighbridge.runtime.parts import Layout

SHOWN = 3  # rows that are right, and as many that are wrong
PICTURE_SIDE = 32  # pixels of a picture in the report, at most
MOST_CHARACTERS = 360  # of a text
MOST_COLUMNS = 5  # of a row, those that weigh most


def shown_rows(subject: Subject, told: Told) -> dict[str, Any]:
    """Return rows drawn at random among those that are right and those that are wrong, with what every method says of them."""
    places = _picked(subject)
    rows = explained(subject, places)
    try:
        network = subject.network()
    except Unmeasured:
        network = None
    made, _, _ = attributions_of(rows, network, seed=seed31(subject.seed, "audit", "explanation", "shapley"))
    raw = _raw(subject, rows)
    truth = subject.predictions(subject.answer(rows.arrays), rows.arrays)
    said = {str(name): place for place, name in enumerate(truth.row_id)}
    order: list[Status] = ["holds", "open", "fails"]
    names = [method for method in NAMES if method in made and method in told.methods]
    names.sort(key=lambda name: (order.index(told.methods[name].status), -told.methods[name].lead.value))
    found = []
    for place, name in enumerate(rows.arrays.row_ids):
        weights = {method: _relative(made[method][place]) for method in names}
        found.append(_about(truth, said[str(name)]) | _parts(subject, rows, place, weights, raw.get(str(name), {})))
    return {"kind": subject.kind, "methods": [_method(told.methods[method]) for method in names], "rows": found}


def _method(checked: Checked) -> dict[str, Any]:
    low, high = checked.lead.interval
    return {
        "method": checked.method, "name": NAMES[checked.method], "status": checked.status, "signed": checked.method not in UNSIGNED,
        "lead": round(checked.lead.value, 4), "low": round(low, 4), "high": round(high, 4),
    }  # fmt: skip


def _picked(subject: Subject) -> np.ndarray:
    """Return the places of up to SHOWN right rows, then of up to SHOWN wrong ones; of numbers any."""
    known, test = subject.said["test"], subject.arrays["test"]
    fit = parts_of(subject) >= 2
    ids = test.row_ids
    place = np.searchsorted(known.row_id, ids)
    order = rng(subject.seed, "audit", "explanation", "shown").permutation(len(test))
    order = order[fit[order]]
    if known.kind == "number":
        return np.asarray(order[: 2 * SHOWN])
    same = known.chosen == known.target
    right = (same if same.ndim == 1 else same.all(axis=1))[place]
    return np.concatenate([order[right[order]][:SHOWN], order[~right[order]][:SHOWN]])


def _about(said: Any, place: int) -> dict[str, Any]:
    """Return what is true of a row and what was answered."""
    if said.kind == "number":
        return {"row_id": str(said.row_id[place]), "truth": f"{said.target[place]:.6g}", "predicted": f"{said.output[place]:.6g}",
                "right": None, "probability": None}  # fmt: skip
    if said.kind == "set":
        truth, chosen = (", ".join(np.asarray(said.classes)[labels]) for labels in (said.target[place], said.chosen[place]))
        best = int(said.output[place].argmax())
        return {"row_id": str(said.row_id[place]), "truth": truth, "predicted": chosen, "right": truth == chosen,
                "probability": float(said.output[place, best]), "explained": said.classes[best]}  # fmt: skip
    answer = int(said.chosen[place])
    return {"row_id": str(said.row_id[place]), "truth": said.classes[said.target[place]], "predicted": said.classes[answer],
            "right": answer == int(said.target[place]), "probability": float(said.output[place, answer])}  # fmt: skip


def _relative(attribution: np.ndarray) -> np.ndarray:
    return np.round(attribution / (float(np.abs(attribution).max(initial=0.0)) or 1.0), 2)


def _parts(subject: Subject, rows: Explained, place: int, weights: dict[str, np.ndarray], raw: dict[str, Any]) -> dict[str, Any]:
    """Return the first image, the texts and the columns of a row with their weights by method."""
    layout, found = rows.layouts[place], dict[str, Any]()
    for block in subject.encoder.blocks:
        if block.kind == "image" and "image" not in found:
            grid = layout.owner[block.name]
            down, across = np.unique(grid[:, 0], return_index=True)[1], np.unique(grid[0], return_index=True)[1]
            cells = grid[np.ix_(down, across)]
            found["image"] = {
                "picture": small_picture(rows.rows[place][block.name]), "edges": _edges(grid.shape, down, across),
                "maps": {method: found_weights[cells].tolist() for method, found_weights in weights.items()},
            }  # fmt: skip
        elif block.kind == "text":
            found.setdefault("texts", []).append(_text(subject, block.columns[0], block.name, layout, weights, raw))
    columns = [number for number, part in enumerate(layout.parts) if part.block in ("number", "category")]
    if columns:
        first = next(iter(weights.values()))
        kept = sorted(columns, key=lambda number: -abs(float(first[number])))[:MOST_COLUMNS]
        found["columns"] = [
            {"column": layout.parts[number].column, "value": _value(raw.get(layout.parts[number].column)),
             "weights": {method: float(one[number]) for method, one in weights.items()}}
            for number in kept
        ]  # fmt: skip
    return found


def _edges(shape: tuple[int, ...], down: np.ndarray, across: np.ndarray) -> dict[str, list[float]]:
    """Return where squares begin and end, as shares of the picture's height and width."""
    return {
        "down": [*(round(float(edge) / shape[0], 4) for edge in down), 1.0],
        "across": [*(round(float(edge) / shape[1], 4) for edge in across), 1.0],
    }


def _text(subject: Subject, column: str, block: str, layout: Layout, weights: dict[str, np.ndarray], raw: dict[str, Any]) -> dict[str, Any]:
    """Return a text cut into pieces in their order, each with its weight by method; None for what stands between tokens."""
    feature = next(one for one in subject.encoder.features if isinstance(one, TextFeature) and one.column == column)
    text, spans = feature.spans(raw.get(column))
    pieces: list[dict[str, Any]] = []
    done = 0
    for number in layout.of(block):
        first, last = layout.parts[number].place
        inside = [span for span in spans[first:last] if span[1] > span[0]]
        if not inside or done >= MOST_CHARACTERS:
            continue
        start, stop = max(done, inside[0][0]), max(done, inside[-1][1])
        if start > done:
            pieces.append({"text": text[done:start], "weights": None})
        pieces.append({"text": text[start:stop], "weights": {method: float(one[number]) for method, one in weights.items()}})
        done = stop
    return {"column": column, "pieces": [*pieces, {"text": " ...", "weights": None}] if text[done:].strip() else pieces}


def _raw(subject: Subject, rows: Explained) -> dict[str, dict[str, Any]]:
    """Return the raw values of the rows' columns, by row id."""
    wanted, found = set(map(str, rows.arrays.row_ids)), dict[str, dict[str, Any]]()
    for batch in subject.test.batches():
        ids = batch.row_ids.astype(str)
        for place in np.flatnonzero(np.isin(ids, list(wanted))):
            found[str(ids[place])] = {
                name: batch.columns[name][place] for name in subject.encoder.columns if name in batch.columns
            }  # fmt: skip
    return found


def _value(value: Any) -> str:
    """Return a raw value in words."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{float(value):.6g}"
    if isinstance(value, tuple | list | set):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def small_picture(image_HWC: np.ndarray) -> str:
    """Return a PNG data address of uint8 [H, W, C], reduced to PICTURE_SIDE pixels where it is larger."""
    from PIL import Image

    values = np.asarray(image_HWC)
    picture = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    if max(picture.size) > PICTURE_SIDE:
        picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
