"""Serves the queue for stock and addresses: who asks, who is granted, who is told why not yet.

Woken by who asks and by what is released. Only an engine under pressure is asked again after a while: its memory has no
event to tell that it is free.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from provider.cloud.instances.events import Event, Faulted, Placed, Stage
from provider.cloud.instances.specs import sizes_of
from provider.cloud.instances.state import UNAVAILABLE
from provider.cloud.runtime.base import RuntimeFault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from provider.clock import Clock
    from provider.cloud.instances.placement import Placement
    from provider.cloud.runtime.base import ContainerRuntime, Seen
    from provider.model.ids import PodUid, ZoneId
    from provider.model.request import InstanceRequest

log = structlog.get_logger(__name__)

ENGINE_WAIT = "EngineWait"
RETRY = 5.0
_FOREVER = float("inf")
_BATCH = 64
"""grants in a row before other tasks of the loop get their turn."""


class Placer:
    """Feeds Placed, or Faulted(PLACE) with the reason, to those who asked."""

    def __init__(
        self,
        placement: Placement,
        runtime: ContainerRuntime,
        clock: Clock,
        feed: Callable[[PodUid, Event], None],
        zone_changed: Callable[[ZoneId], None],
        now_short: Callable[[], None] = lambda: None,
    ) -> None:
        """Take whom to tell when somebody cannot be placed (`now_short`): what has ended may be removed sooner."""
        self.placement = placement
        self._runtime = runtime
        self._clock = clock
        self._feed = feed
        self._zone_changed = zone_changed
        self._wake = asyncio.Event()
        self._dirty: dict[ZoneId, None] = {}
        self._untold: dict[PodUid, ZoneId] = {}
        self._pressed: dict[ZoneId, tuple[str, str]] = {}
        self._alarm = False
        self._now_short = now_short
        self._short: set[ZoneId] = set()

    @property
    def short(self) -> bool:
        """Whether somebody waits for stock, an address or the engine's memory, and was told so."""
        return any(self.placement.is_waited_for(zone) for zone in self._short)

    def ask(self, request: InstanceRequest) -> None:
        """Queue an instance; the answer comes by `feed`, at once for one that has its place already."""
        grant = self.placement.ask(request.uid, request.zone, sizes_of(request), request.vswitches, request.priority)
        if grant is None:
            self._untold[request.uid] = request.zone
            self._rouse(request.zone)
        else:
            self._feed(request.uid, Placed(grant.vswitch, grant.address, grant.size))

    def found(self, request: InstanceRequest, seen: Seen) -> None:
        """Give an instance that has no place yet the one that its sandbox has: its row is older than the sandbox."""
        if seen.vswitch is None or seen.address is None:
            return
        if seen.zone == request.zone and (not request.vswitches or seen.vswitch in request.vswitches):
            problem = self.placement.hold(request.uid, seen.zone, seen.vswitch, seen.address)
        else:
            problem = f"it is to be in zone {request.zone}, vSwitch {', '.join(request.vswitches) or 'any'}"
        if problem:
            log.warning("the sandbox that is there is not taken over", uid=request.uid, problem=problem)

    def release(self, uid: PodUid) -> None:
        """Give back what the instance has, and serve those who wait for it."""
        self._untold.pop(uid, None)
        zone = self.placement.release(uid)
        if zone is not None:
            self._zone_changed(zone)
            self._rouse(zone)

    def stock_changed(self, zone: ZoneId) -> None:
        """Serve those who wait in a zone whose pool has changed, and tell the others why they wait now."""
        self._untold |= dict.fromkeys(self.placement.waiting(zone), zone)
        self._zone_changed(zone)
        self._rouse(zone)

    def _rouse(self, zone: ZoneId) -> None:
        self._dirty[zone] = None
        self._wake.set()

    async def run(self, spawn: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        """Serve until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            zones, self._dirty = list(self._dirty), {}
            for zone in zones:
                try:
                    await self._serve(zone)
                except Exception:  # one zone's trouble, or one instance's, must not keep the others from their places
                    log.exception("the zone's queue broke; it is served again", zone=zone, again_in_seconds=RETRY)
                    spawn(self._serve_later(zone))
            if self._pressed and not self._alarm:
                self._alarm = True
                spawn(self._ask_again())

    async def _serve_later(self, zone: ZoneId) -> None:
        await self._clock.sleep(RETRY)
        self._rouse(zone)

    async def _ask_again(self) -> None:
        await self._clock.sleep(RETRY)
        self._alarm = False
        for zone in self._pressed:
            self._rouse(zone)

    async def _serve(self, zone: ZoneId) -> None:
        pressed: tuple[str, str] | None = None
        granted = 0
        while self.placement.is_waited_for(zone):
            pressed = await self._pressure()
            if pressed is not None:
                break
            grant = self.placement.next_grant(zone)
            if grant is None:
                break
            self._untold.pop(grant.uid, None)
            self._zone_changed(zone)
            self._feed(grant.uid, Placed(grant.vswitch, grant.address, grant.size))
            granted += 1
            if granted % _BATCH == 0:
                await self._clock.sleep(0)
        before = self._pressed.pop(zone, None)
        if pressed is not None:
            self._pressed[zone] = pressed
        if pressed != before:
            self._untold |= dict.fromkeys(self.placement.waiting(zone), zone)
        self._tell(zone, pressed)
        if self.placement.is_waited_for(zone):
            self._short.add(zone)
            self._now_short()
        else:
            self._short.discard(zone)

    def _tell(self, zone: ZoneId, pressed: tuple[str, str] | None) -> None:
        for uid in [uid for uid, where in self._untold.items() if where == zone]:
            del self._untold[uid]
            if not self.placement.is_waiting(uid):
                continue
            if pressed is None:
                refusal = self.placement.refusal(uid)
                pressed_text = (str(refusal.code), refusal.message)
            else:
                pressed_text = pressed
            self._zone_changed(zone)
            self._feed(uid, Faulted(Stage.PLACE, *pressed_text, retry_after=_FOREVER))

    async def _pressure(self) -> tuple[str, str] | None:
        try:
            text = await self._runtime.pressure()
        except RuntimeFault as fault:
            return UNAVAILABLE, fault.message
        return (ENGINE_WAIT, text) if text else None
