"""A package's golden rows without the erased ones: the manifest is written anew, and what was signed is signed anew or no longer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weighbridge.deployment.erase_json import Cleaner
from weighbridge.deployment.erase_marks import Marks
from weighbridge.errors import WeighbridgeError
from weighbridge.runtime.package import MANIFEST, write_manifest
from weighbridge.runtime.signature import FILE as SIGNATURE
from weighbridge.storage import read_json, remove, sha256_file, write_json, write_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def packages_in(folder: Path) -> list[Path]:
    """Return the packages under a folder."""
    return sorted(path.parent for path in folder.rglob(MANIFEST) if (path.parent / "golden.json").exists())


def erase_package(package: Path, marks: Marks, key: Ed25519PrivateKey | None) -> str | None:
    """The package holds no golden row that is one of these; return what became of its signature ("", signed, unsigned), None: untouched.

    While it is rewritten it is refused by whoever opens it; killed there, the same call again makes it whole. Raises StorageError.
    """
    changed = _golden(package / "golden.json", marks)
    card = package / "card.md"
    if card.exists() and (made := Cleaner(marks).text(text := card.read_text(encoding="utf-8"))) != text:
        write_text(card, made)
        changed = True
    if not changed and _is_whole(package):
        return None
    was_signed = (package / SIGNATURE).exists()
    write_manifest(package)
    if not was_signed:
        return ""
    if key is not None:
        from weighbridge.deployment.signing import sign_package

        sign_package(package, key)
        return "signed"
    remove(package / SIGNATURE)
    return "unsigned"


def signing_key(where: str | None) -> Ed25519PrivateKey | None:
    """Return the key that the recipe signs with, None where there is none or it can not be read here."""
    from weighbridge.deployment.signing import read_private_key

    try:
        return None if where is None else read_private_key(Path(where))
    except WeighbridgeError:
        return None


def _golden(path: Path, marks: Marks) -> bool:
    """Golden rows that equal an erased one in every column, or hold what only it has, are gone; return whether there were any."""
    told, cleaner = read_json(path), Cleaner(marks)
    columns, outputs = told["columns"], told["outputs"]
    stay = []
    for place in range(len(outputs)):
        row = {name: values[place] for name, values in columns.items()}
        equal = any(all(_same(known.get(name), value) for name, value in row.items()) for known in marks.golden)
        if not equal and not any(cleaner.clean([value])[0] == [] for value in row.values()):
            stay.append(place)
    if len(stay) == len(outputs):
        return False
    kept = {name: [values[place] for place in stay] for name, values in columns.items()}
    write_json(path, {**told, "columns": kept, "outputs": [outputs[place] for place in stay]})
    return True


def _same(known: Any, value: Any) -> bool:
    return bool(known == value)


def _is_whole(package: Path) -> bool:
    """Whether the files are those of the manifest: else a kill came between them and it."""
    files = read_json(package / MANIFEST)["files"]
    return all((package / name).exists() and sha256_file(package / name) == told["sha256"] for name, told in files.items())
