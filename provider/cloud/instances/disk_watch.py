"""Looks now and then at the local disk that instances with limits use, and evicts those that take too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from provider.cloud.instances.events import Evicted
from provider.cloud.instances.eviction import excess, is_limited
from provider.cloud.runtime.base import RuntimeFault
from provider.observability.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provider.clock import Clock
    from provider.cloud.instances.entry import Entry
    from provider.cloud.instances.events import Event
    from provider.cloud.runtime.base import ContainerRuntime
    from provider.model.ids import PodUid

log = structlog.get_logger(__name__)

LOOK_SECONDS = 10.0
"""kubelet: monitoringInterval of its eviction manager."""


class DiskWatch:
    """One after the other: measuring is a walk over files, and there is no haste."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        clock: Clock,
        entries: Mapping[PodUid, Entry],
        feed: Callable[[PodUid, Event], None],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._entries = entries
        self._feed = feed
        self._trouble = Trouble(log, clock, "disk.cannot_be_measured", "disk.measured_again")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            for entry in list(self._entries.values()):
                try:
                    if self._concerns(entry):
                        await self._look(entry)
                except Exception:  # one instance's trouble must not keep the others from being measured
                    log.exception("disk.watch_broke", uid=entry.uid, retry_seconds=LOOK_SECONDS)

    @staticmethod
    def _concerns(entry: Entry) -> bool:
        machine = entry.machine
        return machine.has_sandbox and not machine.released and not machine.ending and is_limited(machine.request)

    async def _look(self, entry: Entry) -> None:
        try:
            use = await self._runtime.disk_use(entry.uid)
        except RuntimeFault as fault:
            self._trouble.began(fault.kind, uid=entry.uid, error=fault.message, retry_seconds=LOOK_SECONDS)
            return
        self._trouble.over()
        told = "" if use is None else excess(entry.machine.request, use)
        if told and not entry.machine.ending:
            log.info("instance.evicted", uid=entry.uid, reason=told.strip())
            self._feed(entry.uid, Evicted(told))
