"""Files that are whole or absent, hashes, locks and tensors: everything that touches a disk."""

from weighbridge.storage.files import (
    Disk,
    OsDisk,
    atomic_path,
    current_disk,
    fresh_folder,
    make_folder,
    move,
    read_json,
    remove,
    sweep,
    use_disk,
    write_bytes,
    write_json,
    write_private,
    write_text,
)
from weighbridge.storage.hashes import canonical_json, sha256_bytes, sha256_file, sha256_json, sha256_tree
from weighbridge.storage.lock import FolderLock

__all__ = [
    "Disk",
    "FolderLock",
    "OsDisk",
    "atomic_path",
    "canonical_json",
    "current_disk",
    "fresh_folder",
    "make_folder",
    "move",
    "read_json",
    "remove",
    "sha256_bytes",
    "sha256_file",
    "sha256_json",
    "sha256_tree",
    "sweep",
    "use_disk",
    "write_bytes",
    "write_json",
    "write_private",
    "write_text",
]
