"""What a frozen encoder says of a row is the same at every epoch: it is computed once, kept on disk, and the head learns from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from weighbridge.models.fusion import Fusion
from weighbridge.preprocessing import Arrays
from weighbridge.storage import atomic_path, read_json, write_json
from weighbridge.training.batches import each_once
from weighbridge.training.plan import choose_device

if TYPE_CHECKING:
    from pathlib import Path

    from weighbridge.storage.control import StopRequest
    from weighbridge.storage.progress import Progress
    from weighbridge.training.stage import Course

FEATURES = "features"


def keeps_features(course: Course) -> bool:
    """Whether what the encoder says is the same at every epoch: nothing of it is trained, and no row is changed."""
    known = course.spec.pretrained
    changed = course.section.adversarial.enabled or any(course.section.augment.model_dump().values())
    return known is not None and course.section.model.tune == "frozen" and not changed


def with_features(course: Course, *, progress: Progress, stop: StopRequest, trained: Path | None = None) -> Course:
    """Return the course with the columns of a frozen encoder as float32 [n, D]; any other course, and one that has them, as it is.

    `features` in the folder of `trained`, else of the course, holds them; a resumed training reads them and so goes on with the
    same bits. They do not hang on the seed, so further seeds and parts of the rows read those of the run.
    """
    if not keeps_features(course) or any(course.train.blocks[name].dtype == np.float32 for name in _read_by_encoder(course)):
        return course
    folder = (trained or course.folder) / FEATURES
    index = folder / "features.json"
    if not index.exists():
        _write(course, folder, progress, stop)
    names = dict(read_json(index))
    found: dict[str, Arrays] = {}
    for split in ("train", "validation"):
        arrays: Arrays = getattr(course, split)
        read = {name: np.load(folder / f"{split}-{number}.npy", mmap_mode="r", allow_pickle=False) for name, number in names.items()}
        found[split] = replace(arrays, blocks={name: read.get(name, values) for name, values in arrays.blocks.items()})
    return replace(course, train=found["train"], validation=found["validation"])


def _read_by_encoder(course: Course) -> list[str]:
    """Return the names of the blocks that the pretrained encoder reads."""
    known = course.spec.pretrained or {"kind": ""}
    return [block.name for block in course.spec.blocks if block.kind == known["kind"]]


def _write(course: Course, folder: Path, progress: Progress, stop: StopRequest) -> None:
    place = choose_device(course.section.device)
    network = course.first_network().to(place).eval()
    assert isinstance(network, Fusion)
    blocks = _read_by_encoder(course)
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(blocks):
        reader = network.reader(name)
        for split, arrays in (("train", course.train), ("validation", course.validation)):
            made = features(reader, arrays, name, place, progress, stop, precision=course.section.precision)
            with atomic_path(folder / f"{split}-{number}.npy") as temporary, open(temporary, "wb") as file:
                np.save(file, made, allow_pickle=False)
    write_json(folder / "features.json", {name: number for number, name in enumerate(blocks)})


def features(
    reader: nn.Module, arrays: Arrays, name: str, place: torch.device, progress: Progress, stop: StopRequest, *, precision: str = "fp32"
) -> np.ndarray:
    """Return what a reader says of each row's block, float32 [n, D], in stored order."""
    alone = replace(arrays, blocks={name: arrays.blocks[name]})
    found: np.ndarray | None = None
    done = 0
    with torch.inference_mode(), torch.autocast(place.type, torch.bfloat16, enabled=precision == "bf16"):
        for batch, rows in each_once(alone, place, size=64):
            stop.check("features are not kept in parts: they are computed from the first row again")
            part = reader(batch[name]).float().cpu().numpy()
            found = np.empty((len(arrays), part.shape[1]), np.float32) if found is None else found
            found[rows] = part
            done += len(rows)
            progress("read rows by the pretrained encoder", done, len(arrays))
    assert found is not None
    return found
