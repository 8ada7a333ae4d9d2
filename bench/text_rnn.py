"""The recurrent reader of Weighbridge beside the plain way: one nn.LSTM of both directions over packed sequences, in tokens a second.

Run by bench/text.py, which gives it turns. Same embedded width, same layer, same pooling (mean and maximum over tokens), same update rule,
clipping and rows as `weigh`; the hand loop draws random rows, as such programs do, or rows of like length with `--grouped`.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from text_ours import parser
from text_tasks import CLIP, DECAY, LR, prepared
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from turns import Turns

from weighbridge import preprocessing
from weighbridge.preprocessing import Ragged
from weighbridge.storage import read_json
from weighbridge.training.batches import Batches

DROPOUT = 0.1


class Plain(nn.Module):
    """int [B, L] -> float [B, 2]: embedding, LSTM of both directions over packed rows, mean and maximum, a linear map."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.dropout, self.out = nn.Dropout(DROPOUT), nn.Linear(4 * width, 2)

    def forward(self, codes: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.dropout(self.table(codes)), lengths, batch_first=True, enforce_sorted=False)
        x, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        held = (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
        mean = (x * held).sum(1) / lengths[:, None]
        return self.out(self.dropout(torch.cat([mean, x.masked_fill(~held, -1e4).amax(1)], dim=1)))


def serve(options: argparse.Namespace) -> None:
    """Train while it has the turn."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    folder = prepared("rnn", options.texts) / "preprocessing"
    encoder = preprocessing.Encoder.from_json(read_json(folder / "encoder.json"))
    arrays = preprocessing.open_arrays(folder / "train")
    [name] = arrays.blocks
    texts = arrays.blocks[name]
    assert isinstance(texts, Ragged)
    assert arrays.target is not None
    network = Plain(encoder.blocks[0].cardinalities[0], 128)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=DECAY, fused=True)
    batches = Batches(arrays=arrays, batch_size=options.batch_size, seed=0, device=torch.device("cpu"))
    turns, tokens, epoch = Turns(options.seconds, 1), 0, 0
    while True:
        order = np.concatenate(list(batches.windows(epoch))) if options.grouped else np.random.default_rng(epoch).permutation(len(texts))
        epoch += 1
        for rows in np.array_split(order, len(order) // options.batch_size):
            lengths = torch.from_numpy(np.maximum(1, texts.lengths[rows]))
            loss = F.cross_entropy(network(torch.from_numpy(texts[rows]).long(), lengths), torch.from_numpy(arrays.target[rows]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            tokens += int(texts.lengths[rows].sum())
            if not turns.tick(tokens):
                return


def main() -> None:
    """Serve turns until standard input ends."""
    options = parser()
    options.add_argument("--grouped", action="store_true")
    serve(options.parse_args())


if __name__ == "__main__":
    main()
