"""The Hugging Face Trainer on texts, in tokens a second (padding is not counted). Run by bench/text.py, which gives it turns.

As its documentation shows it: AutoModelForSequenceClassification, DataCollatorWithPadding, AdamW. Told beyond that, in its favour: the
update in one kernel (its default), no reports, no saving, no progress bar, rows held as lists of ids in memory. `--grouped` sorts rows of
like length into a batch (train_sampling_strategy="group_by_length"), which a user has to know of.
"""

from __future__ import annotations

import argparse
import contextlib
from collections import deque
from typing import Any

from text_ours import parser
from text_tasks import CLIP, DECAY, DEPTH, HEADS, INNER, LR, MODELS, RESULTS, WIDTH, prepared
from turns import Turns

from weighbridge import preprocessing
from weighbridge.preprocessing import Ragged
from weighbridge.preprocessing.text import FIRST_ID, read_tokenizer
from weighbridge.storage import read_json


def network(model: str, vocabulary: int) -> Any:
    """Return the classifier: of a source its weights, else the BERT that has the form of Weighbridge's transformer."""
    import transformers

    if source := MODELS[model].get("source"):
        return transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=2)
    config = transformers.BertConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=INNER,
        pad_token_id=0, num_labels=2,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def rows_and_collator(model: str, texts: str, counts: deque[int]) -> tuple[list[dict[str, Any]], Any, int]:
    """Return the training rows, what makes a batch of them (and appends its tokens to `counts`), and the size of the vocabulary."""
    import transformers

    folder = prepared(model, texts) / "preprocessing"
    encoder = preprocessing.Encoder.from_json(read_json(folder / "encoder.json"))
    arrays = preprocessing.open_arrays(folder / "train")
    [feature] = encoder.features
    own = feature.tokens == "pretrained"
    names = {"pad_token": "[PAD]" if own else "\x00pad", "model_input_names": ["input_ids", "attention_mask"]}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=read_tokenizer(feature.tokenizer), **names)
    pad = transformers.DataCollatorWithPadding(tokenizer)
    [values] = [block for block in arrays.blocks.values() if isinstance(block, Ragged)]
    ids = [(values[row].astype(int) - FIRST_ID * own).tolist() for row in range(len(values))]
    assert arrays.target is not None
    rows = [
        {"input_ids": part, "attention_mask": [1] * len(part), "labels": label}
        for part, label in zip(ids, arrays.target.tolist(), strict=True)
        if part
    ]

    def collate(chosen: list[dict[str, Any]]) -> Any:
        counts.append(sum(len(row["input_ids"]) for row in chosen))
        return pad(chosen)

    return rows, collate, encoder.blocks[0].cardinalities[0]


def serve(options: argparse.Namespace) -> None:
    """Train with `Trainer.train` while it has the turn."""
    import torch
    import transformers

    torch.set_num_threads(options.threads)
    counts: deque[int] = deque()
    rows, collate, vocabulary = rows_and_collator(options.model, options.texts, counts)
    turns = Turns(options.seconds, 1)

    class Clock(transformers.TrainerCallback):
        """Waits for its turn between steps and ends the training after the last."""

        tokens = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
            self.tokens += counts.popleft()
            if not turns.tick(self.tokens):
                raise StopIteration

    settings = transformers.TrainingArguments(
        output_dir=str(RESULTS / "trainer"), per_device_train_batch_size=options.batch_size, num_train_epochs=10_000, use_cpu=True,
        optim="adamw_torch_fused", learning_rate=LR, weight_decay=DECAY, max_grad_norm=CLIP, lr_scheduler_type="constant",
        save_strategy="no", report_to="none", disable_tqdm=True, logging_steps=10**9, dataloader_drop_last=True,
        dataloader_pin_memory=False, train_sampling_strategy="group_by_length" if options.grouped else "random",
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=network(options.model, vocabulary), args=settings, train_dataset=rows, data_collator=collate, callbacks=[Clock()]
    )
    with contextlib.suppress(StopIteration):
        trainer.train()


def main() -> None:
    """Serve turns until standard input ends."""
    options = parser()
    options.add_argument("--grouped", action="store_true")
    serve(options.parse_args())


if __name__ == "__main__":
    main()
