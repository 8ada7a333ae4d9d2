"""Who may do what: one decision for every request, from the route table, default deny.

The order, in which each step sees only what the one before let pass: the Host and where a page stands; a public route; the credential (an
API key or a token); the route; the method; the role; the rate; the day's rows. So who has no key learns nothing about which routes there
are: an unknown one answers 401 like a known one. A credential is read from `Authorization: Bearer` or `x-api-key` and nowhere else: not
from an address, which logs and histories keep, and not from cookies, which a browser sends for any page.

Failures are counted by address (IPv6: by /64, which one client has) in a bounded table. Who failed often is answered 429 and no token of
it is verified, but a key that is right goes through: 2**256 secrets are not found by trying, so a neighbour behind the same address must
not lock others out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from weighbridge.serving.asking import Refused
from weighbridge.serving.callers import NOBODY, Caller
from weighbridge.serving.hosts import Hosts
from weighbridge.serving.keys import PATTERN, ROLES, Keys
from weighbridge.serving.quota import Rates, Usage

if TYPE_CHECKING:
    from weighbridge.serving.oidc import Oidc

PUBLIC: Final = frozenset({"public"})
ANY_ROLE: Final = frozenset(ROLES)
FAILURES_AT_ONCE, FAILURES_PER_S = 10, 1 / 6
MOST_ADDRESSES = 10_000
TOLD_EVERY_S = 60.0
SAVE_S = 10.0
CHALLENGE = 'Bearer realm="weighbridge"'
Headers = Sequence[tuple[bytes, bytes]]
OnEvent = Callable[[str, str, dict[str, Any]], None]
Clock = Callable[[], float]


class Route(Protocol):
    """A row of the route table."""

    @property
    def path(self) -> str: ...
    @property
    def methods(self) -> frozenset[str]: ...
    @property
    def roles(self) -> frozenset[str]:
        """PUBLIC, or the roles of which one is enough; admin always is."""
        ...


class Denied(Refused):
    """A request that may not be answered; `headers` go with the answer.

    Codes: `host` (400, 421), `origin` (403), `credential` (400: two of them), `unauthenticated` (401), `forbidden` (403), `route` (404),
    `method` (405), `throttled`, `rate`, `quota` (429), `access` (503: the file of keys is gone or damaged).
    """

    def __init__(
        self, code: str, status: int, what: str, *, retry_after_s: float | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code, status, retry_after_s, what)
        self.headers = headers or {}


class Access:
    """Decides about requests. For one event loop; `on_event(what, who, facts)` hears of refused logins, for the trail."""

    def __init__(
        self,
        keys: Keys,
        hosts: Hosts,
        *,
        oidc: Oidc | None = None,
        usage: Usage | None = None,
        on_event: OnEvent | None = None,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self.keys, self.hosts, self.oidc, self.usage = keys, hosts, oidc, usage or Usage()
        self._rates, self._monotonic = Rates(), monotonic
        self._failures = Failures(on_event or _nobody_hears, monotonic)

    async def decide(
        self, route: Route | None, method: str, headers: Headers, client: str, *, server: str = "", target: bytes = b""
    ) -> Caller | Denied:
        """Return who may go on, or why not.

        Args: route, of the table, None where none has the path; headers, as they came, names in lower case; client, the address that
        asks; server, the address at which it arrived; target, the target of the request as it was sent, where it is known.
        """
        found = _Found(headers)
        wrong = self.hosts.wrong_host(found.hosts, server=server, target=target) or self.hosts.wrong_origin(
            method, found.hosts[0], found.origins, found.site
        )
        if wrong is not None:
            return Denied(wrong.code, wrong.status, wrong.what)
        if route is not None and route.roles == PUBLIC and method in route.methods:
            return NOBODY
        caller = await self._caller(found, client)
        if isinstance(caller, Denied):
            return caller
        return _not_for(caller, route, method) or self._too_much(caller) or caller

    def charge(self, caller: Caller, rows: int) -> None:
        """The caller was answered `rows` rows; they count from the next request on: what is in flight may pass the day's bound."""
        if caller.who and rows:
            self.usage.charge(caller.who, rows)

    async def keep_saved(self) -> None:
        """What callers used is saved every few seconds, until the task is cancelled; then once more."""
        from weighbridge.errors import StorageError

        try:
            while True:
                await asyncio.sleep(SAVE_S)
                self._failures.tell_due()
                try:
                    await asyncio.to_thread(self.usage.save)
                except StorageError:
                    continue  # a full disk stops no request; the next turn tries again
        finally:
            self.usage.save()
            self._failures.tell_all()

    async def _caller(self, found: _Found, client: str) -> Caller | Denied:
        text = found.credential()
        if isinstance(text, Denied):
            return text
        if self.oidc is None or text.count(".") != 2 or PATTERN.fullmatch(text):
            key = self.keys.check(text)
            if not isinstance(key, str):
                return Caller(who=key.id, roles=key.roles, allowance=key.allowance)
            if self.keys.damage:
                return Denied("access", 503, "the server's keys can not be read", retry_after_s=10.0)
            return self._failed(client, f"the key {key}", text)
        return await self._bearer(self.oidc, text, client)

    async def _bearer(self, oidc: Oidc, token: str, client: str) -> Caller | Denied:
        caller = oidc.known(token)
        if caller is not None:
            return caller
        if wait_s := self._failures.wait_s(client):
            return _throttled(wait_s)
        checked = await oidc.check(token)
        return checked if isinstance(checked, Caller) else self._failed(client, f"the token {checked}", "")

    def _failed(self, client: str, why: str, text: str) -> Denied:
        key = PATTERN.fullmatch(text)
        wait_s = self._failures.count(client, why, key[1] if key else "")
        if wait_s:
            return _throttled(wait_s)
        return Denied("unauthenticated", 401, why, headers={"www-authenticate": f'{CHALLENGE}, error="invalid_token"'})

    def _too_much(self, caller: Caller) -> Denied | None:
        allowance, who = caller.allowance, caller.who
        self.usage.seen(who)
        if allowance.rate_per_s is not None:
            wait_s = self._rates.take(who, allowance.rate_per_s, allowance.at_once, self._monotonic())
            if wait_s:
                what = f"this key may ask {allowance.rate_per_s:g} times a second, {allowance.at_once} at once"
                return Denied("rate", 429, what, retry_after_s=wait_s)
        if allowance.rows_per_day is not None and self.usage.rows(who) >= allowance.rows_per_day:
            what = f"this key may ask for {allowance.rows_per_day} rows a day (UTC), and they are used"
            return Denied("quota", 429, what, retry_after_s=self.usage.until_tomorrow_s())
        return None


