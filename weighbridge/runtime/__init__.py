"""A package answers: numpy, onnxruntime and the code that encoded the training rows; no torch, no pandas."""

from weighbridge.runtime.columns import Input, to_columns
from weighbridge.runtime.files import predict_file
from weighbridge.runtime.golden import golden_json
from weighbridge.runtime.model import Answer, Model, load
from weighbridge.runtime.package import GOLDEN_TOLERANCE, PackageInfo, resolve, verify, write_manifest

__all__ = [
    "GOLDEN_TOLERANCE",
    "Answer",
    "Input",
    "Model",
    "PackageInfo",
    "golden_json",
    "load",
    "predict_file",
    "resolve",
    "to_columns",
    "verify",
    "write_manifest",
]
