"""The training loop of Weighbridge on the benchmark CNN, measured like its rivals.

python bench/ours.py --batch-size 128 --seconds 8 --precision bf16      prints {"rows_per_second": ...}
"""

from __future__ import annotations

import argparse
import json


def train_rows_per_second(batch_size: int, seconds: float, precision: str, padding: str = "same") -> float:
    """Return rows trained a second over at least `seconds` s, warm-up not counted.

    The loop is the one that `weigh run` runs (its own gather, normalisation, loss, clipping off, checkpoint clock on), on
    Fashion-MNIST's 60,000 training images. The network must be that of bench/hand_loop.py: 3x3 convolutions 32-64-64, 2x2
    pooling between them, dense 64, 10 classes; 257,162 weights with padding "same", 93,322 with "valid". `precision` is
    fp32 or bf16. AdamW with lr 1e-3 and weight decay 1e-4, channels-last, no augmentation.
    """
    raise NotImplementedError("bench/ours.py is not yet plugged into weighbridge.training")


def main() -> None:
    """Print one JSON line with the rate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--padding", choices=["same", "valid"], default="same")
    options = parser.parse_args()
    rate = train_rows_per_second(options.batch_size, options.seconds, options.precision, options.padding)
    print(json.dumps({"rows_per_second": rate}))


if __name__ == "__main__":
    main()
