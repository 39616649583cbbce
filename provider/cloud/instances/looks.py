"""Looking at what the runtime has: after a hint, after an act, and at everything now and then.

A look that overlaps with an act of the same instance (a start, the making of its sandbox) may have been taken before,
between or after its steps. It is then incomplete: it may tell what is there, never what is missing.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.observability.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from provider.clock import Clock
    from provider.cloud.instances.entry import Entry
    from provider.cloud.runtime.base import ContainerRuntime, Seen
    from provider.model.ids import PodUid

log = structlog.get_logger(__name__)

AWAY_RETRY = 2.0
LOOKS_AT_A_TIME = 8


class Looks:
    """Looks at instances; `saw(entry, seen, complete)` takes what was seen, in the order of one instance's looks.

    `begin` runs work for one instance as a task.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        clock: Clock,
        entries: Mapping[PodUid, Entry],
        saw: Callable[[Entry, Seen | None, bool], None],
        begin: Callable[[Entry, Callable[[Entry], Coroutine[Any, Any, None]]], None],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._entries = entries
        self._saw = saw
        self._begin = begin
        self._slots = asyncio.Semaphore(LOOKS_AT_A_TIME)
        self._trouble = Trouble(log, clock, "engine.cannot_be_looked_at", "engine.looked_at_again")
        self._acts = 0
        self.away = ""
        """why the engine cannot be looked at now, "" if it can."""

    def act_begins(self, entry: Entry) -> None:
        """Note that the runtime begins to change the instance."""
        self._acts += 1
        entry.acts += 1
        entry.acts_changed = self._acts

    def act_ends(self, entry: Entry) -> None:
        """Note that a change is over, whatever its outcome."""
        self._acts += 1
        entry.acts -= 1
        entry.acts_changed = self._acts

    def look(self, entry: Entry) -> None:
        """Look at one instance soon; asked again meanwhile, once more after that."""
        if entry.machine.released:
            return
        if entry.looking:
            entry.look_again = True
        else:
            entry.looking = True
            self._begin(entry, self._look)

    async def _look(self, entry: Entry) -> None:
        try:
            again = True
            while again and self._entries.get(entry.uid) is entry:
                entry.look_again = False
                async with self._slots:
                    begun = self._acts if entry.acts == 0 else -1
                    seen, complete = await self._inspect(entry), entry.acts == 0 and entry.acts_changed <= begun
                if isinstance(seen, RuntimeFault):
                    await self._clock.sleep(AWAY_RETRY)
                    continue
                self._saw(entry, seen, complete)
                again = entry.look_again
        finally:
            entry.looking = False

    async def _inspect(self, entry: Entry) -> Seen | RuntimeFault | None:
        try:
            seen = await self._runtime.inspect(entry.uid)
        except RuntimeFault as fault:
            self._failed(fault, uid=entry.uid)
            return fault
        self._went_well()
        return seen

    async def relist(self) -> list[Seen]:
        """Look at everything; return what belongs to no known instance. Raises RuntimeFault.

        The list is older than its answer: what was forgotten while it was made is still in it, and was no orphan.
        """
        begun = self._acts
        entries = list(self._entries.values())
        known = {entry.uid for entry in entries}
        quiet = {entry.uid for entry in entries if entry.acts == 0}
        try:
            seen = {one.uid: one for one in await self._runtime.relist()}
        except RuntimeFault as fault:
            self._failed(fault)
            raise
        self._went_well()
        for entry in entries:
            # A look at one instance that is under way may be newer than this list: its answer comes by itself.
            if entry.machine.released or entry.looking or self._entries.get(entry.uid) is not entry:
                continue
            complete = entry.uid in quiet and entry.acts == 0 and entry.acts_changed <= begun
            if complete or entry.uid in seen:
                self._saw(entry, seen.get(entry.uid), complete)
        return [one for uid, one in seen.items() if uid not in known and uid not in self._entries]

    async def relist_surely(self) -> list[Seen]:
        """Look at everything, however long the engine is away."""
        while True:
            try:
                return await self.relist()
            except RuntimeFault:
                await self._clock.sleep(AWAY_RETRY)

    async def follow_hints(self) -> None:
        """Look where the runtime says, until it has closed; after a loss of its events, at everything."""
        while True:
            try:
                async with aclosing(self._runtime.hints()) as hints:
                    async for uid in hints:
                        entry = self._entries.get(uid)
                        if entry is not None:
                            self.look(entry)
            except RuntimeFault as fault:
                log.warning("the engine's events are lost, listing instead", error=fault.message)
                await self.relist_surely()
            else:
                return

    def _failed(self, fault: RuntimeFault, **about: str) -> None:
        """Note that the engine cannot be looked at; its being away concerns all instances and is told once."""
        if fault.kind is FaultKind.UNAVAILABLE:
            self.away = fault.message
        self._trouble.began(fault.kind, error=fault.message, retry_seconds=AWAY_RETRY, **about)

    def _went_well(self) -> None:
        self.away = ""
        self._trouble.over()
