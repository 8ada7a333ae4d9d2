"""Which names a server answers to, and where it may listen: against DNS rebinding, cross-site requests and an open door by mistake.

A page of another site can make a browser send requests here, under its own name (rebinding) or with its own Origin. The server knows no
cookies and sends no CORS header, so such a page has no credential and can read nothing; these checks hold even where a credential leaked
into a browser. Names are compared as RFC 9110 and RFC 3986 say (case, one trailing dot, IPv6 spellings), numbers in odd spellings
(`127.1`, `0x7f000001`) are no names that anyone was given and are refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from weighbridge.errors import UsageError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
UNSPECIFIED = ("", "0.0.0.0", "::")
AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,254})(?::([0-9]{1,5}))?", re.ASCII)
ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)", re.ASCII | re.IGNORECASE)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """Why a request is not for this server: status 400 (no host can be read), 421 (another name) or 403 (from another site)."""

    status: int
    code: str
    what: str


@dataclass(frozen=True)
class Hosts:
    """The names of a server, in the form that `normal` gives them."""

    names: frozenset[str]
    _read: dict[bytes, tuple[str, int | None] | None] = field(default_factory=dict, compare=False, repr=False)

    def wrong_host(self, given: list[bytes], *, server: str = "", target: bytes = b"") -> Wrong | None:
        """Return what is wrong with a request's Host headers, or None.

        Args: given, the value of every Host header; server, the address at which the connection arrived: a browser that was sent to
        an address (a probe, a person) names that address, and no foreign page can; target, the request's target where it is known: in
        its absolute form it names the host a second time.
        """
        if len(given) != 1:
            return Wrong(status=400, code="host", what=f"a request has one Host header, not {len(given)}")
        host = self._host(given[0])
        if host is None:
            return Wrong(status=400, code="host", what="the Host header is not a name or an address, with or without a port")
        if target and not target.startswith(b"/") and target != b"*" and self._host(_authority(target)) != host:
            return Wrong(status=400, code="host", what="the request's target names another host than its Host header")
        if host[0] not in self.names and host[0] != normal(server):
            return Wrong(
                status=421, code="host", what="this server has another name than the request's Host header; start it with --host-name NAME"
            )
        return None

    def wrong_origin(self, method: str, host: bytes, origins: list[bytes], site: bytes) -> Wrong | None:
        """Return what is wrong with where a request comes from, or None: one that changes nothing may come from anywhere."""
        if method in SAFE_METHODS or (not origins and site in (b"", b"same-origin", b"none")):
            return None
        if len(origins) == 1 and same_origin(origins[0], self._host(host)) and site in (b"", b"same-origin"):
            return None
        return Wrong(status=403, code="origin", what="a page of another site can not use this server")

    def _host(self, given: bytes) -> tuple[str, int | None] | None:
        """Return `read_authority`, remembered for the few values that come again and again."""
        try:
            return self._read[given]
        except KeyError:
            found = read_authority(given)
            if len(self._read) < 1000:
                self._read[given] = found
            return found


def hosts_of(bind: str, names: Iterable[str] = ()) -> Hosts:
    """Return the names of a server: loopback, the address it is bound to, and those given. Raises UsageError for what is no name."""
    known = {*LOOPBACK, *([] if bind in UNSPECIFIED else [_given(bind)])}
    return Hosts(frozenset(known | {_given(name) for name in names}))


def read_authority(given: bytes) -> tuple[str, int | None] | None:
    """Return (name, port or None) of a Host header or a target's authority, or None when it is not well formed."""
    try:
        parts = AUTHORITY.fullmatch(given.decode("ascii"))
    except UnicodeDecodeError:
        return None
    if parts is None or not (name := normal(parts[1])):
        return None
    port = None if parts[2] is None else int(parts[2])
    return None if port is not None and not 0 < port < 65_536 else (name, port)


def normal(name: str) -> str:
    """Return a name in lower case without brackets and one trailing dot, an IPv6 address in its shortest form; "" for a bad one."""
    name = name.lower()
    if name.startswith("[") or ":" in name:
        try:
            return str(ipaddress.IPv6Address(name.strip("[]")))
        except ValueError:
            return ""
    name = name.removesuffix(".")
    return "" if name.startswith((".", "-")) or ".." in name or name.endswith(".") else name


def same_origin(origin: bytes, host: tuple[str, int | None] | None) -> bool:
    """Return whether an Origin header names the same host and port as the Host header, whose default port is that of the origin."""
    parts = ORIGIN.fullmatch(origin.decode("latin-1"))
    if parts is None or host is None:
        return False
    named = read_authority(parts[2].encode("latin-1"))
    default = PORTS[parts[1].lower()]
    return named is not None and (named[0], named[1] or default) == (host[0], host[1] or default)


def check_bind(host: str, *, tls: bool, insecure: bool = False) -> None:
    """Nothing, where a server may listen at `host`. Raises UsageError: keys and rows would cross a network that others can read."""
    if tls or insecure or is_loopback(host):
        return
    raise UsageError(
        f"{host or 'every address'} can be reached from other machines, and without TLS keys and rows can be read on the way",
        do="give --tls-cert and --tls-key, or bind to 127.0.0.1, or say --insecure-bind where something in front of it does TLS",
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`. A name other than localhost is taken for one that others reach."""
    name = normal(host)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _authority(target: bytes) -> bytes:
    """Return the authority of an absolute target, or of a CONNECT's."""
    return re.split(rb"[/?#]", target.partition(b"://")[2], maxsplit=1)[0] if b"://" in target else target


def _given(name: str) -> str:
    bracketed = f"[{name}]" if ":" in name and not name.startswith("[") else name
    found = read_authority(bracketed.encode("utf-8"))
    if found is None or found[1] is not None:
        raise UsageError(f"{name!r} is no name of a server", do="give a name such as models.example.org or an address, without a port")
    return found[0]
