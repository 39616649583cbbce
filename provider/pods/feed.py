"""One `backend.watch()` for all nodes: changes go to the controller of their zone.

After the connection was lost the watch begins anew and tells of every instance again; what it does not name by its
Synced has gone meanwhile, and the controllers are told so.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from provider.model.errors import CloudError
from provider.model.instance import Change, InstanceChanged, InstanceGone, Notice, Synced, ZoneChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random  # noqa: TID251 (the type; the value is injected)

    from provider.clock import Clock
    from provider.cloud.backend import ElasticBackend
    from provider.model.ids import PodUid, ZoneId
    from provider.pods.controller import PodController

log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 15.0


class InstanceFeed:
    """Routes changes by zone; run `run` as a task of a TaskGroup."""

    def __init__(
        self,
        backend: ElasticBackend,
        controllers: Mapping[ZoneId, PodController],
        *,
        clock: Clock,
        random: Random,
        zone_changed: Callable[[ZoneId], None] | None = None,
    ) -> None:
        """Take the controllers by zone; `zone_changed` hears of stock and addresses (the Node's own status)."""
        self._backend = backend
        self._controllers = controllers
        self._clock = clock
        self._random = random
        self._zone_changed = zone_changed
        self._zones: dict[PodUid, ZoneId] = {}
        self._named: set[PodUid] | None = None
        self._failures = 0

    async def run(self) -> None:
        """Watch until cancelled; a lost connection is logged and made again."""
        while True:
            self._named = set()
            try:
                async with aclosing(self._backend.watch()) as changes:
                    async for change in changes:
                        self._route(change)
                        self._failures = 0
                log.info("instances.watch_ended")
            except CloudError as error:
                log.warning("instances.watch_failed", error=str(error))
            self._failures += 1
            ceiling = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** (self._failures - 1))
            await self._clock.sleep(ceiling * self._random.uniform(0.5, 1.0))

    def _route(self, change: Change) -> None:
        match change:
            case InstanceChanged(instance):
                self._zones[instance.uid] = instance.zone
                if self._named is not None:
                    self._named.add(instance.uid)
                self._tell(instance.zone, change)
            case InstanceGone(uid):
                zone = self._zones.pop(uid, None)
                if zone is not None:
                    self._tell(zone, change)
            case Notice():
                zone = self._zones.get(change.uid)
                if zone is not None:
                    self._tell(zone, change)
            case ZoneChanged(zone):
                if self._zone_changed is not None:
                    self._zone_changed(zone)
            case Synced():
                self._synced(change)

    def _synced(self, change: Synced) -> None:
        named, self._named = self._named, None
        for uid in [uid for uid in self._zones if named is not None and uid not in named]:
            self._tell(self._zones.pop(uid), InstanceGone(uid, change.revision))
        for controller in self._controllers.values():
            controller.instance_changed(change)

    def _tell(self, zone: ZoneId, change: Change) -> None:
        controller = self._controllers.get(zone)
        if controller is not None:
            controller.instance_changed(change)
