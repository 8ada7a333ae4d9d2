"""The benchmark CNN as the Keras program that most people would write; run by the interpreter of .venv-bench.

Run by bench/training.py, which gives it turns on standard input.

`model.fit` on arrays in memory, float32 as Keras has it by default. `--input dataset` reads through tf.data with cache, shuffle and
prefetch instead; `--precision bf16` sets Keras's mixed_bfloat16 policy; `--jit` compiles with XLA. The benchmark keeps the fastest.
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
from turns import Turns

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
FASHION = Path(".data/fashion-mnist")


def images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [60000, 28, 28, 1] in 0..1 and int64 [60000] of Fashion-MNIST's training side."""
    images = np.frombuffer(gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28, 1).astype(np.float32) / 255, labels.astype(np.int64)


def network(keras: Any, padding: str, jit: bool) -> Any:
    """Return the compiled model: 93,322 weights (valid) or 257,162 (same), AdamW, sparse cross-entropy on logits."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, padding=padding, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding=padding, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding=padding, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, dtype="float32"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(1e-3, weight_decay=1e-4), loss=loss, jit_compile=jit)
    return model


def serve(batch_size: int, seconds: float, options: argparse.Namespace) -> None:
    """Train with `model.fit` while it has the turn."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    if options.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    images, labels = images_and_labels()
    model = network(keras, options.padding, options.jit)
    assert model.count_params() == {"valid": 93_322, "same": 257_162}[options.padding]

    turns = Turns(seconds, batch_size)

    class Clock(keras.callbacks.Callback):
        """Waits for its turn between steps and ends the training after the last."""

        steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            if not turns.tick(self.steps):
                self.model.stop_training = True
                raise StopIteration

    clock = Clock()
    try:
        if options.input == "dataset":
            data = tf.data.Dataset.from_tensor_slices((images, labels)).cache().shuffle(60_000).batch(batch_size, drop_remainder=True)
            model.fit(data.prefetch(tf.data.AUTOTUNE), epochs=1000, verbose=0, callbacks=[clock])
        else:
            whole = len(images) // batch_size * batch_size
            model.fit(images[:whole], labels[:whole], batch_size=batch_size, epochs=1000, verbose=0, callbacks=[clock])
    except StopIteration:
        pass


def main() -> None:
    """Serve turns until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--padding", choices=["same", "valid"], default="same")
    parser.add_argument("--input", choices=["arrays", "dataset"], default="arrays")
    parser.add_argument("--jit", action="store_true")
    options = parser.parse_args()
    serve(options.batch_size, options.seconds, options)


if __name__ == "__main__":
    main()
