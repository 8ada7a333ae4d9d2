"""The fastest honest PyTorch loop that we could write by hand for the benchmark CNN: the bar that `weigh` is held to.

Run by bench/training.py, which gives it turns on standard input.

Honest: every row is drawn without replacement from a fresh shuffle of all 60,000 images, stored as uint8 and normalised
with the training set's mean and deviation; weights, gradients and optimiser state are float32; the loss is kept.
What was tried and what it brought stands in bench/README.md.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from turns import Turns

FASHION = Path(".data/fashion-mnist")


class Network(nn.Module):
    """3x3 convolutions 32-64-64, 2x2 pooling between them, dense 64, 10 classes: 93,322 weights unpadded, 257,162 padded."""

    def __init__(self, padding: str = "same", relu_first: bool = False) -> None:
        super().__init__()
        edge, side = (1, 7) if padding == "same" else (0, 3)
        self.first, self.second, self.third = (nn.Conv2d(a, b, 3, padding=edge) for a, b in ((1, 32), (32, 64), (64, 64)))
        self.dense, self.out = nn.Linear(64 * side * side, 64), nn.Linear(64, 10)
        self.relu_first = relu_first

    def forward(self, x: Tensor) -> Tensor:
        x = self._pool(self.first(x))
        x = self._pool(self.second(x))
        x = F.relu(self.third(x), inplace=True).flatten(1)
        return self.out(F.relu(self.dense(x), inplace=True))

    def _pool(self, x: Tensor) -> Tensor:
        if self.relu_first:
            return F.max_pool2d(F.relu(x, inplace=True), 2)
        return F.relu(F.max_pool2d(x, 2), inplace=True)  # the same function with a quarter of the work: max and ReLU commute


def images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 [60000, 28, 28] and int64 [60000] of Fashion-MNIST's training side (examples/fetch.py fashion-mnist)."""
    images = np.frombuffer(gzip.decompress((FASHION / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((FASHION / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28).copy(), labels.astype(np.int64)


def serve(batch_size: int, seconds: float, precision: str, options: argparse.Namespace) -> None:
    """Train while it has the turn."""
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    images, labels = (torch.from_numpy(array) for array in images_and_labels())
    images = images[:, None]
    mean, deviation = images.float().mean() / 255, images.float().std() / 255
    images, labels = images.to(options.device), labels.to(options.device)
    memory_format = torch.contiguous_format if options.contiguous else torch.channels_last
    network = Network(options.padding, options.relu_first).to(options.device).to(memory_format=memory_format)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    torch.set_flush_denormal(True)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=1e-3, weight_decay=1e-4, fused=not options.foreach, foreach=options.foreach or None
    )
    # (x / 255 - mean) / deviation as one multiply-add on the whole batch
    scale, shift = float(1 / (255 * deviation)), float(-mean / deviation)
    total = torch.zeros((), device=options.device)
    step, turns = 0, Turns(seconds, batch_size)
    while True:
        order = torch.randperm(len(images), device=options.device)
        for index in order.split(batch_size):
            if len(index) < batch_size:
                continue
            x = images.index_select(0, index).to(kind).mul_(scale).add_(shift).contiguous(memory_format=memory_format)
            y = labels.index_select(0, index)
            with torch.autocast(options.device, torch.bfloat16, enabled=precision == "bf16"):
                loss = F.cross_entropy(network(x).float(), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.detach()
            step += 1
            if not turns.tick(step):
                return


def main() -> None:
    """Serve turns until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--padding", choices=["same", "valid"], default="same")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cuda: images, labels and network lie on the GPU")
    parser.add_argument("--contiguous", action="store_true", help="variant: no channels-last")
    parser.add_argument("--foreach", action="store_true", help="variant: foreach AdamW in place of the fused one")
    parser.add_argument("--relu-first", action="store_true", help="variant: ReLU before the pooling")
    options = parser.parse_args()
    serve(options.batch_size, options.seconds, options.precision, options)


if __name__ == "__main__":
    main()
