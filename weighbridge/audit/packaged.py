"""The package of what is audited: the run's own where it holds this very form, else one that is filled for the audits only."""

from __future__ import annotations

import tempfile
from pathlib import Path

from weighbridge.audit.subject import Subject, Unmeasured
from weighbridge.errors import RefusedArtefact
from weighbridge.findings import Message
from weighbridge.storage import read_json

HELD = "package"  # under which a subject keeps the folder until it is closed


def package_of(subject: Subject) -> Path:
    """Return the folder of a package of the form. Raises Unmeasured where its network can not be exported."""
    from weighbridge.stages.packaged import fill_package

    own = own_package(subject)
    if own is not None:
        return own
    if HELD not in subject.held:
        made = tempfile.TemporaryDirectory(prefix="weighbridge-")
        try:
            fill_package(subject.recipe, subject.folder, Path(made.name))
        except RefusedArtefact as error:
            made.cleanup()
            raise Unmeasured(Message("{why}", why=str(error))) from None
        subject.held[HELD] = made
    return Path(subject.held[HELD].name)


def own_package(subject: Subject) -> Path | None:
    """Return the folder of the run's package, None where there is none or it holds another form."""
    folder = subject.folder / "deployment" / "package"
    place = folder / "package.json"
    if not place.exists() or read_json(place).get("model_sha256") != subject.kept.sha256:
        return None
    return folder


def fill_s(subject: Subject) -> float:
    """Return about how many seconds it takes until there is a package."""
    if own_package(subject) is not None or HELD in subject.held:
        return 0.0
    return 1.0 if subject.kept.graph else 10.0
