"""A trained network as an ONNX graph, and the proof that both say the same."""

from weighbridge.export.onnx import Parity, check_parity, export_onnx, parity_of

__all__ = ["Parity", "check_parity", "export_onnx", "parity_of"]
