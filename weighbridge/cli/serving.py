"""Options that `weigh serve` and `weigh watch` share: where to listen, with what, what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond this machine it needs TLS.")]
Port = Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0: any that is free.")]
Workers = Annotated[int, typer.Option(metavar="N", min=0, help="Processes of each package; 0: one a physical core.")]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="The certificate, PEM.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key, PEM.")]
InsecureBind = Annotated[bool, typer.Option("--insecure-bind", help="Listen beyond this machine without TLS.")]
HostNames = Annotated[
    list[str] | None, typer.Option("--host-name", metavar="NAME", help="A name under which clients reach this server.")
]  # fmt: skip
VaultSource = Annotated[
    str, typer.Option("--vault", metavar="SOURCE", help="The key that seals logged inputs and labels, see docs/access.md.")
]
LimitWords = Annotated[
    list[str] | None, typer.Option("--limit", metavar="NAME=NUMBER", help="A limit, e.g. rows=100; see docs/serving.md.")
]  # fmt: skip
HOST, PORT = "127.0.0.1", 8000
