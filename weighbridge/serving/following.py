"""The fleet follows the switch: whoever turns it in the registry (a round, a person at a terminal), the workers answer accordingly.

What is served is a function of one file, so a server that was killed serves after its restart what the switch says, and a switch that is
turned while nobody serves loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from weighbridge.errors import PackageError, RunError, WeighbridgeError
from weighbridge.serving.asking import Refused
from weighbridge.serving.fleet import VERSION_DIGITS, Fleet

if TYPE_CHECKING:
    from weighbridge.feedback.registry import Current, Registry

LOOK_S = 0.5
Say = Callable[[str], None]


async def follow(fleet: Fleet, registry: Registry, say: Say) -> None:
    """For ever: what the switch says answers. A package that does not start is withdrawn, or rolled back, in the registry itself."""
    done, complained = -1, ""
    while True:
        try:
            current = await asyncio.to_thread(registry.current)
            if current is not None and current.number != done:
                await turn(fleet, registry, current, say)
                done, complained = current.number, ""
        except (WeighbridgeError, Refused) as error:  # the models that answer go on; it is tried again
            if str(error) != complained:
                complained = str(error)
                say(f"switch   {registry.name} can not follow: {complained}")
        await asyncio.sleep(LOOK_S)


async def turn(fleet: Fleet, registry: Registry, current: Current, say: Say) -> None:
    """The fleet serves what `current` says. Raises Refused, WeighbridgeError."""
    name, champion = registry.name, current.champion[:VERSION_DIGITS]
    answers, *others = fleet.describe(name)["versions"]
    if answers != champion:
        try:
            changed = fleet.promote(name) if others == [champion] else fleet.swap(name, registry.path(current.champion))
            await changed
        except PackageError as error:
            await asyncio.to_thread(_back, registry, current, str(error))
            raise
        say(f"switch   {name}: {champion} answers every request")
        others = []
    await _turn_challenger(fleet, registry, current, others, say)


async def _turn_challenger(fleet: Fleet, registry: Registry, current: Current, others: list[str], say: Say) -> None:
    name, wanted = registry.name, current.challenger
    if wanted is None and others:
        await fleet.withdraw(name)
        say(f"switch   {name}: {others[0]} was withdrawn")
    if wanted is None or (others == [wanted[:VERSION_DIGITS]] and fleet.describe(name)["share"] == current.share):
        return
    try:
        await fleet.challenge(name, registry.path(wanted), current.share)
    except PackageError as error:
        await asyncio.to_thread(registry.withdraw, f"it does not start: {error}")
        raise
    say(f"switch   {name}: {wanted[:VERSION_DIGITS]} answers {current.share:g} of the requests")


def _back(registry: Registry, current: Current, why: str) -> None:
    if current.before is None:
        raise RunError(f"{current.champion[:VERSION_DIGITS]} does not start ({why}), and nothing answered before it", do="release another")
    registry.roll_back(current.champion, f"it does not start: {why}")
