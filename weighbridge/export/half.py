"""Weights as float16: half the bytes, the same speed, since onnxruntime casts them back once, when it loads the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from weighbridge.errors import FormError
from weighbridge.export.form import begin, finish
from weighbridge.export.rewrite import array, readers, swap, weights

LARGEST = float(np.finfo(np.float16).max)
SCALED = ("QuantizeLinear", "DequantizeLinear")  # whose scales onnxruntime wants to see as they are, to fuse what stands around them


def half(source: Path, target: Path) -> None:
    """`target` is the graph of `source` with its float32 weights stored as float16 where that takes fewer bytes.

    What it computes with is float32 as before, each weight within 2^-11 of its own size (below 6e-5 within 3e-8). Weights beyond 65,504,
    biases, normalisations and scales stay; so do integers, and a graph of integers can be halved further by what is left.
    Raises FormError when no weight takes fewer bytes so.
    """
    model, was_sparse = begin(source)
    graph, changed = model.graph, 0
    read_by = readers(graph)
    for name, tensor in weights(graph).items():
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0) > LARGEST or any(node.op_type in SCALED for node in read_by[name]):
            continue
        stored = array(values.astype(np.float16), f"{name}:half")
        cast = helper.make_node("Cast", [stored.name], [name], name=f"{name}:cast", to=TensorProto.FLOAT)
        changed += swap(graph, tensor, [stored], [cast])
    if not changed:
        raise FormError("no weight of the graph takes fewer bytes as float16", do="the graph holds no large float32 weights")
    finish(model, target, was_sparse=was_sparse)
