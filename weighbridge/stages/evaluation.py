"""The evaluation stage: the network and its baselines answer every split, the test split once; the rest reads predictions only."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import RunError
from weighbridge.evaluation.answers import predictions_of
from weighbridge.findings import Finding, Message
from weighbridge.privacy import mask
from weighbridge.stages.baselines import answer_baselines, baseline_rows
from weighbridge.stages.chosen import OWN, EncodedRows, answer_beside, choice_findings, spaced
from weighbridge.stages.learning_curve import findings_of as curve_findings_of
from weighbridge.stages.learning_curve import measure_curve
from weighbridge.stages.modalities import hidden_inputs
from weighbridge.stages.seeds import answer_seeds, seed_findings, with_spread
from weighbridge.stages.slices import measure_slices
from weighbridge.storage import FolderLock, read_json, write_json
from weighbridge.storage.control import heeding

if TYPE_CHECKING:
    from weighbridge.data import Table
    from weighbridge.evaluation import Predictions
    from weighbridge.preprocessing import Arrays, Encoder
    from weighbridge.recipe import Recipe
    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress

MANY_READS = 10  # different models judged on the same test rows before the interval is called optimistic
THUMBNAIL = 56  # pixels a side
MOST_TEXT = 400  # characters of a text among the worst mistakes
TO_HAVE = {
    "choice": "set optimization.enabled: true and run the recipe again (where it is set, the most capable model itself is packaged)",
    "seeds": "set training.seeds: 5 and run the recipe again",
    "learning_curve": "set evaluation.learning_curve.enabled: true and run the recipe again (where it is set, the report says why)",
    "slices": "set evaluation.slices: true and run the recipe again",
    "test_reads": "run the recipe again",
}


def prepare(recipe: Recipe, *, folder: Path, command: str, progress: Progress, stop: StopRequest) -> list[Finding]:
    """`folder/evaluation` holds predictions of the model and its baselines, evidence, and the findings `evaluation.*` are returned."""
    from weighbridge import data, evaluation, optimization, preprocessing

    curve = measure_curve(recipe, folder, command=command, progress=progress, stop=stop)
    progress = heeding(progress, stop)  # from here on nothing is kept that a later sitting goes on from
    splits = data.open_data(folder / "data")
    chosen = optimization.read_chosen(folder)
    test_table = splits.test(f"evaluation of model {chosen.form.sha256[:12]} and its baselines", command)
    rows = EncodedRows(folder, test_table, progress)
    arrays, encoder, own = rows.of(chosen.form.arrays), rows.encoder(chosen.form.arrays), rows.of(OWN)
    tables = {"train": splits.train, "validation": splits.validation, "test": test_table}
    answer = optimization.answers(folder, chosen.form, encoder)
    made = {}
    for place, (split, part) in enumerate(arrays.items()):
        progress("answer all splits", place, len(arrays))
        groups = _groups(tables[split], recipe.data.group, len(part))
        made[split] = predictions_of(answer(part), part, encoder, model="model", split=split, groups=groups)
        evaluation.write_predictions(folder / "evaluation" / f"{split}.parquet", made[split])
    progress("answer all splits", len(arrays), len(arrays))
    train = preprocessing.open_arrays(folder / OWN / "train")
    answer_baselines(recipe, folder, rows.encoder(OWN), {**own, "train": train}, made["test"], progress, stop)
    answer_beside(folder, chosen, recipe, rows, made)
    hidden = []
    for name, part in hidden_inputs(encoder, arrays["test"]):
        model = f"{evaluation.HIDDEN}{name}"
        variant = predictions_of(answer(part), part, encoder, model=model, split="test", groups=made["test"].group)
        hidden.append(f"{model}.parquet")
        evaluation.write_predictions(folder / "evaluation" / hidden[-1], variant)
    write_json(folder / "evaluation" / "hidden.json", hidden)
    answer_seeds(recipe, folder, rows.encoder(OWN), splits, {name: own[name] for name in ("validation", "test")}, made, command)
    findings = [*_measure(recipe, folder, command, None, progress), *seed_findings(recipe, folder, command)]
    if recipe.evaluation.slices:
        progress("look for weak slices", 0, 1)
        findings += measure_slices(folder / "evaluation", tables, own, made, seed=recipe.seed, command=command)
        progress("look for weak slices", 1, 1)
    _add_thumbnails(folder, rows.encoder(OWN), own["test"])
    _add_texts(folder, encoder, test_table)
    write_json(folder / "evaluation" / "judged.json", chosen.hashes)
    return [*findings, *choice_findings(recipe, folder, command), *curve, _reads(folder, command)]


def measure_again(folder: Path, only: str | None) -> list[Finding]:
    """Return the findings of a run's stored predictions, measured anew.

    Raises RunError when they are not there, or another process works in the folder: evidence is written anew, too.
    """
    if not (folder / "evaluation" / "test.parquet").exists():
        raise RunError(f"{folder} holds no predictions", do="run its recipe first")
    with FolderLock(folder):
        return _measure_again(folder, only)


def _measure_again(folder: Path, only: str | None) -> list[Finding]:
    from weighbridge import preprocessing
    from weighbridge.recipe import load_recipe
    from weighbridge.storage.progress import silent

    recipe, command = load_recipe(folder / "recipe.yaml"), f"weigh evaluate {folder.as_posix()}"
    apart = {
        "test_reads": lambda: [_reads(folder, command)],
        "choice": lambda: choice_findings(recipe, folder, command),
        "seeds": lambda: seed_findings(recipe, folder, command),
        "learning_curve": lambda: curve_findings_of(recipe, folder, command),
        "slices": lambda: _slices_again(recipe, folder, command),
    }
    if only == "baseline_rows":
        return baseline_rows(folder / "evaluation", recipe.evaluation.baselines, command)
    names = [name for name in apart if only is not None and (only in (name, f"{name}_check") or only.startswith(f"{name.rstrip('s')}."))]
    if names:
        if found := apart[names[0]]():
            return found
        raise RunError(f"{folder} holds no {names[0].replace('_', ' ')}", do=TO_HAVE[names[0]])
    found = _measure(recipe, folder, command, only, silent)
    if only is not None:
        return found
    # the evidence was written anew, so the pictures are added anew
    encoder = preprocessing.Encoder.from_json(read_json(folder / "preprocessing" / "encoder.json"))
    _add_thumbnails(folder, encoder, preprocessing.open_arrays(folder / "evaluation" / "test"))
    return [*found, *(finding for name in apart for finding in apart[name]())]


def _slices_again(recipe: Recipe, folder: Path, command: str) -> list[Finding]:
    """Look for weak slices in stored predictions; the inputs of the test rows are read once more, and that is recorded."""
    from weighbridge import data, evaluation, preprocessing, training

    if not recipe.evaluation.slices:
        return []
    splits, place = data.open_data(folder / "data"), folder / "evaluation"
    reason = f"weak slices of model {training.model_hash(folder / 'training')[:12]}, measured again"
    tables = {"validation": splits.validation, "test": splits.test(reason, command)}
    arrays = {
        "validation": preprocessing.open_arrays(folder / "preprocessing" / "validation"),
        "test": preprocessing.open_arrays(place / "test"),
    }
    made = {split: evaluation.read_predictions(place / f"{split}.parquet") for split in tables}
    return measure_slices(place, tables, arrays, made, seed=recipe.seed, command=command)


def measure_file(path: Path, only: str | None) -> list[Finding]:
    """Return the findings of a Parquet file of predictions made anywhere; evidence goes to a folder beside it."""
    from weighbridge import evaluation
    from weighbridge.recipe import EvaluationSection

    predictions = evaluation.read_predictions(path)
    evidence = path.with_suffix(".evaluation")
    if only is None:
        evidence.mkdir(exist_ok=True)
    return evaluation.measure(
        predictions, options=EvaluationSection(), seed=0, folder=evidence, command=f"weigh evaluate {path.as_posix()}", only=only
    )


def _measure(recipe: Recipe, folder: Path, command: str, only: str | None, progress: Progress) -> list[Finding]:
    from weighbridge import evaluation
    from weighbridge.optimization import read_chosen

    place = folder / "evaluation"
    beside = [name for name in recipe.evaluation.baselines if name != read_chosen(folder).contender]  # a baseline is no rival to itself
    baselines = [evaluation.read_predictions(place / f"baseline-{name}.parquet") for name in beside]
    read = {split: evaluation.read_predictions(place / f"{split}.parquet") for split in ("train", "validation", "test")}
    if only is not None and only.startswith("worth."):
        return [finding for finding in _worth(recipe, place, read["test"], command) if finding.key == f"evaluation.{only}"]
    found = evaluation.measure(
        read["test"],
        baselines=baselines,
        train=read["train"],
        validation=read["validation"],
        options=recipe.evaluation,
        seed=recipe.seed,
        folder=place,
        command=command,
        only=only,
        progress=progress,
    )
    if only is not None:
        return with_spread(recipe, folder, found)
    return with_spread(
        recipe, folder, [*found, *baseline_rows(place, recipe.evaluation.baselines, command), *_worth(recipe, place, read["test"], command)]
    )


def _worth(recipe: Recipe, place: Path, model: Predictions, command: str) -> list[Finding]:
    from weighbridge import evaluation
    from weighbridge.evaluation.resampling import Resampling

    hidden = [evaluation.read_predictions(place / name) for name in read_json(place / "hidden.json")]
    return evaluation.worth(model, hidden, Resampling(resamples=recipe.evaluation.resamples, seed=recipe.seed), command)


def _groups(table: Table, group: str | None, rows: int) -> np.ndarray | None:
    """Return what each answered row belongs to, where the recipe names a group."""
    return None if group is None else np.asarray(table.column(group))[spaced(len(table), rows)].astype(str)


def _reads(folder: Path, command: str) -> Finding:
    """How often the test rows were looked at: each further model that is judged on them makes its interval a little too good."""
    lines = (folder / "data" / "test_ledger.jsonl").read_text(encoding="utf-8").splitlines()
    judged = {entry["reason"] for entry in map(json.loads, lines) if entry["reason"].startswith("evaluation of")}
    many = len(judged) > MANY_READS
    return Finding(
        key="evaluation.test_reads",
        title=Message("Models judged on these test rows"),
        value=len(judged),
        n=len(lines),
        n_of="reads",
        verdict="limitation" if many else "neutral",
        reason=Message("more than {most}: choosing among them by test score would make it too good", most=MANY_READS)
        if many
        else Message("each read is recorded with its reason"),
        method=Message("counted in the ledger of test reads"),
        source="Dwork 2015",
        evidence=("data/test_ledger.jsonl",),
        command=f"{command} --only test_reads",
    )


def _add_thumbnails(folder: Path, encoder: Encoder, test: Arrays) -> None:
    """Add a small picture to each of the worst mistakes where the rows have images."""
    images = [block.name for block in encoder.blocks if block.kind == "image"]
    path = folder / "evaluation" / "mistakes.json"
    if not images or not path.exists():
        return
    places = {row: place for place, row in enumerate(test.row_ids)}
    evidence: dict[str, Any] = read_json(path)
    for mistake in evidence["mistakes"]:
        mistake["thumbnail"] = thumbnail(test.blocks[images[0]][places[mistake["row_id"]]])
    write_json(path, evidence)


def _add_texts(folder: Path, encoder: Encoder, test: Table) -> None:
    """Add the text to each of the worst mistakes where the rows have texts; addresses and numbers of persons are masked: reports travel."""
    names = [block.columns[0] for block in encoder.blocks if block.kind == "text"]
    path = folder / "evaluation" / "mistakes.json"
    if not names or not path.exists():
        return
    evidence: dict[str, Any] = read_json(path)
    wanted = {mistake["row_id"]: mistake for mistake in evidence["mistakes"]}
    for batch in test.batches():
        for place in np.flatnonzero(np.isin(batch.row_ids.astype(str), list(wanted))):
            texts = [mask(str(batch.columns[name][place]))[:MOST_TEXT] for name in names if batch.columns[name][place] is not None]
            wanted[str(batch.row_ids[place])]["text"] = " | ".join(texts).encode("utf-8", "replace").decode()
    write_json(path, evidence)


def thumbnail(image_HWC: np.ndarray) -> str:
    """Return a PNG data address of uint8 [H, W, C], enlarged without smoothing or reduced to THUMBNAIL pixels."""
    from PIL import Image

    values = np.asarray(image_HWC)
    picture = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    side = max(picture.size)
    size = (max(1, picture.width * THUMBNAIL // side), max(1, picture.height * THUMBNAIL // side))
    picture = picture.resize(size, Image.Resampling.NEAREST if side < THUMBNAIL else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
