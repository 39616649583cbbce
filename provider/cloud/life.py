"""One life of the cloud: from taking over what there is to its end or crash. Made anew by each LocalBackend.run.

Whatever lives no longer than its tasks is here and below: who waits for stock, whose turn it is to start, which timers
are armed, who watches. Nothing of it outlives a crash; what must is in the journal, and the next life begins from that.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from provider.cloud.instances.disk_watch import DiskWatch
from provider.cloud.instances.placement import Placement
from provider.cloud.instances.placer import Placer
from provider.cloud.instances.specs import size_of
from provider.cloud.instances.supervisor import Supervisor
from provider.cloud.refusals import RETRY_AFTER
from provider.cloud.stock_overrides import StockOverrides
from provider.cloud.unrecorded import Unrecorded
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from random import Random  # noqa: TID251 - the type of what the composition root hands out

    from provider.clock import Clock
    from provider.cloud.instances.entry import Entry
    from provider.cloud.instances.journal import Journal
    from provider.cloud.instances.probes import GrpcCheck
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.capacity import Zone
    from provider.model.ids import ZoneId
    from provider.model.profile import Profile
    from provider.model.stock import StockChange

log = structlog.get_logger(__name__)

RELIST_SECONDS = 30.0
ZONE_NOTICE_SECONDS = 0.2


class CloudLife:
    """Supervisor, placement and their tasks. `serving`: everything is taken over and the end has not come."""

    def __init__(
        self,
        zones: Sequence[Zone],
        runtime: ContainerRuntime,
        journal: Journal,
        *,
        clock: Clock,
        random: Random,
        starts_in_flight: int,
        grpc: GrpcCheck,
        profile: Profile,
    ) -> None:
        self._zones = zones
        self._runtime = runtime
        self._journal = journal
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._changed_zones: set[ZoneId] = set()
        self._promises: set[asyncio.Future[None]] = set()
        self.serving = False
        self.placement = Placement(zones)
        self.supervisor = Supervisor(
            runtime,
            journal,
            clock=clock,
            random=random,
            spawn=self.spawn,
            starts_in_flight=starts_in_flight,
            grpc=grpc,
            profile=profile,
        )
        supervisor = self.supervisor
        self._placer = Placer(
            self.placement, runtime, clock, supervisor.feed_uid, self._zone_changed, supervisor.removals.serve
        )
        self.supervisor.placer = self._placer
        self.unrecorded = Unrecorded(runtime, self._placer, clock, self.supervisor.entries, journal.is_used_up)

    async def run(self, ready: asyncio.Event) -> None:
        """Live until cancelled; once, for a second life is another object."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await self._runtime.start(self._zones)
                await self._take_over()
                self.serving = True
                ready.set()
                while True:
                    await self._clock.sleep(RELIST_SECONDS)
                    await self.unrecorded.sweep(await self.supervisor.looks.relist_surely())
            finally:
                self._end()

    def spawn(self, act: Coroutine[Any, Any, None]) -> None:
        """Run a part of this life. After its end nothing begins any more: the next life asks for it again."""
        if self._group is None:
            act.close()
        else:
            self._group.create_task(act).add_done_callback(self._part_ended)

    def promise(self) -> asyncio.Future[None]:
        """Return a future that somebody outside waits for; the end of this life breaks it with UNAVAILABLE."""
        promise: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._promises.add(promise)
        promise.add_done_callback(self._promises.discard)
        return promise

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._end()

    def _end(self) -> None:
        """End for everybody who asks or waits. The tasks themselves are cancelled by their group."""
        if self._group is None:
            return
        self.serving = False
        self._group = None
        self.supervisor.hub.close()
        for promise in tuple(self._promises):
            if not promise.done():
                promise.set_exception(CloudError(CloudCode.UNAVAILABLE, "the cloud has stopped meanwhile", RETRY_AFTER))

    # ------------------------------------------------------------------ taking over

    async def _take_over(self) -> None:
        supervisor = self.supervisor
        overrides = StockOverrides(self._journal)
        for zone in self._zones:
            self.placement.change_stock(zone.id, overrides.of(zone.id))
        supervisor.restore()
        for entry in supervisor.entries.values():
            self._book(entry)
        self.spawn(self._placer.run(self.spawn))
        self.spawn(supervisor.looks.follow_hints())
        self.spawn(DiskWatch(self._runtime, self._clock, supervisor.entries, supervisor.feed_uid).run())
        orphans = await supervisor.looks.relist_surely()
        supervisor.resume()
        await self.unrecorded.sweep(orphans)
        log.info("cloud is ready", instances=len(supervisor.entries), unknown=len(orphans))

    def _book(self, entry: Entry) -> None:
        placed, request = entry.machine.placement, entry.machine.request
        if placed is None or entry.machine.released:
            return
        problem = self.placement.adopt(entry.uid, request.zone, size_of(request), *placed)
        if problem:
            log.warning("instance runs on, but cannot be booked in full", uid=entry.uid, problem=problem)

    # ------------------------------------------------------------------ zones

    def change_stock(self, zone: ZoneId, override: StockChange | None) -> None:
        """Let an operator's word hold, None: the configuration's; those who wait are served, or told why not."""
        self.placement.change_stock(zone, override)
        self._placer.stock_changed(zone)

    def _zone_changed(self, zone: ZoneId) -> None:
        """Tell of a zone at most five times a second, however many instances come and go."""
        if not self._changed_zones:
            self.spawn(self._tell_zones())
        self._changed_zones.add(zone)

    async def _tell_zones(self) -> None:
        await self._clock.sleep(ZONE_NOTICE_SECONDS)
        zones, self._changed_zones = self._changed_zones, set()
        for zone in sorted(zones):
            self.supervisor.hub.zone(zone)
