"""The network of the zones on one Docker engine: who asks it gets addresses, sockets and routes that work.

`ensure` makes everything and may be called at any time: it finds what it made, makes anew what is missing or not as it
should be, and removes what belongs to zones and vSwitches that are no more. `watch` keeps it so. Each zone has a
*generation*, which changes when its router, and with it the namespace, is a new one: sockets that listened there are
dead, and `changed` tells who has to listen again.

What is not here: what there shall be (zone_layout), what a router is made from (gateway) and told (zone_routing).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import structlog
from aiodocker.events import DockerEvents
from aiodocker.exceptions import DockerError

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine import zone_layout
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.gateway import OUT_NETWORK, Router, run_script
from provider.cloud.runtime.docker_engine.labels import INSTALLATION, Role, with_role
from provider.cloud.runtime.docker_engine.naming import vswitch_network_name
from provider.cloud.runtime.docker_engine.network_namespace import connected_socket, listening_socket
from provider.cloud.runtime.docker_engine.zone_layout import Layout, Settings, bring_up, router_plan, survey
from provider.cloud.runtime.docker_engine.zone_routing import redirect_script, router_script
from provider.observability.trouble import Trouble

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from aiodocker import Docker

    from provider.clock import Clock
    from provider.model.capacity import Redirect, Zone
    from provider.model.ids import VSwitchId, ZoneId

_LOOK_SECONDS = 60.0
_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 10.0
_NO_NAMESPACE = (FileNotFoundError, ProcessLookupError)
_log = structlog.get_logger(__name__)


class ZoneNetworks:
    """Networks and routers of one installation."""

    def __init__(
        self,
        client: Docker,
        engine: Engine,
        installation: str,
        *,
        cluster_network: str = "",
        gateway_image: str,
        clock: Clock,
        cluster_cidr: str | None = None,
    ) -> None:
        """Take the name of somebody else's network to join ("": an own one), and the block of an own one.

        Without a block the own network has to be there already.
        """
        if cluster_network == OUT_NETWORK:
            raise ValueError(f"zones cannot meet on the network {OUT_NETWORK!r}: it is their way out; name another")
        self._client = client
        self._engine = engine
        self._settings = Settings(
            installation=installation,
            gateway_image=gateway_image,
            joined=cluster_network,
            cluster_cidr=cluster_cidr,
        )
        self._clock = clock
        self._zones: tuple[Zone, ...] = ()
        self._redirects: tuple[Redirect, ...] | None = None
        self._addresses: dict[ZoneId, str] = {}
        self._routers: dict[ZoneId, Router] = {}
        self._generations: dict[ZoneId, int] = {}
        self._told: dict[tuple[ZoneId, str], tuple[tuple[str, str], str]] = {}
        self._problems: dict[ZoneId, str] = {}
        self._lock = asyncio.Lock()
        self._moved = asyncio.Event()
        self._look = asyncio.Event()

    async def ensure(self, zones: Sequence[Zone]) -> None:
        """Make the networks and routers of exactly these zones, and tell every router its rules again.

        RuntimeFault: CONFIG (a block or name is taken), UNAVAILABLE (the engine is away), CREATE, SANDBOX. A zone's
        failure does not keep the others from being made; it is raised when they are.
        """
        async with self._lock:
            self._zones = tuple(zones)
            self._told.clear()
            await self._ensure()

    async def repair(self) -> None:
        """Make anew what is gone or not as it should be; cheap when nothing is. RuntimeFault as for `ensure`."""
        async with self._lock:
            await self._ensure()

    async def watch(self) -> None:
        """Repair when the engine tells of a router's end, when a socket finds one gone, and once a minute; for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_events())
            group.create_task(self._look_at_times())
            retry = _RETRY_SECONDS
            trouble = Trouble(_log, self._clock, "the zones' network is not whole", "the zones' network is whole again")
            while True:
                await self._look.wait()
                self._look.clear()
                try:
                    await self.repair()
                    retry = _RETRY_SECONDS
                    trouble.over()
                except RuntimeFault as fault:
                    trouble.began(fault.kind, reason=fault.message, retry_seconds=retry)
                    self._look.set()
                    await self._clock.sleep(retry)
                    retry = min(2 * retry, _LONGEST_RETRY_SECONDS)

    def node_address(self, zone: ZoneId) -> str | None:
        """Return the zone's own address on the cluster's network (the node's InternalIP), once it has a router."""
        router = self._routers.get(zone)
        return None if router is None else router.spec.address

    def network_of(self, zone: ZoneId, vswitch: VSwitchId) -> str:
        """Return the engine's name of a vSwitch's network, for sandboxes."""
        return vswitch_network_name(self._settings.installation, zone, vswitch)

    def problems(self) -> Mapping[ZoneId, str]:
        """Return what is wrong with the zones' networks, for people; empty when all is well."""
        return dict(self._problems)

    def generation(self, zone: ZoneId) -> int:
        """Return the number of the zone's present namespace, counted from 1 in this process; 0 before the first."""
        return self._generations.get(zone, 0)

    async def changed(self, zone: ZoneId, generation: int) -> int:
        """Wait until the zone's generation is not `generation`; return it. Sockets that listened are dead then."""
        while self.generation(zone) == generation:
            await self._moved.wait()
        return self.generation(zone)

    async def listen(self, zone: ZoneId, port: int) -> socket.socket:
        """Return a listening socket at the zone's own address; it lives as long as this generation.

        OSError as bind(2) (the port is in use); RuntimeFault UNAVAILABLE while the zone has no router.
        """
        router = self._router(zone)
        try:
            return await asyncio.to_thread(listening_socket, router.pid, router.spec.address, port, router.namespace)
        except _NO_NAMESPACE as error:
            raise self._gone(zone) from error

    async def connect(self, zone: ZoneId, host: str, port: int, seconds: float) -> socket.socket:
        """Return a connected, non-blocking TCP socket from the zone's network to an address; OSError, TimeoutError.

        RuntimeFault UNAVAILABLE while the zone has no router.
        """
        router = self._router(zone)
        try:
            return await connected_socket(router.pid, host, port, seconds, router.namespace)
        except _NO_NAMESPACE as error:
            raise self._gone(zone) from error

    async def set_redirects(self, redirects: Sequence[Redirect]) -> None:
        """Make these the only redirects of every zone; a zone without a router gets them with it.

        ValueError for what is no address or port; RuntimeFault as for `ensure`.
        """
        redirect_script(redirects)  # what it refuses must not be kept
        async with self._lock:
            self._redirects = tuple(redirects)
            await self._each(list(self._routers), lambda zone: self._redirect(self._routers[zone]))

    async def _ensure(self) -> None:
        layout = await survey(self._client, self._engine, self._settings, self._zones, self._addresses)
        self._addresses = layout.addresses
        zones = {zone.id: zone for zone in layout.zones}
        for gone in [zone for zone in (*self._routers, *self._problems) if zone not in zones]:
            self._routers.pop(gone, None)
            self._problems.pop(gone, None)
        await self._each(zones, lambda zone: self._bring_up(layout, zones[zone]))

    async def _bring_up(self, layout: Layout, zone: Zone) -> None:
        router = await bring_up(self._client, self._engine, self._settings, layout, zone)
        await self._tell(router, "routes", router_script(router_plan(layout, router)))
        await self._redirect(router)
        self._adopt(router)

    async def _redirect(self, router: Router) -> None:
        """Give the redirects to a router. Before any are set, those of an earlier process stay."""
        if self._redirects is not None:
            await self._tell(router, "redirects", redirect_script(self._redirects))

    async def _tell(self, router: Router, subject: str, script: str) -> None:
        """Run a script in a router unless it was the last on its subject in the router's present life."""
        key, told = (router.spec.zone, subject), (router.key, script)
        if self._told.get(key) != told:
            self._told.pop(key, None)
            await run_script(self._client, router, script)
            self._told[key] = told

    def _adopt(self, router: Router) -> None:
        """Take a router into use: it has its addresses and rules."""
        zone = router.spec.zone
        before = self._routers.get(zone)
        self._routers[zone] = router
        if before is None or before.key != router.key:
            self._generations[zone] = self.generation(zone) + 1
            self._moved.set()
            self._moved = asyncio.Event()

    async def _each(self, zones: Iterable[ZoneId], act: Callable[[ZoneId], Awaitable[None]]) -> None:
        """Do it for all zones at once; when all are done, raise the first RuntimeFault with the text of every one."""
        failed: dict[ZoneId, RuntimeFault] = {}

        async def one(zone: ZoneId) -> None:
            try:
                await act(zone)
            except RuntimeFault as fault:
                failed[zone] = fault
                self._problems[zone] = fault.message
            else:
                self._problems.pop(zone, None)

        async with asyncio.TaskGroup() as group:
            for zone in zones:
                group.create_task(one(zone))
        if failed:
            self._look.set()
            text = "; ".join(fault.message for fault in failed.values())
            raise RuntimeFault(next(iter(failed.values())).kind, text)

    async def _follow_events(self) -> None:
        """Look at the routers whenever the engine tells of one's end, and whenever the engine was away."""
        label = [f"{INSTALLATION}={self._settings.installation}"]
        label += [f"{key}={value}" for key, value in with_role(Role.GATEWAY).items()]
        filters = {"type": ["container"], "event": ["die", "destroy", "pause"], "label": label}
        while True:
            events = DockerEvents(self._client)  # type: ignore[no-untyped-call]
            subscriber = events.subscribe(create_task=False)  # type: ignore[no-untyped-call]
            async with asyncio.TaskGroup() as group:
                group.create_task(_run_events(events, json.dumps(filters)))
                self._look.set()
                while await subscriber.get() is not None:
                    self._look.set()
            await self._clock.sleep(_RETRY_SECONDS)

    async def _look_at_times(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            self._look.set()

    def _router(self, zone: ZoneId) -> Router:
        router = self._routers.get(zone)
        if router is None:
            reason = self._problems.get(zone, "it is not made yet")
            raise RuntimeFault(FaultKind.UNAVAILABLE, f"zone {zone} has no router: {reason}")
        if router.namespace is None:
            text = "the engine's processes are not in this machine's /proc: run the provider on the engine's host"
            raise RuntimeFault(FaultKind.UNSUPPORTED, f"no socket can be made in zone {zone}: {text}")
        return router

    def _gone(self, zone: ZoneId) -> RuntimeFault:
        self._look.set()
        return RuntimeFault(FaultKind.UNAVAILABLE, f"the router of zone {zone} has ended; it is made anew")


async def remove_networks(client: Docker, installation: str) -> None:
    """Remove the routers and networks of an installation (`zonelet down`), once its instances are gone.

    A container that somebody joined to one of them is detached, and stays. RuntimeFault UNAVAILABLE.
    """
    await zone_layout.remove_networks(client, Engine(client, installation), installation)


async def _run_events(events: DockerEvents, filters: str) -> None:
    """Read the engine's events until it goes away; the subscriber then gets None."""
    try:
        await events.run(filters=filters)
    except (DockerError, aiohttp.ClientError, OSError) as error:
        _log.debug("the engine's events ended", error=str(error))
