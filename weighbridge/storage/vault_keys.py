"""Where the keys of a vault come from: a file, the environment, or a command that asks a key service.

| source | keys |
| --- | --- |
| `file:PATH`, or a path | one key a line in base64, the newest first; nobody but the owner may read the file |
| `env` or `env:NAME` | the same in WEIGHBRIDGE_KEY or NAME, separated by spaces |
| `kms:COMMAND ARGUMENTS` | what the command prints, such as `aws kms decrypt ... --output text`; started without a shell |

A source is given by who starts the server, never by a recipe or a package: a command that travels with a model would run on every
machine that loads it. Errors name the source, never what it holds.
"""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from weighbridge.errors import VaultError, did_you_mean
from weighbridge.storage.files import write_private
from weighbridge.storage.vault import KEY_BYTES, Vault

VARIABLE = "WEIGHBRIDGE_KEY"
MOST_BYTES = 65_536
COMMAND_TIMEOUT_S = 30.0
DO = "make one with `weigh keys vault FILE`"


def open_vault(source: str, *, environment: Mapping[str, str] | None = None, timeout_s: float = COMMAND_TIMEOUT_S) -> Vault:
    """Return the vault with the keys of `source`. Raises VaultError in one line that never holds a part of a key."""
    environment = os.environ if environment is None else environment
    kind, colon, rest = source.partition(":")
    if kind == "env":
        return Vault(_parsed(_from_environment(rest or VARIABLE, environment), f"the variable {rest or VARIABLE}"))
    if kind == "kms" and colon:
        return Vault(_parsed(_from_command(rest, environment, timeout_s), "the command of kms:"))
    if kind == "file" and colon:
        return Vault(_parsed(_from_file(Path(rest)), rest))
    if colon and "/" not in kind and len(kind) > 1:  # one letter is a drive of Windows
        raise VaultError(
            f"no keys of a vault come from '{kind}:'{did_you_mean(kind, ('file', 'env', 'kms'))}", do="give file:, env: or kms:"
        )
    return Vault(_parsed(_from_file(Path(source)), source))


def add_key(path: Path) -> Vault:
    """`path` holds a new key on top of those that it held, mode 0600; return its vault. Raises VaultError, StorageError."""
    older = _from_file(path).split() if path.exists() else []
    text = "\n".join([base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii"), *older])
    vault = Vault(_parsed(text, str(path)))
    write_private(path, text.encode("ascii") + b"\n")
    return vault


def _from_file(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise VaultError(f"the key file {path} can not be read ({error.strerror})", do=DO) from None
    if os.name != "nt" and stat.S_IMODE(found.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise VaultError(f"others may read the key file {path} (mode {mode})", do=f"chmod 600 {shlex.quote(str(path))}")
    return _text(content, str(path))


def _from_environment(name: str, environment: Mapping[str, str]) -> str:
    if not environment.get(name, "").strip():
        raise VaultError(
            f"the variable {name} holds no key", do=f"set it to {KEY_BYTES} random bytes in base64, e.g. openssl rand -base64 32"
        )
    return environment[name]


def _from_command(command: str, environment: Mapping[str, str], timeout_s: float) -> str:
    """Return what the command prints. Its standard error is thrown away: it may hold what must not be logged."""
    words = _words(command)
    own = {name: value for name, value in environment.items() if name != VARIABLE}
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=own, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise VaultError(f"{words[0]}, which kms: names, gave no key in {timeout_s:g} s", do="run it by hand and see why") from None
    except OSError as error:
        raise VaultError(f"{words[0]}, which kms: names, can not be started ({error.strerror})", do="check its path") from None
    if done.returncode:
        raise VaultError(f"{words[0]}, which kms: names, failed with exit code {done.returncode}", do="run it by hand and see why")
    return _text(done.stdout, f"{words[0]}, which kms: names,")


def _words(command: str) -> list[str]:
    """Return the command with its program's full path. Raises VaultError for none, or one that does not exist."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise VaultError("the command after kms: has an open quote", do="close it") from None
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise VaultError(f"kms: needs a program that exists, not '{words[0] if words else ''}'", do="give its full path")
    return [program, *words[1:]]


def _text(content: bytes, where: str) -> str:
    if len(content) > MOST_BYTES or not content.isascii():
        raise VaultError(f"{where} holds no keys in base64, one a line", do=DO)
    return content.decode("ascii")


def _parsed(text: str, where: str) -> list[bytes]:
    """Return the keys of a text, in its order. Raises VaultError with the number of the one that is none."""
    keys = []
    for at, word in enumerate(text.split(), start=1):
        try:
            keys.append(base64.b64decode(word, validate=True))
        except ValueError:  # also for letters beyond ASCII
            raise VaultError(f"key {at} of {where} is not base64", do=DO) from None
        if len(keys[-1]) != KEY_BYTES:
            raise VaultError(f"key {at} of {where} has {len(keys[-1])} bytes, not {KEY_BYTES}", do=DO)
        if len(set(keys[-1])) < 8:  # 32 random bytes hold fewer than 8 different ones in no world: 1 in 2**150
            raise VaultError(f"key {at} of {where} is not random", do=DO)
    if not keys:
        raise VaultError(f"{where} holds no key", do=DO)
    return keys
