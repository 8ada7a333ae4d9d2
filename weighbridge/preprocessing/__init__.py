"""Columns become arrays: fitted on training rows, stored as JSON, run by the server as they ran in training."""

from weighbridge.preprocessing.encoder import Block, Encoder
from weighbridge.preprocessing.feature import Feature
from weighbridge.preprocessing.prepare import prepare
from weighbridge.preprocessing.pretrained import Source, open_source
from weighbridge.preprocessing.ragged import Ragged
from weighbridge.preprocessing.store import Arrays, arrays_of, open_arrays, write_arrays
from weighbridge.preprocessing.target import TargetFeature
from weighbridge.preprocessing.vectors import vector_width, vectors_sha256

__all__ = [
    "Arrays",
    "Block",
    "Encoder",
    "Feature",
    "Ragged",
    "Source",
    "TargetFeature",
    "arrays_of",
    "open_arrays",
    "open_source",
    "prepare",
    "vector_width",
    "vectors_sha256",
    "write_arrays",
]
