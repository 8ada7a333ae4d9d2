"""The rival of bench/serving.py: LitServe with batching as its documentation shows it, answering the same graph from the same JSON.

    .venv-bench-serving/bin/python bench/litserve_program.py GRAPH PORT WORKERS BATCH

Reads `{"rows": [{"image": {"uint8": base64, "shape": [H, W]}}]}`, runs a batch at a time in onnxruntime on one thread a worker.
"""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Images(litserve.LitAPI):
    """One image a request; the class of highest probability and all probabilities come back."""

    graph = sys.argv[1]

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])
        self.name = self.session.get_inputs()[0].name

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads the annotation: without one the body is JSON
        image = request["rows"][0]["image"]
        return np.frombuffer(base64.b64decode(image["uint8"]), dtype=np.uint8).reshape(*image["shape"], 1)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        x = x if x.ndim == 4 else x[None]
        return np.asarray(self.session.run(None, {self.name: x})[0])

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        output = output.reshape(-1)
        return {"prediction": int(output.argmax()), "probabilities": output.tolist()}


if __name__ == "__main__":
    port, workers, batch = (int(word) for word in sys.argv[2:5])
    api = Images(max_batch_size=batch, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, timeout=30)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning", access_log=False)
