"""Packages by name, each with the workers that answer for it; a package is swapped, tried on a share of the asks, and rolled back by name.

Everything here runs in one event loop. What answers is one reference (a name's champion): a new package is loaded, verified and warm in
workers of its own beside the old ones before that reference changes, and the old ones answer what they accepted before they leave. So a
change loses no ask, and a package that does not start changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weighbridge.errors import WeighbridgeError
from weighbridge.serving.asking import Ask, Refused, Reply
from weighbridge.serving.journaling import Journaling
from weighbridge.serving.limits import Limits
from weighbridge.serving.pool import Pool

OnEvent = Callable[[str, dict[str, Any]], None]
VERSION_DIGITS = 12  # of the package's SHA-256
# Imported by each worker: they put their dialects into DIALECTS (not here, where no row is read).
MODULES = tuple(f"weighbridge.serving.{name}" for name in ("plain", "openinference", "explain", "form", "encrypted"))


@dataclass(kw_only=True)
class Post:
    """What answers under a name. `before`: the path and the hash of the champion before this one, for a rollback."""

    champion: Pool
    challenger: Pool | None = None
    share: float = 0.0
    before: tuple[Path, str] | None = None
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def pools(self) -> list[Pool]:
        return [self.champion] if self.challenger is None else [self.champion, self.challenger]


class Fleet:
    """What `weigh serve` asks. `on_event(kind, facts)` hears what happens to packages and workers, for metrics and the audit trail.

    Kinds: `started`, `swapped`, `rolled_back`, `challenged`, `promoted`, `withdrawn`, `refused` (a package that does not start), and of
    workers `worker_died`, `worker_not_started`, `worker_started`. Facts: `name`, `version`, and what the kind needs.
    """

    def __init__(
        self, limits: Limits, *, workers: int = 1, threads: int = 1, journal: Journaling | Path | None = None,
        on_event: OnEvent | None = None, dialects: tuple[str, ...] = MODULES, trust: Collection[bytes] | None = None,
    ) -> None:  # fmt: skip
        """`workers`: processes of each package; `threads`: CPU threads of one call; `journal`: the prediction log, or its folder.

        `dialects`: modules that put what they read and write into DIALECTS; each worker imports them.
        `trust`: public keys of 32 bytes, of which one must have signed each package that is started, swapped or tried; None: any package.
        """
        self.limits = limits
        self._workers, self._threads, self._on_event, self._dialects, self._trust = workers, threads, on_event, dialects, trust
        self._journal = Journaling(folder=journal) if isinstance(journal, Path) else journal
        self._posts: dict[str, Post] = {}
        self._leaving: dict[asyncio.Task[bool], Pool] = {}
        self._draining = False

    @property
    def names(self) -> tuple[str, ...]:
        """The packages' names, in the order in which they were started."""
        return tuple(self._posts)

    def ready(self, name: str = "") -> bool:
        """Whether a worker of this package (of every package, without a name) is warm, and the server does not drain."""
        posts = [self._posts[name]] if name in self._posts else [] if name else list(self._posts.values())
        return bool(posts) and not self._draining and all(post.champion.is_warm for post in posts)

    async def start(self, packages: Mapping[str, Path]) -> None:
        """Every package is loaded, verified and checked against its golden answers in each of its workers.

        Raises PackageError with the worker's own line; then nothing runs.
        """
        pools = {name: self._pool(name, Path(path)) for name, path in packages.items()}
        outcomes = await asyncio.gather(*(pool.start() for pool in pools.values()), return_exceptions=True)
        failed = [outcome for outcome in outcomes if outcome is not None]
        if failed:
            await asyncio.gather(*(pool.stop() for pool in pools.values()))
            raise failed[0]
        for name, pool in pools.items():
            self._posts[name] = Post(champion=pool)
            self._say("started", name, pool)

    async def ask(self, name: str, ask: Ask, *, version: str = "") -> Reply:
        """Return the answer of the package (of one of its `versions`, where one is named). Raises Refused."""
        if self._draining:
            raise Refused("draining", 503, 1.0, "the server stops")
        post = self._post(name)
        pool = self._version(post, version) if version else post.champion
        if post.challenger is not None and not version and share_of(ask.request_id) < post.share and post.challenger.is_warm:
            pool = post.challenger
        return await pool.put(ask)

    def describe(self, name: str) -> dict[str, Any]:
        """Return what the package says of itself: name, version, kind, classes, inputs [{name, type}], output, model and package hash.

        `versions` are all that can be asked by name, the champion's first; `share` is the challenger's. Raises Refused (404).
        """
        post = self._post(name)
        about = {key: value for key, value in post.champion.about.items() if key not in ("golden", "load_s", "pid")}
        return {**about, "version": version_of(post.champion), "versions": list(map(version_of, post.pools)), "share": post.share}

    def path(self, name: str) -> Path:
        """Return where the champion's package lies, for who serves; no answer names it. Raises Refused (404)."""
        return self._post(name).champion.path

    async def swap(self, name: str, path: Path) -> dict[str, Any]:
        """The package at `path` answers every ask from now on; what was accepted before is answered by the old one. Returns `describe`.

        Raises PackageError: the old one goes on as if nothing was asked. Refused (404): no such name.
        """
        post = self._post(name)
        async with post.changing:
            pool = await self._started(name, Path(path))
            self._put(post, pool)
        self._say("swapped", name, pool, was=post.before[1][:VERSION_DIGITS] if post.before else "")
        return self.describe(name)

    async def rollback(self, name: str) -> dict[str, Any]:
        """The package before the last swap answers again; its bytes are the same as then. Raises PackageError, Refused (409)."""
        post = self._post(name)
        async with post.changing:
            if post.before is None:
                raise Refused("rollback", 409, None, f"nothing answered as {name!r} before this package")
            path, package = post.before
            pool = await self._started(name, path, expected=package)
            self._put(post, pool)
        self._say("rolled_back", name, pool, was=post.before[1][:VERSION_DIGITS] if post.before else "")
        return self.describe(name)

    async def challenge(self, name: str, path: Path, share: float) -> dict[str, Any]:
        """The package at `path` answers a share of the asks, chosen by their request id: the same id, the same package.

        Another challenger leaves. A challenger without a warm worker leaves its asks to the champion. Raises PackageError, Refused.
        """
        if not 0 < share < 1:
            raise Refused("share", 400, None, f"a share of {share:g} is not between 0 and 1")
        post = self._post(name)
        async with post.changing:
            pool = await self._started(name, Path(path))
            if post.challenger is not None:
                self._let_go(post.challenger)
            post.challenger, post.share = pool, share
        self._say("challenged", name, pool, share=share)
        return self.describe(name)

    async def promote(self, name: str) -> dict[str, Any]:
        """The challenger answers every ask from now on. Raises Refused (409) where there is none."""
        post = self._post(name)
        async with post.changing:
            pool = self._challenger(post, name)
            post.challenger = None
            self._put(post, pool)
        self._say("promoted", name, pool)
        return self.describe(name)

    async def withdraw(self, name: str) -> dict[str, Any]:
        """The champion answers every ask again. Raises Refused (409) where there is no challenger."""
        post = self._post(name)
        async with post.changing:
            pool = self._challenger(post, name)
            post.challenger, post.share = None, 0.0
            self._let_go(pool)
        self._say("withdrawn", name, pool)
        return self.describe(name)

    async def drain(self, timeout_s: float) -> bool:
        """Nothing is accepted any more, what was accepted is answered, and no worker is left; False when the time was not enough."""
        self._draining = True
        until_s = time.monotonic() + timeout_s
        pools = [pool for post in self._posts.values() for pool in post.pools]
        whole = await asyncio.gather(*(pool.drain(until_s - time.monotonic()) for pool in pools), *self._leaving)
        return all(whole)

    def status(self) -> dict[str, Any]:
        """Return for each name counts and times of its `champion` and `challenger`, see Pool.status."""
        return {
            name: {
                "version": version_of(post.champion), "share": post.share, "champion": post.champion.status(),
                "challenger": None if post.challenger is None else {"version": version_of(post.challenger), **post.challenger.status()},
            }
            for name, post in self._posts.items()
        }  # fmt: skip

    def _post(self, name: str) -> Post:
        post = self._posts.get(name)
        if post is None:
            raise Refused("model", 404, None, "there is no model of this name")
        return post

    def _version(self, post: Post, version: str) -> Pool:
        for pool in post.pools:
            if version_of(pool) == version:
                return pool
        raise Refused("version", 404, None, "the model has no such version")

    def _challenger(self, post: Post, name: str) -> Pool:
        if post.challenger is None:
            raise Refused("challenger", 409, None, f"{name!r} has no challenger")
        return post.challenger

    def _pool(self, name: str, path: Path, expected: str = "") -> Pool:
        return Pool(
            name, path, self.limits, workers=self._workers, threads=self._threads, journal=self._journal, dialects=self._dialects,
            expected=expected, on_event=self._on_event, trust=self._trust,
        )  # fmt: skip

    async def _started(self, name: str, path: Path, expected: str = "") -> Pool:
        """Return warm workers of a package. Raises PackageError (and says so), Refused while the server drains."""
        pool = self._pool(name, path, expected)
        try:
            await pool.start()
        except WeighbridgeError as error:
            self._say("refused", name, pool, why=str(error))
            raise
        if self._draining:
            await pool.stop()
            raise Refused("draining", 503, 1.0, "the server stops")
        return pool

    def _put(self, post: Post, pool: Pool) -> None:
        """`pool` is the champion; who was it, and who challenged it, answer what they have and leave."""
        old, challenger = post.champion, post.challenger
        post.champion, post.challenger, post.share, post.before = pool, None, 0.0, (old.path, old.about["package"])
        for one in (old, challenger):
            if one is not None:
                self._let_go(one)

    def _let_go(self, pool: Pool) -> None:
        task = asyncio.get_running_loop().create_task(pool.drain(self.limits.deadline_s))
        self._leaving[task] = pool
        task.add_done_callback(self._leaving.pop)

    def _say(self, kind: str, name: str, pool: Pool, **facts: Any) -> None:
        if self._on_event is not None:
            self._on_event(kind, {"name": name, "version": version_of(pool), "model": pool.about.get("model", ""), **facts})


def version_of(pool: Pool) -> str:
    """Return the name of a version: the first digits of the hash of its package."""
    return str(pool.about.get("package", ""))[:VERSION_DIGITS]


def share_of(request_id: str) -> float:
    """Return a number of [0, 1) that belongs to this id, spread evenly: the same id is always on the same side."""
    return int.from_bytes(hashlib.blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()) / 2**64
