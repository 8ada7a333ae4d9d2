"""The state folder of a server: what access needs of it, opened and made at first start.

STATE/keys.json     the keys' hashes, mode 0600          keys.py
STATE/usage.json    rows of the day, day of last use     quota.py
STATE/trail/        who did what                         trail.py
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from weighbridge.serving.access import Access
from weighbridge.serving.hosts import hosts_of
from weighbridge.serving.keys import KeyFile, Keys
from weighbridge.serving.oidc import Oidc, read_settings
from weighbridge.serving.quota import Usage
from weighbridge.serving.trail import Trail
from weighbridge.serving.trail_notes import Notes
from weighbridge.storage import write_private

FIRST_KEY = "first-admin-key"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What decides about requests, and where it is written down."""

    access: Access
    trail: Trail
    notes: Notes

    def close(self) -> None:
        """What was noted is on the disk, and an anchor where there is a file for it. Raises StorageError."""
        self.access.usage.save()
        self.notes.close()
        self.trail.close()


def open_guard(
    state: Path, *, bind: str, names: Iterable[str] = (), oidc: Path | None = None, anchor_file: Path | None = None, terminal: TextIO
) -> Guard:
    """Return the guard of a state folder; at the first start an admin key is made and shown once on `terminal`.

    Raises UsageError, RunError, StorageError in one line; then nothing is served.
    """
    hosts = hosts_of(bind, names)
    trail = Trail(state / "trail", anchor_file=anchor_file)
    tokens = None if oidc is None else Oidc(read_settings(oidc))
    made = KeyFile(state).first()
    if made is not None:
        trail.add("key.made", "first start", {"key": made[0].id, "roles": sorted(made[0].roles)})
        show_first(made[1], state, terminal)
    notes = Notes(trail)
    access = Access(Keys(state), hosts, oidc=tokens, usage=Usage(state), on_event=notes.note)
    return Guard(access=access, trail=trail, notes=notes)


def show_first(text: str, state: Path, terminal: TextIO) -> None:
    """A person sees the key once; where nobody looks (a log collects the output), it waits in a file that only the owner reads."""
    if terminal.isatty():
        terminal.write(f"\nThis is the admin key. It is shown once and kept nowhere; make others with `weigh keys add`.\n\n    {text}\n\n")
    else:
        write_private(state / FIRST_KEY, text.encode("ascii") + b"\n")
        terminal.write(f"the admin key is in {state / FIRST_KEY}: take it from there and remove the file\n")
    terminal.flush()
