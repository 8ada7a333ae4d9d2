"""Tiny pretrained models in the hub's form, and rows for them: random weights, so they know nothing, but every part is the real one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORDS = "good bad fine poor dull bright film story actor scene plot music end the a was very not".split()
SPECIAL = ("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def vocabulary() -> list[str]:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    return [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS]


def text_source(folder: Path, kind: str = "bert", *, words: int | None = None, seed: int = 0, **more: Any) -> Path:
    """`folder` holds a tiny text encoder with config.json, model.safetensors, vocab.txt and a card."""
    import transformers

    torch.manual_seed(seed)
    size = len(vocabulary()) if words is None else words
    if kind == "bert":
        config: Any = transformers.BertConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=48, **more,
        )  # fmt: skip
    elif kind == "distilbert":
        config = transformers.DistilBertConfig(vocab_size=size, dim=32, n_layers=3, n_heads=2, hidden_dim=64, max_position_embeddings=48)
    else:
        config = transformers.RobertaConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            max_position_embeddings=50, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        )  # fmt: skip
    made = transformers.AutoModel.from_config(config)
    made.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\n---\n# tiny\n", encoding="utf-8")
    return folder


def image_source(folder: Path, *, side: int = 16, seed: int = 0) -> Path:
    """`folder` holds a tiny ViT with its image processor's numbers."""
    import transformers

    torch.manual_seed(seed)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=side, patch_size=4
    )
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    options = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "do_normalize": True, "size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(options), encoding="utf-8")
    return folder


def write_rows(path: Path, rows: int = 160, seed: int = 0) -> Path:
    """`path` is a CSV of short texts, a number and a label that both tell."""
    random = np.random.default_rng(seed)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("review", "stars", "label"))
        for row in range(rows):
            positive = bool(random.integers(2))
            chosen = random.choice(WORDS[6:], size=int(random.integers(3, 14))).tolist()
            telling = ["good", "fine", "bright"] if positive else ["bad", "poor", "dull"]
            chosen.insert(int(random.integers(len(chosen))), str(random.choice(telling)))
            writer.writerow((" ".join(chosen) + f" {row}", round(float(random.normal(positive)), 3), "yes" if positive else "no"))
    return path


def recipe_of(folder: Path, source: Path, **model: Any) -> dict[str, Any]:
    """Return a recipe on the rows of `folder`, small enough for a test."""
    return {
        "name": "tiny", "seed": 3,
        "data": {"source": str(write_rows(folder / "rows.csv")), "target": "label", "columns": {"review": "text"},
                 "split": {"method": "stratified"}},
        "training": {
            "model": {"type": "pretrained", "source": str(source), **model}, "epochs": 3, "batch_size": 16, "precision": "fp32",
            "threads": 1, "compile": False, "checkpoint_s": 1e-9,
        },
        "evaluation": {"baselines": ["trivial"], "resamples": 200},
    }  # fmt: skip
