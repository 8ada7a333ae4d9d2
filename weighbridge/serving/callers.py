"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from weighbridge.serving.quota import Allowance


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks: `who` is a key's id, `oidc:SUBJECT`, or empty on a public route."""

    who: str
    roles: frozenset[str]
    allowance: Allowance = field(default_factory=Allowance)


NOBODY = Caller(who="", roles=frozenset())
