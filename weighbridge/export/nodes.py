"""A graph built by hand: the encoder's blocks in, `output` out, standard operators only, equal calls in equal order give equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weighbridge.errors import RefusedArtefact
from weighbridge.storage import write_bytes

if TYPE_CHECKING:
    from weighbridge.preprocessing import Block

OPSET, ML_OPSET, IR = 20, 5, 10
ML = "ai.onnx.ml"
ROWS = "rows"
MOST_BYTES = 2 << 30  # protobuf's limit, and that of a package
TO_END = np.iinfo(np.int64).max


class Graph:
    """Nodes and constants in the order in which they are asked for; values are known by their names."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], tuple[str, Any]] = {}

    def add(self, operator: str, *inputs: str, domain: str = "", output: str = "", more: Sequence[str] = (), **attributes: Any) -> str:
        """Return the name of the value that the operator makes of its inputs; `more` are names of its further outputs."""
        from onnx import helper

        name = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name, *more], domain=domain, **attributes))
        return name

    def constant(self, values: Any, dtype: Any = None) -> str:
        """Return the name of a constant; equal ones are held once."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))  # contiguous alone would make a number a row
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = (name, numpy_helper.from_array(array, name))
        return self._constants[key][0]

    def cast(self, value: str, dtype: Any) -> str:
        """Return the value as another type of numbers."""
        return self.add("Cast", value, to=onnx_type(dtype))

    def slice(self, value: str, start: int, stop: int, axis: int) -> str:
        """Return `value[start:stop]` along an axis; a negative place counts from the end."""
        return self.add("Slice", value, *(self.constant([place], np.int64) for place in (start, stop, axis)))

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Return the value in another shape; 0 keeps the length that stands at this place, -1 is what is left."""
        return self.add("Reshape", value, self.constant(shape, np.int64))

    def sum(self, value: str, axis: int) -> str:
        """Return the sums along an axis, which is gone."""
        return self.add("ReduceSum", value, self.constant([axis], np.int64), keepdims=0)

    def joined(self, values: Sequence[str], axis: int = 1) -> str:
        """Return the values side by side."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=axis)

    def sorted(self, value: str) -> str:
        """Return each row of a value [B, M] from its lowest number to its highest."""
        width = self.add("Shape", value, start=1, end=2)
        return self.add("TopK", value, width, more=[f"places_{len(self._nodes)}"], axis=1, largest=0, sorted=1)

    def repeated(self, values: Any, dtype: Any, like: str) -> str:
        """Return a constant [...] once for each row of `like`: [B, ...]."""
        shape = self.joined([self.rows_of(like), self.constant(np.shape(values), np.int64)], axis=0)
        return self.add("Expand", self.constant(np.asarray(values)[None], dtype), shape)

    def rows_of(self, value: str) -> str:
        """Return how many rows a value has, int64 [1]."""
        return self.add("Shape", value, start=0, end=1)

    def save(self, path: Path, blocks: Sequence[Block], answer: str, columns: int | None) -> None:
        """`path` is the checked graph whose `output` is `answer`: float32 [n, columns], or float64 [n] where `columns` is None; atomic.

        Raises RefusedArtefact for a graph that is too large to be one file, or holds weights that are not finite.
        """
        import onnx
        from onnx import helper

        self.add("Identity", answer, output="output")
        taken = [helper.make_tensor_value_info(block.name, onnx_type(block.dtype), _shape(block, k)) for k, block in enumerate(blocks)]
        given = helper.make_tensor_value_info("output", onnx_type(np.float64), [ROWS])
        if columns is not None:
            given = helper.make_tensor_value_info("output", onnx_type(np.float32), [ROWS, columns])
        self._refuse_what_can_not_be_kept()
        graph = helper.make_graph(self._nodes, "baseline", taken, [given], [tensor for _, tensor in self._constants.values()])
        versions = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=versions, ir_version=IR, producer_name="weighbridge")
        onnx.checker.check_model(model)
        write_bytes(path, model.SerializeToString(deterministic=True))

    def _refuse_what_can_not_be_kept(self) -> None:
        size = sum(node.ByteSize() for node in self._nodes) + sum(tensor.ByteSize() for _, tensor in self._constants.values())
        if size >= MOST_BYTES:
            raise RefusedArtefact(f"the graph would have {size:,} bytes, at most {MOST_BYTES:,} fit in a file", do="keep the network")
        for dtype, _, content in self._constants:
            if np.dtype(dtype).kind == "f" and not np.isfinite(np.frombuffer(content, dtype)).all():
                raise RefusedArtefact("the fitted baseline has a weight that is not finite", do="look for a huge value in training rows")


def onnx_type(dtype: Any) -> int:
    """Return the number by which ONNX knows a numpy type."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _shape(block: Block, place: int) -> list[str | int]:
    return [ROWS, f"length_{place}"] if block.kind == "text" else [ROWS, *block.shape]
