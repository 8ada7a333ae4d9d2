"""`weigh deploy key` and `weigh deploy sign`: who made a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weighbridge.cli.show import say


def key(
    name: Annotated[Path, typer.Argument(metavar="NAME", help="Where the pair goes: NAME.private.pem and NAME.public.pem.")],
) -> None:
    """Make a key pair: the private key signs packages, the public one goes to those who are to trust them."""
    from weighbridge.deployment.signing import make_key

    pair = make_key(name)
    say(f"wrote {pair.private} (keep it: only its owner can read it) and {pair.public} (give it away)")
    say(f"the key is {pair.fingerprint}; next: weigh deploy sign PACKAGE --key {pair.private}, then --trust {pair.public}")


def sign(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="A package: RUN/deployment/package, or a .zip of it.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key: PEM (PKCS #8), Ed25519.")],
) -> None:
    """Sign a package: who trusts the public key can tell that it is yours and unchanged."""
    from weighbridge.deployment.signing import read_private_key, sign_package

    now, before = sign_package(package, read_private_key(key))
    replaced = f", before by {before.fingerprint}" if before is not None and before.fingerprint != now.fingerprint else ""
    say(f"{package} is signed by {now.fingerprint}{replaced}")
