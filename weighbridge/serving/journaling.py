"""Where and how answers are logged, as the front tells it to the workers: plain values, no key in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weighbridge.errors import PackageError

if TYPE_CHECKING:
    from weighbridge.feedback.journal import Journal
    from weighbridge.runtime import Model


@dataclass(frozen=True, kw_only=True)
class Journaling:
    """The prediction log of a server.

    Attributes:
        folder: each worker appends to a file of its own there, before it answers.
        inputs: whether inputs are kept, as a keyed fingerprint only, or not at all.
        vault: where the key that seals inputs and labels comes from (storage.vault_keys), "" to keep them as they are.
        strict: an answer that can not be logged is refused (503); else it leaves and is counted.
    """

    folder: Path
    inputs: Literal["keep", "fingerprint", "none"] = "keep"
    vault: str = ""
    strict: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder.absolute())}


def open_journal(told: dict[str, Any] | None, model: Model, name: str) -> Journal | None:
    """Return the journal of a worker, None where nothing is logged. Raises WeighbridgeError: no key, no folder."""
    if told is None:
        return None
    from weighbridge.feedback.journal import Journal

    kept = Journaling(**told | {"folder": Path(told["folder"])})
    if model.info.content.get("encrypt") is True and not kept.vault:
        what = f"the package {name} asks that inputs and labels are kept sealed (deployment.encrypt), and there is no key to seal them with"
        raise PackageError(what, do="start the server with --vault, or without --log")
    vault = None
    if kept.vault:
        from weighbridge.storage.vault_keys import open_vault

        vault = open_vault(kept.vault)
    journal = Journal(kept.folder, vault, inputs=kept.inputs, strict=kept.strict)
    journal.describe(model=model.hash, package=name, kind=model.info.kind, classes=model.classes)
    return journal