class Failures:
    """Failed attempts by address: each is counted, an address is told of once a minute, and the table has a bound."""

    def __init__(self, on_event: OnEvent, monotonic: Clock) -> None:
        self._on_event, self._monotonic = on_event, monotonic
        self._rates = Rates(most=MOST_ADDRESSES)
        self._untold: dict[str, dict[str, Any]] = {}
        self._told_s = -math.inf

    def wait_s(self, client: str) -> float:
        """Return how long the address has to wait until it may fail again."""
        return self._rates.wait_s(network(client), FAILURES_PER_S, FAILURES_AT_ONCE, self._monotonic())

    def count(self, client: str, why: str, key: str) -> float:
        """One more failure of an address: return how long it has to wait, 0 for the first few."""
        address, now_s = network(client), self._monotonic()
        wait_s = self._rates.take(address, FAILURES_PER_S, FAILURES_AT_ONCE, now_s)
        if address not in self._untold and len(self._untold) >= MOST_ADDRESSES:
            address = "others"
        facts = self._untold.setdefault(address, {"address": address, "times": 0})
        facts |= {"times": facts["times"] + 1, "why": why} | ({"key": key} if key else {})
        self.tell_due()
        return wait_s

    def tell_due(self) -> None:
        """What was counted is told when a minute has passed since the last time; the first failure at once."""
        if self._monotonic() - self._told_s >= TOLD_EVERY_S and self._untold:
            self._told_s = self._monotonic()
            self.tell_all()

    def tell_all(self) -> None:
        """What was counted is told: the addresses that failed most by name, the rest in one number, so that a flood fills no disk."""
        worst = sorted(self._untold.values(), key=lambda facts: -facts["times"])
        self._untold = {}
        for facts in worst[:20]:
            self._on_event("login.refused", "", facts)
        if worst[20:]:
            facts = {"address": f"{len(worst) - 20} others", "times": sum(one["times"] for one in worst[20:])}
            self._on_event("login.refused", "", facts)


