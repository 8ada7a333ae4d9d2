"""Named tensors with JSON beside them in one safetensors file: whole, checked by a digest, unable to carry code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from weighbridge.errors import RunError
from weighbridge.storage.files import write_bytes
from weighbridge.storage.hashes import canonical_json

Tensors = dict[str, Any]  # name -> torch.Tensor


def save_tensors(path: Path, tensors: Tensors, *, meta: dict[str, Any]) -> None:
    """`path` holds the torch tensors and `meta` (JSON) with a SHA-256 over both; atomic. Raises StorageError."""
    from safetensors.torch import save

    flat = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = canonical_json(meta)
    # one key only: the library writes several in an order that differs from process to process, and equal states shall be equal files
    header = {"weighbridge": canonical_json({"meta": text, "sha256": _digest(flat, text)})}
    write_bytes(path, save(flat, metadata=header))


def load_tensors(path: Path, *, device: str = "cpu") -> tuple[Tensors, dict[str, Any]]:
    """Return the torch tensors on `device` and the JSON of a file. Raises RunError when a bit of it changed."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = dict(json.loads((file.metadata() or {})["weighbridge"]))
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        meta = str(header.get("meta", ""))
        digest = _digest(tensors, meta)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if header.get("sha256") != digest:
        raise _damaged(path, "its digest does not match")
    return {name: value.to(device) for name, value in tensors.items()}, dict(json.loads(meta))


def digest_tensors(tensors: Tensors) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of torch tensors: a model's identity."""
    return _digest({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, "")


def _digest(tensors: Tensors, meta: str) -> str:
    import torch

    digest = hashlib.sha256(meta.encode("utf-8"))
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\x1e{name}\x1f{value.dtype}\x1f{tuple(value.shape)}\x1f".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"{path} is damaged: {why}", do="remove it and run the same command again")
