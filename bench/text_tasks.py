"""What bench/text.py trains: real texts, and encoders of one form for Weighbridge and for the Hugging Face Trainer.

Rows are encoded once, by Weighbridge; both sides read the same ids. Of the pretrained encoders both begin with the same weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from weighbridge import lifecycle
from weighbridge.recipe import Recipe, parse_recipe
from weighbridge.storage.control import StopRequest

RESULTS = Path("bench/results/text")
MINILM = Path(".data/minilm")
MINI = RESULTS / "bert-mini"
TEXTS = {"movies": ("snippet", "sentiment", 128), "reviews": ("review", "sentiment", 128), "spam": ("mail", "kind", 256)}
WIDTH, DEPTH, HEADS, INNER = 256, 4, 16, 512  # of `own`, Weighbridge's transformer, and of the BERT of that form
MODELS: dict[str, dict[str, Any]] = {
    "own": {"type": "transformer", "width": WIDTH, "depth": DEPTH},
    "bert-mini": {"type": "pretrained", "source": str(MINI), "tune": "all", "pooling": "first"},
    "minilm": {"type": "pretrained", "source": str(MINILM), "tune": "all", "pooling": "first"},
    "rnn": {"type": "rnn", "width": 64, "depth": 1},
}
LR, DECAY, CLIP = 1e-4, 0.01, 1.0


def recipe(model: str, texts: str, batch_size: int, threads: int) -> Recipe:
    """Return the recipe of a training: fp32, AdamW at a constant rate, no stop before the last turn, 0.2 % of rows to validate on."""
    column, target, length = TEXTS[texts]
    chosen = {"batch_size": batch_size, "precision": "fp32", "memory_format": "contiguous", "compile": False, "threads": threads}
    rates = {"optimizer": {"type": "adamw", "lr": LR}, "l2": DECAY, "clip": CLIP, "schedule": "constant"}
    longest = {"epochs": 10_000, "checkpoint_s": 3600, "early_stopping": {"enabled": False}}
    return parse_recipe(
        {
            "name": "bench",
            "data": {
                "source": f".data/{texts}/{texts}.csv", "target": target, "columns": {column: "text", **_unread(texts)},
                "split": {"validation": 0.002, "test": 0.002}, "allow": ["duplicates", "near_duplicates", "target"],
            },
            "preprocessing": {"text": {"length": length, "lowercase": True}},
            "training": {"model": MODELS[model], **chosen, **rates, **longest},
        }
    )  # fmt: skip


def prepared(model: str, texts: str) -> Path:
    """Return the folder with the encoded rows of these texts for this model, encoded now where they are not there."""
    if model == "bert-mini" and not (MINI / "config.json").exists():
        write_mini()
    source = MODELS[model].get("source")
    folder = RESULTS / f"{texts}-{'learnt' if source is None else Path(source).name}"
    if not (folder / "preprocessing" / "train" / "arrays.json").exists():
        lifecycle.run(recipe(model, texts, 32, 1), folder, until="preprocessing", stop=StopRequest())
    return folder


def write_mini() -> None:
    """MINI holds a BERT of 4 layers of 256 (BERT-Mini, Turc 2019) with weights drawn at random and MiniLM's tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30_522, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=4, intermediate_size=4 * WIDTH
    )
    transformers.AutoModel.from_config(config).save_pretrained(MINI)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(MINILM / name, MINI / name)


def _unread(texts: str) -> dict[str, str]:
    return {"rating": "ignore"} if texts == "movies" else {}