class _Found:
    """What the decision needs of the headers, found in one pass."""

    __slots__ = ("bearers", "hosts", "keys", "origins", "site")

    def __init__(self, headers: Headers) -> None:
        self.hosts: list[bytes] = []
        self.origins: list[bytes] = []
        self.bearers: list[bytes] = []
        self.keys: list[bytes] = []
        self.site = b""
        for name, value in headers:
            if name == b"host":
                self.hosts.append(value)
            elif name == b"authorization":
                self.bearers.append(value)
            elif name == b"x-api-key":
                self.keys.append(value)
            elif name == b"origin":
                self.origins.append(value)
            elif name == b"sec-fetch-site":
                self.site = value

    def credential(self) -> str | Denied:
        """Return the one key or token of the request."""
        if not self.bearers and not self.keys:
            what = "this needs a key, as `Authorization: Bearer KEY` or `x-api-key: KEY`"
            return Denied("unauthenticated", 401, what, headers={"www-authenticate": CHALLENGE})
        if len(self.bearers) + len(self.keys) > 1:
            return Denied("credential", 400, "a request has one credential, not several")
        if self.keys:
            return self.keys[0].decode("latin-1")
        scheme, _, text = self.bearers[0].decode("latin-1").partition(" ")
        return text.strip(" ") if scheme.lower() == "bearer" else ""


def check_table(routes: Iterable[Route], public: Iterable[str]) -> None:
    """Nothing, where every route has its decision. Raises ValueError that names each one that has none, or is public by mistake.

    Args: public, the paths that may be public; one that no route has any more is a stale exemption and an error, too.
    """
    wrong, allowed, seen = [], set(public), set[tuple[str, str]]()
    for route in routes:
        if not route.methods:
            wrong.append(f"{route.path} has no method")
        if route.roles != PUBLIC and (not route.roles or not route.roles <= ANY_ROLE):
            wrong.append(f"{route.path} has no decision: its roles are {sorted(route.roles)}")
        if route.roles == PUBLIC and route.path not in allowed:
            wrong.append(f"{route.path} is public and not among the exemptions")
        wrong += [f"{method} {route.path} stands twice" for method in route.methods if (route.path, method) in seen]
        seen |= {(route.path, method) for method in route.methods}
        if route.roles == PUBLIC:
            allowed.discard(route.path)
    wrong += [f"the exemption {path} is stale: no public route has it" for path in sorted(allowed)]
    if wrong:
        raise ValueError("; ".join(wrong))


def network(client: str) -> str:
    """Return the address by which failures are counted: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))


def _not_for(caller: Caller, route: Route | None, method: str) -> Denied | None:
    """Return why the route or the method is not for this caller."""
    if route is None:
        return Denied("route", 404, "there is no such route; /openapi.json lists them")
    if method not in route.methods:
        allowed = ", ".join(sorted(route.methods))
        return Denied("method", 405, f"this route takes {allowed}, not this method", headers={"allow": allowed})
    if route.roles != PUBLIC and not caller.roles & route.roles and "admin" not in caller.roles:
        needed = " or ".join(sorted(route.roles))
        challenge = {"www-authenticate": f'{CHALLENGE}, error="insufficient_scope"'}
        return Denied("forbidden", 403, f"this needs the role {needed}", headers=challenge)
    return None


def _throttled(wait_s: float) -> Denied:
    return Denied("throttled", 429, "too many failed attempts from this address", retry_after_s=wait_s)


def _nobody_hears(what: str, who: str, facts: dict[str, Any]) -> None:
    return None
