"""What the runtime has of instances that the journal does not know: kept, taken over, or removed.

The loss of power or a journal that was moved away leaves sandboxes without a row. Their addresses are not leased. One
whose pod is created again is that pod's: the new instance takes its place over, and what runs in it runs on. The others
are removed once OrphanSweep says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from provider.cloud.instances.orphans import OrphanSweep
from provider.cloud.refusals import RETRY_AFTER, as_cloud_errors
from provider.cloud.runtime.base import RuntimeFault
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from provider.clock import Clock
    from provider.cloud.instances.placer import Placer
    from provider.cloud.runtime.base import ContainerRuntime, Seen
    from provider.model.attempt import SeenContainer
    from provider.model.ids import PodUid
    from provider.model.request import InstanceRequest

log = structlog.get_logger(__name__)


class Unrecorded:
    """`known`: the UIDs that have an instance; `is_used_up`: those that had one."""

    def __init__(
        self,
        runtime: ContainerRuntime,
        placer: Placer,
        clock: Clock,
        known: Container[PodUid],
        is_used_up: Callable[[PodUid], bool],
    ) -> None:
        self._runtime = runtime
        self._placer = placer
        self._clock = clock
        self._known = known
        self._due = OrphanSweep(is_used_up)
        self._seen: dict[PodUid, Seen] = {}
        self._removing: set[PodUid] = set()

    async def sweep(self, orphans: Sequence[Seen]) -> None:
        """Take everything that has no instance now: hold its address, remove what may be removed."""
        before, self._seen = self._seen, {seen.uid: seen for seen in orphans}
        for uid in before.keys() - self._seen.keys():
            if uid not in self._known:  # somebody else has removed it
                self._placer.release(uid)
        for seen in orphans:
            if seen.uid not in self._known and seen.vswitch is not None and seen.address is not None:
                problem = self._placer.placement.hold(seen.uid, seen.zone, seen.vswitch, seen.address)
                log.warning("instance without a record", uid=seen.uid, address=seen.address, problem=problem)
        for uid in self._due.due(self._seen, self._clock.now()):
            if uid in self._known:
                continue
            log.warning("removing an instance without a record", uid=uid)
            try:
                await self._remove(uid)
            except RuntimeFault as fault:
                log.warning("not removed, trying again later", uid=uid, error=fault.message)

    async def claim(self, request: InstanceRequest) -> tuple[SeenContainer, ...]:
        """Settle what is there under the UID of an instance that is to be created; return the attempts to take over.

        Where the instance cannot take the place of what is there, or where something runs without a sandbox and so
        without a network, that is removed first. CloudError of the removal.
        """
        uid = request.uid
        if uid in self._removing:
            text = f"what an earlier instance {uid} has left is being removed"
            raise CloudError(CloudCode.UNAVAILABLE, text, RETRY_AFTER)
        seen = self._seen.get(uid)
        if seen is None:
            return ()
        at_rest = seen.address is None and not any(one.running for one in seen.containers)
        if at_rest or self._placer.placement.suits(uid, request.zone, request.vswitches):
            log.warning("instance takes over what runs without a record", uid=uid, address=seen.address)
            return seen.containers
        log.warning("removing what is left of an earlier instance elsewhere", uid=uid, address=seen.address)
        with as_cloud_errors():
            await self._remove(uid)
        return ()

    async def _remove(self, uid: PodUid) -> None:
        self._removing.add(uid)
        try:
            await self._runtime.remove_instance(uid)
        finally:
            self._removing.discard(uid)
        self._seen.pop(uid, None)
        self._placer.release(uid)
